import { createHash } from "node:crypto";
import path from "node:path";

import { backboneOf } from "../backbones/choose.js";
import { countSamples, type Dataset, type DatasetCounts } from "../datasets/dataset.js";
import { publishedSettings } from "../datasets/published.js";
import { applyRegime, inferRegime, limitSegmented, limitTraining } from "../datasets/regime.js";
import { kindOf, open } from "../datasets/registry.js";
import { call, invalid, SuperSimpleNetError, text } from "../errors.js";
import { mergeOptions } from "../schema/check.js";
import { type DatasetKind, datasetKinds } from "../schema/datasets.js";
import { experimentTraining, type ExperimentTraining, type Shard } from "../schema/experiments.js";
import { paces, publishedTraining } from "../schema/presets.js";
import type { TrainerOptions } from "../schema/types.js";
import { checkOptions, recordedOptions, withPace } from "../training/resolve.js";
import { Trainer } from "../training/trainer.js";
import {
  type Condition,
  isPublished,
  type Protocol,
  type ProtocolName,
  protocols,
  publishedData,
  type PublishedKind,
} from "./protocols.js";

/** A data set of the experiment. */
export interface Source {
  /** Part of the runs' keys, and the name in the tables. */
  name: string;
  root: string;
  /** How it is opened. */
  kind: DatasetKind;
  /** Undefined for data of one's own. */
  published: PublishedKind | undefined;
}

/** A category, a fold, or both, of a data set. */
interface Part {
  name: string;
  category: string | undefined;
  fold: number | undefined;
}

export interface PlannedRun {
  /** Unique; names everything that varies within a protocol. */
  key: string;
  source: Source;
  condition: Condition;
  /** Place of the condition in the protocol. */
  order: number;
  part: Part;
  /** All parts of the data set: a seed counts when all of them are done. */
  parts: readonly string[];
  seed: number;
  options: TrainerOptions;
}

export interface PlanOptions {
  data: string | Readonly<Record<string, string>>;
  seeds: number;
  categories?: readonly string[] | undefined;
  training: ExperimentTraining;
}

/**
 * Returns everything that decides a run's result, besides the data and the version. Results are stored with it; a run
 * that is done already must have the same.
 */
export function decisive(run: PlannedRun): Record<string, unknown> {
  const { options } = new Trainer(run.options);
  const { normalShare = 1, anomalousShare = 1 } = run.condition;
  return JSON.parse(
    JSON.stringify({
      ...recordedOptions(options),
      backboneWeights: options.backboneWeights === "random" ? "random" : "trained",
      normalShare,
      anomalousShare,
      parts: run.parts,
    }),
  ) as Record<string, unknown>;
}

/** Matches the data sets to those of the protocol. Throws INVALID_OPTION when they do not fit. */
async function findSources(name: ProtocolName, data: PlanOptions["data"]): Promise<Source[]> {
  const where = `experiment ${name}`;
  const protocol: Protocol = protocols[name];
  const wanted = Object.keys(protocol.kinds).join(", ");
  const named = typeof data === "string" ? [[undefined, data] as const] : Object.entries(data);
  if (named.length === 0) throw invalid(where, "data", `a data set (${wanted})`, "none");
  const sources: Source[] = [];
  for (const [key, root] of named) {
    const kind = datasetKinds.find((known) => known === key) ?? (await kindOf(root));
    const published = (key === undefined || key === kind) && isPublished(kind) ? kind : undefined;
    const source = { name: key ?? published ?? path.parse(path.resolve(root)).name, root, kind, published };
    if (!/^[\w.-]+$/.test(source.name))
      throw invalid(where, "data", "a name of letters, digits, '.', '_' and '-' (NAME=DIR)", source.name);
    if (published !== undefined && protocol.kinds[published] === undefined) {
      const what = text`${call(where)}: it runs on ${wanted}, but ${root} is ${published}.`;
      const fix = `To run it on the images as data of your own give another name: NAME=${root}.`;
      throw new SuperSimpleNetError("INVALID_OPTION", what, { option: "data", path: root, fix });
    }
    if (published === undefined && protocol.notOwn !== undefined)
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        text`${call(where)} runs on ${wanted} alone: ${protocol.notOwn}.`,
        { option: "data", path: root },
      );
    sources.push(source);
  }
  return sources;
}

const hasCategories = ({ kind }: Source): boolean => isPublished(kind) && publishedData[kind].categories !== undefined;

