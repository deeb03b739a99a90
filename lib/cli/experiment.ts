import { existsSync } from "node:fs";

import { architectures } from "../schema/common.js";
import { SuperSimpleNetError } from "../errors.js";
import { type MetricId, metricsTable } from "../evaluation/metrics_table.js";
import type { ExperimentEvent, ExperimentOptions } from "../experiments/experiment.js";
import { checkProtocol, experimentDefaults, protocolNames, protocols } from "../experiments/protocols.js";
import { trainerDefaults as defaults } from "../training/options.js";
import { interruptible } from "./interrupt.js";
import { choice, command, integer, size, text, type ValueOption } from "./options.js";
import { duration, output } from "./output.js";
import { refuseInDataset, withoutEmptyFolders } from "./places.js";
import { given, shared } from "./shared.js";

type Data = NonNullable<ExperimentOptions["data"]>;

/** DIR, or NAME=DIR as often as there are data sets. */
const data: ValueOption<Data> = {
  placeholder: "[NAME=]DIR",
  help: "a data set; NAME=DIR, given repeatedly, for several: mvtec, visa, ksdd2, sensum, bmad, or a name for one of your own. Without it the tables are made of the results in --out",
  parse(value, before) {
    const [, name, root] = /^([\w.-]+)=(.+)$/.exec(value) ?? [];
    if (name === undefined || root === undefined || existsSync(value)) {
      if (value === "" || before !== undefined) throw new Error("NAME=DIR for each of several data sets");
      return value;
    }
    if (typeof before === "string" || before?.[name] !== undefined)
      throw new Error("NAME=DIR with another name for each of several data sets");
    return { ...before, [name]: root };
  },
};

const shard: ValueOption<{ index: number; count: number }> = {
  placeholder: "I/N",
  help: "do the I-th of N parts of the runs, for N machines; collect their results*.jsonl in one --out",
  default: "1/1",
  parse(value) {
    const [, index, count] = (/^(\d+)\/(\d+)$/.exec(value) ?? []).map(Number);
    if (index === undefined || count === undefined || index < 1 || index > count)
      throw new Error("I/N with I from 1 to N");
    return { index, count };
  },
};

const show = (event: ExperimentEvent): void => {
  switch (event.type) {
    case "plan":
      for (const warning of event.warnings) output.warn(warning);
      return output.log(`${event.runs} runs${event.done > 0 ? `, ${event.done} of them are done already` : ""}`);
    case "run":
      return output.log(`run ${event.index}/${event.runs}: ${event.key}`);
    case "epoch":
      return output.progress(
        `${event.key}  epoch ${event.epoch.epoch}/${event.epoch.epochs}  loss ${event.epoch.loss.toFixed(4)}`,
      );
    case "evaluate":
      return output.progress(`${event.key}  evaluating ${event.done}/${event.total}`);
    case "done": {
      const { metrics, seconds } = event.result;
      const value = (id: MetricId): string => `${metricsTable[id].name} ${metrics[id]?.toFixed(4) ?? "undefined"}`;
      return output.log(`  ${value("imageAuroc")}, ${value("aupro")}, ${duration(seconds)}; ${event.left} left`);
    }
    case "diverged":
      return output.warn(`${event.key} has no result: ${event.error.message}`);
  }
};

