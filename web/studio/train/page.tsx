import { useEffect, useState } from "preact/hooks";

import type { RunDetails, StudioRun, TrainingProgress } from "../../../lib/studio/types.js";
import { TrainingCurves } from "../../report/curves.js";
import { addresses, api } from "../api.js";
import { useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";
import { Compare } from "./compare.js";
import { merged } from "./epochs.js";
import { TrainForm } from "./form.js";
import { duration } from "./time.js";

export function TrainPage() {
  const { runs, progress } = useStudio();
  const [compared, setCompared] = useState<readonly string[]>([]);
  const running = runs.find(({ state }) => state === "running");
  const toggle = (name: string): void =>
    setCompared((before) =>
      before.includes(name) ? before.filter((one) => one !== name) : [...before, name].slice(-2),
    );
  return (
    <>
      <h1 class="hidden">{texts.pages.train}</h1>
      {running && <Live run={running} progress={progress} />}
      <TrainForm />
      {runs.length > 0 && (
        <section>
          <h2>{texts.runs}</h2>
          <div class="scroll" tabIndex={0} role="region" aria-label={texts.runs}>
            <table>
              <thead>
                <tr>
                  <th>{texts.run}</th>
                  <th>{texts.state}</th>
                  <th>{texts.regime}</th>
                  <th>{texts.network}</th>
                  <th class="number">{texts.epochs}</th>
                  <th class="number">I-AUROC</th>
                  <th class="number">AUPRO</th>
                  <th>{texts.data}</th>
                  <th>{texts.compare}</th>
                  <th />
                </tr>
              </thead>
              <tbody>
                {runs.map((run) => (
                  <Row
                    key={run.name}
                    run={run}
                    isCompared={compared.includes(run.name)}
                    onCompare={() => toggle(run.name)}
                  />
                ))}
              </tbody>
            </table>
          </div>
          <p class="quiet">{texts.compareHelp}</p>
        </section>
      )}
      {compared.length === 2 && <Compare names={compared as [string, string]} />}
    </>
  );
}

const metric = (run: StudioRun, name: string): string => run.metrics?.[name]?.toFixed(3) ?? "";

function Row({ run, isCompared, onCompare }: { run: StudioRun; isCompared: boolean; onCompare(): void }) {
  const attempt = useAttempt();
  const { setModel } = useStudio();
  const { name, state, finished } = run;
  const act = (action: "pause" | "resume" | "stop") => (): void =>
    void attempt(async () => {
      await api.act(name, action);
    });
  return (
    <tr class={state === "failed" ? "wrong" : ""}>
      <td>{name}</td>
      <td>
        <span class={`state ${state}`}>{texts.states[state]}</span>
        {run.error !== null && <pre class="quiet error-text">{run.error}</pre>}
      </td>
      <td>{run.regime ?? ""}</td>
      <td>{run.backbone === null ? "" : `${run.backbone}, ${run.imageSize}`}</td>
      <td class="number">{run.epochs ?? ""}</td>
      <td class="number">{metric(run, "I-AUROC")}</td>
      <td class="number">{metric(run, "AUPRO")}</td>
      <td class="quiet">
        {run.data === null ? "" : `${run.data.slice(0, 6)} ${run.dataIsCurrent ? texts.asNow : texts.changedSince}`}
      </td>
      <td>
        {finished !== null && (
          <input type="checkbox" aria-label={texts.compareRun(name)} checked={isCompared} onChange={onCompare} />
        )}
      </td>
      <td class="row-actions">
        {finished !== null && (
          <a href={`#/judge/${name}`} onClick={() => setModel(name)}>
            {texts.judge}
          </a>
        )}
        {finished !== null && (
          <a href={addresses.report(name)} target="_blank" rel="noopener">
            {texts.report}
          </a>
        )}
        {["paused", "stopped", "failed"].includes(state) && run.flags !== null && (
          <button type="button" class="plain" onClick={act("resume")}>
            {texts.resume}
          </button>
        )}
        {state === "queued" && (
          <button type="button" class="plain" onClick={act("stop")}>
            {texts.cancel}
          </button>
        )}
        {state !== "running" && (
          <button
            type="button"
            class="plain"
            onClick={() => {
              if (confirm(texts.removeRunQuestion(name)))
                void attempt(async () => {
                  await api.removeRun(name);
                });
            }}
          >
            {texts.remove}
          </button>
        )}
      </td>
    </tr>
  );
}

/** The training that is at work. */
function Live({ run, progress }: { run: StudioRun; progress: TrainingProgress | undefined }) {
  const { epochs } = useStudio();
  const attempt = useAttempt();
  const [before, setBefore] = useState<RunDetails>();
  useEffect(() => {
    void attempt(async () => setBefore(await api.details(run.name)));
  }, [run.name]);
  const heard = epochs.run === run.name ? epochs.epochs : [];
  const all = merged(before?.run.name === run.name ? before.epochs : [], heard);
  const last = all.at(-1);
  const act = (action: "pause" | "stop") => (): void =>
    void attempt(async () => {
      await api.act(run.name, action);
    });
  const { stage = "starting", done = 0, total = 0 } = progress ?? {};
  return (
    <section class="live" aria-label={texts.trainingNow}>
      <h2>
        {run.name} <span class="quiet">{texts.stages[stage]}</span>
      </h2>
      <progress value={progressOf(progress)} max={1} aria-label={texts.stages[stage]} />
      <dl class="facts-row">
        <Fact
          name={stage === "train" ? texts.epoch : texts.doneSoFar}
          value={stage === "train" ? `${progress!.epoch} / ${progress!.epochs}` : total > 0 ? `${done} / ${total}` : ""}
        />
        <Fact name={texts.loss} value={last?.loss.toFixed(4) ?? ""} />
        <Fact name={texts.learningRate} value={last?.headsLearningRate.toPrecision(2) ?? ""} />
        <Fact name={texts.imagesPerSecond} value={progress?.imagesPerSecond?.toFixed(0) ?? ""} />
        <Fact name={texts.timeLeft} value={progress?.secondsLeft == null ? "" : duration(progress.secondsLeft)} />
      </dl>
      <div class="bar">
        <button type="button" onClick={act("pause")}>
          {texts.pause}
        </button>
        <button type="button" class="plain" onClick={act("stop")}>
          {texts.stop}
        </button>
        <span class="quiet">{texts.pauseHelp}</span>
      </div>
      {all.length > 1 && <TrainingCurves epochs={all} />}
      {before?.warnings.map((warning) => (
        <p key={warning} class="quiet">
          {warning}
        </p>
      ))}
    </section>
  );
}

const Fact = ({ name, value }: { name: string; value: string }) => (
  <div>
    <dt>{name}</dt>
    <dd>{value || "–"}</dd>
  </div>
);

function progressOf(progress: TrainingProgress | undefined): number {
  if (!progress) return 0;
  const { stage, done, total, epoch, epochs } = progress;
  const part = total > 0 ? done / total : 0;
  return stage === "train" && epochs > 0 ? Math.max(0, epoch - 1 + part) / epochs : part;
}