function partsOf(where: string, source: Source, protocol: Protocol, chosen: readonly string[] | undefined): Part[] {
  const { categories: all, folds } =
    source.published === undefined ? { categories: undefined, folds: undefined } : publishedData[source.published];
  // Your own data in a layout with categories: the categories are those that were asked for.
  const available =
    source.published === undefined
      ? hasCategories(source)
        ? chosen
        : undefined
      : (protocol.kinds[source.published]!.categories ?? all);
  const categories =
    chosen === undefined || available === undefined ? available : available.filter((name) => chosen.includes(name));
  if (categories?.length === 0)
    throw invalid(where, "categories", `categories of ${source.name}: ${available!.join(", ")}`, chosen);
  return (categories ?? [undefined]).flatMap((category) =>
    Array.from({ length: folds ?? 1 }, (_, i): Part => {
      const fold = folds === undefined ? undefined : i;
      return {
        name:
          [category, fold === undefined ? undefined : `fold${fold}`].filter((piece) => piece !== undefined).join("/") ||
          "all",
        category,
        fold,
      };
    }),
  );
}

/** Opens the parts of the data sets, each once. */
export class Parts {
  private readonly opened = new Map<string, Promise<Dataset>>();

  open(source: Source, part: Part, options: TrainerOptions = {}): Promise<Dataset> {
    const { segmentedRatio, segmentedCount } = options.masks ?? {};
    const how = { kind: source.kind, category: part.category, fold: part.fold, segmentedRatio, segmentedCount };
    const key = JSON.stringify([source.root, how]);
    // KSDD2 has published splits by number and SensumSODF by share: each is a data set to open.
    const found = this.opened.get(key) ?? open(source.root, how);
    this.opened.set(key, found);
    return found;
  }

  /** Returns the data of one run. Throws DATASET_INVALID when labels that the run needs, or test images, are missing. */
  async of({
    source,
    part,
    condition,
    options,
  }: PlannedRun): Promise<{ dataset: Dataset; data: { counts: DatasetCounts; samples: string } }> {
    const dataset = limitTraining(await this.open(source, part, options), condition);
    const { segmentedRatio, segmentedCount } = options.masks ?? {};
    const used = applyRegime(limitSegmented(dataset, { segmentedRatio, segmentedCount }), options.regime ?? "auto");
    if (!dataset.samples.some((sample) => sample.split === "test"))
      throw new SuperSimpleNetError("DATASET_INVALID", `Data set ${dataset.root} has no test images to evaluate on.`, {
        path: dataset.root,
      });
    const samples = createHash("sha256");
    for (const { id, label, split, mask } of used.samples)
      samples.update(JSON.stringify([id, label, split, mask !== undefined]));
    return { dataset, data: { counts: countSamples(used), samples: samples.digest("hex").slice(0, 16) } };
  }
}

const { calibration } = experimentTraining.parse({});

/** Returns the runs of a protocol in the order in which they are done: seed by seed, so that whole seeds are there early. */
export async function plan(
  name: ProtocolName,
  { data, seeds, categories, training }: PlanOptions,
  opened: Parts,
): Promise<PlannedRun[]> {
  const where = `experiment ${name}`;
  const protocol: Protocol = protocols[name];
  const runs: PlannedRun[] = [];
  const sources = await findSources(name, data);
  if (categories !== undefined && !sources.some(hasCategories))
    throw invalid(where, "categories", "nothing, for no data set here has categories,", categories);
  for (const source of sources) {
    const parts = partsOf(where, source, protocol, categories);
    const first = await opened.open(source, parts[0]!);
    const { trainAnomalous: anomalous, trainSegmented: segmented } = countSamples(first);
    for (const part of parts) {
      const published = publishedSettings({ kind: source.kind, category: part.category });
      const settings = mergeOptions<TrainerOptions>(
        publishedTraining,
        published,
        { backbone: backboneOf(training.backboneWeights), calibration },
        training,
      );
      const base = withPace({ ...checkOptions(settings), backbone: settings.backbone! }, "published");
      const conditions = protocol.conditions({
        kind: source.published,
        labels: { anomalous, segmented },
        regime: inferRegime(first),
        base: { ...base, epochs: base.epochs ?? paces.published.epochs },
      });
      for (const [order, condition] of conditions.entries()) {
        for (let seed = 0; seed < seeds; seed++) {
          const key = [name, source.name, condition.name, part.name, `seed${seed}`].join("/");
          runs.push({
            key,
            source,
            condition,
            order,
            part,
            parts: parts.map((each) => each.name),
            seed,
            options: mergeOptions<TrainerOptions>(settings, condition.options, { seed }),
          });
        }
      }
    }
  }
  return runs
    .map((run, i) => ({ run, i }))
    .sort((a, b) => a.run.seed - b.run.seed || a.i - b.i)
    .map(({ run }) => run);
}

/** Returns every count-th run: the shards of one plan are disjoint and together are the whole plan. */
export function shardOf<T>(runs: readonly T[], { index, count }: Shard): T[] {
  return runs.filter((_, i) => i % count === index - 1);
}
