import { useState } from "preact/hooks";

import type { FactGroup, ReportDocument, ReportEvaluation, ReportImage } from "../../lib/report/types.js";
import { CostPanel } from "./costs.js";
import { Curves, TrainingCurves } from "./curves.js";
import { Gallery } from "./gallery.js";
import { Histogram } from "./histogram.js";
import { intervalOf, isDefect, outcomeAt, percent } from "./numbers.js";
import { texts } from "./texts.js";

export function Report({ document }: { document: ReportDocument }) {
  const { title, made, evaluation, training, facts, notes } = document;
  return (
    <>
      <header>
        <h1>{title}</h1>
        <p class="quiet">{texts.made(new Date(made).toLocaleString("en-GB", { timeZoneName: "short" }))}</p>
      </header>
      {evaluation ? <Results evaluation={evaluation} /> : <p>{texts.notEvaluated}</p>}
      {training && training.length > 1 && <TrainingCurves epochs={training} />}
      {notes.length > 0 && (
        <section>
          <h2>{texts.notes}</h2>
          <ul>
            {notes.map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        </section>
      )}
      <section>
        <h2>{texts.facts}</h2>
        <div class="facts">
          {facts.map((group) => (
            <Facts key={group.name} group={group} />
          ))}
        </div>
      </section>
    </>
  );
}

function Results({ evaluation }: { evaluation: ReportEvaluation }) {
  const [threshold, setThreshold] = useState(evaluation.axis.threshold);
  return <Evaluated evaluation={evaluation} threshold={threshold} onThreshold={setThreshold} />;
}

interface EvaluatedProps {
  evaluation: ReportEvaluation;
  threshold: number;
  onThreshold(value: number): void;
  /** Called for the image that is clicked; undefined: nothing is to be clicked. */
  onImage?: (image: ReportImage) => void;
  /** What moving the threshold does. */
  help?: string;
}

/** What a model is worth on images, at a threshold that can be moved. */
export function Evaluated({ evaluation, threshold, onThreshold, onImage, help }: EvaluatedProps) {
  const { images } = evaluation;
  return (
    <>
      <section>
        <h2>{texts.results}</h2>
        <Cards evaluation={evaluation} threshold={threshold} />
        <Unsure images={images} />
      </section>
      <section>
        <h2>{texts.threshold}</h2>
        <Histogram evaluation={evaluation} threshold={threshold} onThreshold={onThreshold} help={help} />
        <CostPanel images={images} threshold={threshold} onThreshold={onThreshold} />
      </section>
      <Curves images={images} threshold={threshold} />
      <div class="columns">
        <Kinds evaluation={evaluation} threshold={threshold} />
        <Metrics evaluation={evaluation} />
      </div>
      <Gallery evaluation={evaluation} threshold={threshold} onImage={onImage} />
    </>
  );
}

function Cards({ evaluation: { images }, threshold }: { evaluation: ReportEvaluation; threshold: number }) {
  const { found, missed, rejected, passed } = outcomeAt(images, threshold);
  return (
    <div class="cards">
      <Card kind="found" text={texts.found} count={found} of={found + missed} />
      <Card kind={missed > 0 ? "wrong" : ""} text={texts.missed} count={missed} of={found + missed} />
      <Card kind={rejected > 0 ? "wrong" : ""} text={texts.rejected} count={rejected} of={rejected + passed} />
    </div>
  );
}

/** What the model leaves to a person, whatever the threshold on this page. */
function Unsure({ images }: { images: readonly ReportImage[] }) {
  const unsure = images.filter(({ verdict }) => verdict === "unsure");
  if (unsure.length === 0) return null;
  const defects = unsure.filter(isDefect).length;
  return <p>{texts.unsure(unsure.length - defects, defects)}</p>;
}

function Card({ kind, text, count, of }: { kind: string; text: string; count: number; of: number }) {
  return (
    <div class={`card ${kind}`}>
      <p class="large">
        {count} <small>of {of}</small>
      </p>
      <p>{text}</p>
      <p class="quiet">
        {of === 0 ? texts.ofNone : `${percent(count / of)}, ${texts.interval(...intervalOf(count, of))}`}
      </p>
    </div>
  );
}

function Kinds({ evaluation: { images }, threshold }: { evaluation: ReportEvaluation; threshold: number }) {
  const kinds = new Map<string, { found: number; of: number }>();
  for (const image of images.filter(isDefect)) {
    const name = image.defect ?? texts.unnamed;
    const { found, of } = kinds.get(name) ?? { found: 0, of: 0 };
    kinds.set(name, { found: found + Number(image.value >= threshold), of: of + 1 });
  }
  if (kinds.size === 0) return null;
  const rows = [...kinds].sort(([, a], [, b]) => a.found / a.of - b.found / b.of);
  return (
    <section>
      <h2>{texts.kinds}</h2>
      <table>
        <thead>
          <tr>
            <th>{texts.kind}</th>
            <th class="number">{texts.images}</th>
            <th class="number">{texts.foundOf}</th>
            <th class="number">{texts.share}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, { found, of }]) => (
            <tr key={name} class={found < of ? "wrong" : ""}>
              <td>{name}</td>
              <td class="number">{of}</td>
              <td class="number">{found}</td>
              <td class="number">
                {percent(found / of)} <span class="quiet">({intervalOf(found, of).join(" to ")})</span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Metrics({ evaluation: { metrics } }: { evaluation: ReportEvaluation }) {
  return (
    <section>
      <h2>{texts.metrics}</h2>
      <table>
        <thead>
          <tr>
            <th>{texts.metric}</th>
            <th class="number">{texts.value}</th>
          </tr>
        </thead>
        <tbody>
          {metrics.map(({ name, measures, value, interval }) => (
            <tr key={name}>
              <td>
                <abbr title={measures}>{name}</abbr>
              </td>
              <td class="number">
                {value === null ? texts.undefinedMetric : value.toFixed(4)}{" "}
                {interval && <span class="quiet">({interval.map((end) => end.toFixed(3)).join(" to ")})</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Facts({ group: { name, facts, folded } }: { group: FactGroup }) {
  const list = (
    <dl>
      {facts.map(([fact, value]) => (
        <div key={fact}>
          <dt>{fact}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
  return folded ? (
    <details>
      <summary>{name}</summary>
      {list}
    </details>
  ) : (
    <div>
      <h3>{name}</h3>
      {list}
    </div>
  );
}