export const experiment = command({
  name: "experiment",
  summary: "run the paper's experiments, on its data or your own",
  description:
    "Trains and evaluates every model of one table or figure of the paper and writes OUT/NAME.md and OUT/NAME.json (docs/experiments.md). " +
    `Runs that OUT holds already are not done again. NAME is one of: ${protocolNames.join(", ")}.`,
  positionals: { usage: "NAME", min: 1, max: 1, what: "NAME, a table or figure of the paper," },
  options: {
    out: text("OUT", "folder for results and tables", { required: true }),
    data,
    seeds: integer("N", "trainings of each model, with the seeds 0 to N-1", {
      min: 1,
      default: experimentDefaults.seeds,
    }),
    shard,
    published: text("FILE", "the authors' results, to stand beside ours", { default: "no comparison" }),
    categories: {
      placeholder: "NAME,...",
      help: "only these categories",
      default: "those of the paper",
      parse: (value) => value.split(","),
    } satisfies ValueOption<string[]>,
    epochs: integer("N", "passes over the training images", { min: 1, default: defaults.epochs }),
    batch: integer("N", "images per step", { min: 1, default: defaults.batchSize }),
    "image-size": size("images are resized to it; else as published for the data set"),
    backbone: choice(architectures, "frozen network whose features are used", { default: defaults.backbone }),
    "backbone-weights": text("FILE", "its weights; auto takes the cache folder, random is for trials", {
      default: defaults.backboneWeights,
    }),
    "feature-cache-mib": integer("MIB", "memory for cached backbone features", {
      min: 0,
      default: defaults.featureCacheMiB,
    }),
    "feature-cache-host-mib": integer("MIB", "with a GPU: page-locked memory of the host for what does not fit there", {
      min: 0,
      default: defaults.featureCacheHostMiB,
    }),
    "feature-cache-file-mib": integer("MIB", "disk space to keep them for the trainings that follow; 0 does not", {
      min: 0,
      default: defaults.featureCacheFileMiB,
    }),
    "feature-cache-dir": text("DIR", "where", { default: "the cache folder" }),
    device: shared.device,
    threads: shared.threads,
  },
  examples: [
    "supersimplenet experiment table4 --data mvtec=data/mvtec --data visa=data/visa --out runs/paper --published published.json",
    "supersimplenet experiment fig12 --data data/tiles --out runs/labels --backbone resnet18 --epochs 50 --seeds 3",
    "supersimplenet experiment table2 --data sensum=data/sensum --data ksdd2=data/ksdd2 --out runs/paper --shard 1/4",
    "supersimplenet experiment table2 --out runs/paper",
  ],
  async run(values, [positional]) {
    output.worksOn = true;
    const name = checkProtocol("experiment", positional);
    const { out } = values;
    const sources =
      values.data === undefined ? [] : typeof values.data === "string" ? [values.data] : Object.values(values.data);
    for (const source of sources) refuseInDataset("experiment", "--out", out, source);
    const training = given({
      epochs: values.epochs,
      batchSize: values.batch,
      imageSize: values["image-size"],
      backbone: values.backbone,
      backboneWeights: values["backbone-weights"],
      featureCacheMiB: values["feature-cache-mib"],
      featureCacheHostMiB: values["feature-cache-host-mib"],
      featureCacheFileMiB: values["feature-cache-file-mib"],
      featureCacheDir: values["feature-cache-dir"],
      device: values.device,
      threads: values.threads,
    });
    const { experiment: run } = await import("../experiments/experiment.js");
    let finished = 0;
    const onEvent = (event: ExperimentEvent): void => {
      if (event.type === "plan") output.log(protocols[name].title);
      if (event.type === "done") finished++;
      show(event);
    };
    const began = performance.now();
    const report = await withoutEmptyFolders(out, () =>
      interruptible((signal) =>
        run(name, {
          out,
          signal,
          onEvent,
          ...(Object.keys(training).length > 0 && { training }),
          ...given({
            data: values.data,
            seeds: values.seeds,
            shard: values.shard,
            published: values.published,
            categories: values.categories,
          }),
        }),
      ),
    ).catch((error: unknown) => {
      if (!(error instanceof SuperSimpleNetError && error.code === "ABORTED")) throw error;
      throw new SuperSimpleNetError(
        "ABORTED",
        `Interrupted. ${finished} run${finished === 1 ? " is" : "s are"} new in ${out}; the same command goes on from there.`,
        { cause: error },
      );
    });
    output.done();
    const { tableDocument, tableMarkdown } = await import("../experiments/tables.js");
    output.result(tableMarkdown(report.table));
    output.result(`tables: ${report.files.markdown}, ${report.files.json}`);
    output.result(`${duration((performance.now() - began) / 1000)} in all`);
    output.document({ ...report, table: tableDocument(report.table) });
    return report.runs.diverged.length > 0 ? 1 : 0;
  },
});
