import { useEffect, useState } from "preact/hooks";

import type { RunDetails } from "../../../lib/studio/types.js";
import { TrainingCurves } from "../../report/curves.js";
import { api } from "../api.js";
import { useAttempt } from "../studio.js";
import { texts } from "../texts.js";

/** Flags whose outcome is among the facts of a run. */
const told = ["backbone", "image-size", "epochs"];

/** Two trainings side by side: what was different, and what came of it. */
export function Compare({ names }: { names: readonly [string, string] }) {
  const attempt = useAttempt();
  const [runs, setRuns] = useState<RunDetails[]>([]);
  useEffect(() => {
    void attempt(async () => setRuns(await Promise.all(names.map((name) => api.details(name)))));
  }, names);
  const [first, second] = runs;
  if (!first || !second) return null;
  const given = [...new Set([first, second].flatMap(({ run }) => Object.keys(run.flags ?? {})))].sort();
  const flags = given.filter((flag) => !told.includes(flag));
  const facts: [string, string, string][] = [
    [texts.regime, first.run.regime ?? "", second.run.regime ?? ""],
    [texts.network, first.run.backbone ?? "", second.run.backbone ?? ""],
    [texts.imageSize, first.run.imageSize ?? "", second.run.imageSize ?? ""],
    [texts.epochs, String(first.run.epochs ?? ""), String(second.run.epochs ?? "")],
    [texts.data, first.run.data ?? "", second.run.data ?? ""],
    [texts.testData, first.run.testData ?? "", second.run.testData ?? ""],
    ...flags.map((flag): [string, string, string] => [
      flag,
      first.run.flags?.[flag] ?? texts.standardShort,
      second.run.flags?.[flag] ?? texts.standardShort,
    ]),
  ];
  const metrics = Object.keys(first.run.metrics ?? second.run.metrics ?? {}).filter(
    (name) => !name.includes("threshold"),
  );
  /** Of two tests neither metric is the better one. */
  const isOneTest = first.run.testData === second.run.testData;
  const shown = (value: number | null | undefined): string => value?.toFixed(4) ?? "";
  return (
    <section>
      <h2>{texts.comparison}</h2>
      {metrics.length > 0 && !isOneTest && <p>{texts.otherTest}</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label={texts.comparison}>
        <table>
          <thead>
            <tr>
              <th />
              <th>{first.run.name}</th>
              <th>{second.run.name}</th>
            </tr>
          </thead>
          <tbody>
            {facts.map(([name, a, b]) => (
              <tr key={name} class={a === b ? "" : "differs"}>
                <th scope="row">{name}</th>
                <td>{a}</td>
                <td>{b}</td>
              </tr>
            ))}
            {metrics.map((name) => {
              const [a, b] = [first.run.metrics?.[name], second.run.metrics?.[name]];
              return (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td class={isOneTest && (a ?? 0) > (b ?? 0) ? "better" : ""}>{shown(a)}</td>
                  <td class={isOneTest && (b ?? 0) > (a ?? 0) ? "better" : ""}>{shown(b)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <div class="columns">
        {runs.map(({ run, epochs }) => (epochs.length > 1 ? <TrainingCurves key={run.name} epochs={epochs} /> : null))}
      </div>
    </section>
  );
}
