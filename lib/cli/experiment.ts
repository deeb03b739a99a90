import { existsSync } from "node:fs";

import type { z } from "zod";

import { hasCode } from "../errors.js";
import { type MetricId, metricsTable } from "../evaluation/metrics_table.js";
import type { ExperimentEvent, ExperimentReport } from "../experiments/experiment.js";
import { checkProtocol, protocolNames, protocols } from "../experiments/protocols.js";
import { experimentOptions } from "../schema/experiments.js";
import { option, rowOf } from "../schema/option.js";
import { command, interruptible } from "./command.js";
import { refuseInDataset, withoutEmptyFolders } from "./guards.js";
import { duration, output } from "./output.js";

const { data } = experimentOptions.shape;

const options = experimentOptions.omit({ signal: true, onEvent: true }).extend({
  data: option(data, {
    ...rowOf(data)!,
    written: "DIR, or NAME=DIR with another name for each of several data sets",
    read: readData,
  }),
});

type Options = z.input<typeof options>;

export const experiment = command({
  name: "experiment",
  description:
    "Trains and evaluates every model of one table or figure of the paper and writes OUT/NAME.md and OUT/NAME.json (docs/guides/evaluate.md). " +
    `Runs that OUT holds already are not repeated. Repeat --data NAME=DIR for several data sets. NAME is one of: ${protocolNames.join(", ")}.`,
  positionals: { usage: "NAME", min: 1, max: 1, what: "NAME, a table or figure of the paper," },
  options,
  examples: [
    "supersimplenet experiment table4 --data mvtec=data/mvtec --data visa=data/visa --out runs/paper --published published.json",
    "supersimplenet experiment fig12 --data data/tiles --out runs/labels --backbone resnet18 --epochs 50 --seeds 3",
    "supersimplenet experiment table2 --data sensum=data/sensum --data ksdd2=data/ksdd2 --out runs/paper --shard 1/4",
    "supersimplenet experiment table2 --out runs/paper",
  ],
  async run(flags, [name]) {
    output.worksOn = true;
    const began = performance.now();
    const { data = {}, out } = flags;
    for (const root of typeof data === "string" ? [data] : Object.values(data)) refuseInDataset("out", out, root);
    const report = await withoutEmptyFolders(out, () => interruptible((signal) => runProtocol(name, flags, signal)));
    output.done();
    await tell(report, (performance.now() - began) / 1000);
    return report.runs.diverged.length > 0 ? 1 : 0;
  },
});

/** DIR, or NAME=DIR as often as there are data sets. A folder may have "=" in its name. */
function readData(written: string, before?: unknown): string | Record<string, string> | undefined {
  const [, name, root] = /^([\w.-]+)=(.+)$/.exec(written) ?? [];
  if (name === undefined || root === undefined || existsSync(written))
    return before === undefined ? written : undefined;
  const others = (before ?? {}) as string | Record<string, string>;
  return typeof others === "string" || others[name] !== undefined ? undefined : { ...others, [name]: root };
}

async function runProtocol(
  written: string | undefined,
  flags: Options,
  signal: AbortSignal,
): Promise<ExperimentReport> {
  const name = checkProtocol("experiment", written);
  const { experiment: run } = await import("../experiments/experiment.js");
  let finished = 0;
  const onEvent = (event: ExperimentEvent): void => {
    if (event.type === "plan") output.log(protocols[name].title);
    if (event.type === "done") finished++;
    show(event);
  };
  return run(name, { ...flags, signal, onEvent }).catch((error: unknown) => {
    if (!hasCode(error, "ABORTED")) throw error;
    const runs = `${finished} run${finished === 1 ? " is" : "s are"} new in ${flags.out}`;
    throw error.with(() => `Interrupted. ${runs}; the same command goes on from there.`);
  });
}

function show(event: ExperimentEvent): void {
  switch (event.type) {
    case "plan":
      for (const warning of event.warnings) output.warn(warning);
      return output.log(`${event.runs} runs${event.done > 0 ? `, ${event.done} of them are done already` : ""}`);
    case "run":
      return output.log(`run ${event.index}/${event.runs}: ${event.key}`);
    case "epoch": {
      const { epoch, epochs, loss } = event.epoch;
      return output.progress(`${event.key}  epoch ${epoch}/${epochs}  loss ${loss.toFixed(4)}`);
    }
    case "evaluate":
      return output.progress(`${event.key}  evaluating ${event.done}/${event.total}`);
    case "done": {
      const { metrics, seconds } = event.result;
      const value = (id: MetricId): string => `${metricsTable[id].name} ${metrics[id]?.toFixed(4) ?? "undefined"}`;
      return output.log(`  ${value("imageAuroc")}, ${value("aupro")}, ${duration(seconds)}; ${event.left} left`);
    }
    case "diverged":
      return output.warn(`${event.key} has no result: ${event.error.messageFor(output.spelling)}`);
  }
}

async function tell(report: ExperimentReport, seconds: number): Promise<void> {
  const { tableDocument, tableMarkdown } = await import("../experiments/tables.js");
  output.result(tableMarkdown(report.table));
  output.result(`tables: ${report.files.markdown}, ${report.files.json}`);
  output.result(`${duration(seconds)} in all`);
  output.document({ ...report, table: tableDocument(report.table) });
}
