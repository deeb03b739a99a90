import { z } from "zod";

import { mvtecCategories, visaCategories } from "../datasets/published.js";
import type { Regime } from "../datasets/dataset.js";
import { call, command, SuperSimpleNetError, text } from "../errors.js";
import type { MetricId } from "../evaluation/metrics_table.js";
import type { Architecture } from "../native/binding.js";
import { checkValue, mergeOptions } from "../schema/check.js";
import { type AblationName, ablations, paces, regimePresets } from "../schema/presets.js";
import type { TrainerOptions } from "../schema/types.js";
import { defaultNoise, type Paced, type SettledOptions } from "../training/resolve.js";

export type MetricName = Exclude<MetricId, "f1MaxThreshold">;

/** One row of a table: how the model is trained. */
export interface Condition {
  /** Unique in the protocol, a part of the runs' keys. */
  name: string;
  /** For people. */
  title: string;
  /** They replace the data set's published settings and the caller's. */
  options: TrainerOptions;
  /** Share of the normal or anomalous training images that are used, above 0, to 1. Default 1. */
  normalShare?: number;
  anomalousShare?: number;
  /** Column of the protocol's summary, and the row's name there. */
  summary?: { group: "supervised" | "unsupervised"; row: string };
  /** Where the authors' result is in the file of published numbers: regime and key. */
  published?: readonly [regime: string, key: string];
}

/** What the conditions of a protocol may depend on. */
export interface Context {
  /** Published data set, or undefined for your own data. */
  kind: PublishedKind | undefined;
  /** Numbers of labels in the training split. */
  labels: { anomalous: number; segmented: number };
  regime: Regime;
  /** The trainer's options before the condition changes them: its defaults, the data set's settings, the caller's options. */
  base: SettledOptions & Paced & { epochs: number };
}

export interface Protocol {
  /** What it is in the paper. */
  title: string;
  /** The published data sets it runs on. Default: all their categories. */
  kinds: Partial<Record<PublishedKind, { categories?: readonly string[] }>>;
  /** Why your own data makes no sense here; undefined where it does. */
  notOwn?: string;
  conditions(context: Context): Condition[];
  /** Shown in the Markdown table, by data set; the JSON has all. Default: metricsOf. */
  metrics?: readonly MetricName[];
  /** Mean over the data sets of I-AUROC and AUPRO as differences from the first row, as in the paper's ablation tables. */
  summary?: true;
  /** Count hits and misses at the threshold of the highest F1. */
  misclassification?: true;
}

/** The data sets of the paper. */
export const publishedData = {
  mvtec: { categories: mvtecCategories, folds: undefined },
  visa: { categories: visaCategories, folds: undefined },
  ksdd2: { categories: undefined, folds: undefined },
  sensum: { categories: ["capsule", "softgel"], folds: 3 },
  bmad: { categories: ["brain", "histopathology"], folds: undefined },
} as const satisfies Record<string, { categories: readonly string[] | undefined; folds: number | undefined }>;
export type PublishedKind = keyof typeof publishedData;
export const isPublished = (kind: string): kind is PublishedKind => Object.hasOwn(publishedData, kind);

/** The metrics that the paper reports on a data set (section 4.2). Your own data gets both of each kind. */
export function metricsOf(kind: PublishedKind | undefined): readonly MetricName[] {
  if (kind === "ksdd2") return ["imageAveragePrecision", "pixelAveragePrecision"];
  if (kind === "bmad") return ["imageAuroc", "pixelAuroc"];
  return kind === undefined
    ? ["imageAuroc", "imageAveragePrecision", "aupro", "pixelAveragePrecision"]
    : ["imageAuroc", "aupro"];
}

const unsupervised = (published?: Condition["published"]): Condition => ({
  name: "unsupervised",
  title: "no anomalous images",
  options: { regime: "unsupervised" },
  ...(published && { published }),
});
const weak = (published?: Condition["published"]): Condition => ({
  name: "weak",
  title: "no masks",
  options: { regime: "weak" },
  ...(published && { published }),
});

/** The key of full supervision in the published file: the number or the share of the masks. */
const fullKey = ({ kind }: Context): string => (kind === "ksdd2" ? "246" : "1");

/** Trains with every label: `full` on a published data set, the regime that the labels allow on your own. */
function everyLabel(context: Context): Condition {
  const regime = context.kind === undefined ? context.regime : "full";
  return {
    name: regime,
    title: regime === "full" ? "all masks" : `all labels (${regime})`,
    options: { regime },
    published: ["full", fullKey(context)],
  };
}

/** Varies the number of masks: published splits where the data set has them, else shares of its masks. */
function maskSweep(context: Context): Condition[] {
  const { kind, labels } = context;
  if (kind === "ksdd2") {
    return [16, 53, 126].map((count): Condition => ({
      name: `masks-${count}`,
      title: `${count} masks`,
      options: { regime: "mixed", masks: { segmentedCount: count } },
      published: ["mixed", String(count)],
    }));
  }
  const shares = [0.2, 0.4, 0.6, 0.8];
  if (kind !== undefined)
    return shares.map((share): Condition => ({
      name: `masks-${share}`,
      title: `${share * 100} % of the masks`,
      options: { regime: "mixed", masks: { segmentedRatio: share } },
      published: ["mixed", String(share)],
    }));
  const counts = [...new Set(shares.map((share) => Math.round(share * labels.segmented)))].filter(
    (count) => count > 0 && count < labels.segmented,
  );
  return counts.map((count): Condition => ({
    name: `masks-${count}`,
    title: `${count} of ${labels.segmented} masks`,
    options: { regime: "mixed", masks: { segmentedCount: count } },
  }));
}

function mixedSweep(context: Context): Condition[] {
  const withoutMasks = [unsupervised(["unsup", "unsup"]), weak(["mixed", "0"])];
  if (context.labels.segmented === 0) return withoutMasks;
  return [...withoutMasks, ...maskSweep(context), { ...everyLabel(context), published: ["mixed", fullKey(context)] }];
}

/** Adds normal images, then anomalous ones with a label, then their masks (paper, figure 12). */
function labelSweep(context: Context): Condition[] {
  const percent = (share: number): string => `${share * 100} %`;
  const conditions: Condition[] = [];
  for (const share of [0.1, 0.25, 0.5])
    conditions.push({
      name: `normal-${share}`,
      title: `${percent(share)} of the normal images`,
      options: { regime: "unsupervised" },
      normalShare: share,
    });
  conditions.push({ ...unsupervised(), title: "all normal images" });
  if (context.labels.anomalous === 0) return conditions;
  for (const share of [0.1, 0.25, 0.5])
    conditions.push({
      name: `anomalous-${share}`,
      title: `and ${percent(share)} of the anomalous images`,
      options: { regime: "weak" },
      anomalousShare: share,
    });
  conditions.push({ ...weak(), title: "and all anomalous images" });
  if (context.labels.segmented === 0) return conditions;
  const { published: _, ...all } = everyLabel(context);
  for (const { published: _published, title, ...condition } of maskSweep(context))
    conditions.push({ ...condition, title: `and ${title}` });
  conditions.push({
    ...all,
    title: `and all ${context.kind === undefined ? `${context.labels.segmented} ` : ""}masks`,
  });
  return conditions;
}

/** Changes one setting at a time (paper, appendix B). */
function sensitivity(context: Context): Condition[] {
  const { base } = context;
  const standard = everyLabel(context);
  const regime = standard.options.regime as Regime;
  const row = (name: string, title: string, options: TrainerOptions): Condition => ({
    name,
    title,
    options: { regime, ...options },
  });
  const threshold = base.anomalies.perlinThreshold ?? regimePresets[regime].anomalies.perlinThreshold;
  const noise = base.anomalies.noiseStd ?? defaultNoise(base, regime);
  const { adaptorLearningRate, headsLearningRate } = base.optimizer;
  const rounded = (value: number): number => Number(value.toPrecision(6));
  const times = (value: number, factor: number): number => rounded(value * factor);
  return [
    {
      ...standard,
      title: `defaults: batch ${base.batchSize}, learning rates ${adaptorLearningRate} and ${headsLearningRate}, ${base.epochs} epochs, threshold ${threshold}, noise ${typeof noise === "number" ? noise : `relative ${noise.relative}`}`,
    },
    ...[0.25, 0.5, 2].map((factor) => {
      const batchSize = Math.max(1, Math.round(base.batchSize * factor));
      return row(`batch-x${factor}`, `batch ${batchSize}`, { batchSize });
    }),
    ...[0.25, 0.5, 2, 4].map((factor) => {
      const rates = {
        adaptorLearningRate: times(adaptorLearningRate, factor),
        headsLearningRate: times(headsLearningRate, factor),
      };
      return row(
        `learning-rate-x${factor}`,
        `learning rates ${rates.adaptorLearningRate} and ${rates.headsLearningRate}`,
        { optimizer: rates },
      );
    }),
    ...[1 / 6, 1 / 3, 2 / 3, 4 / 3].map((factor) => {
      const epochs = Math.max(1, Math.round(base.epochs * factor));
      return row(`epochs-x${factor.toFixed(2)}`, `${epochs} epochs`, { epochs });
    }),
    ...[0.2, 0.4, 0.6, 0.8]
      .filter((value) => value !== threshold)
      .map((perlinThreshold) =>
        row(`threshold-${perlinThreshold}`, `threshold ${perlinThreshold}`, { anomalies: { perlinThreshold } }),
      ),
    ...[1 / 3, 2 / 3, 4 / 3, 2].map((factor) => {
      const noiseStd = typeof noise === "number" ? times(noise, factor) : { relative: times(noise.relative, factor) };
      return row(
        `noise-x${factor.toFixed(2)}`,
        `noise ${typeof noiseStd === "number" ? noiseStd : `relative ${noiseStd.relative}`}`,
        { anomalies: { noiseStd } },
      );
    }),
  ];
}

/** Trains variants with all labels on a supervised data set, without labels on another, and both ways on your own labelled data. */
function variants(
  context: Context,
  rows: readonly { name: string; title: string; options: TrainerOptions; only?: "supervised" | "unsupervised" }[],
): Condition[] {
  const { kind, regime } = context;
  const supervised = kind === undefined ? regime !== "unsupervised" : kind === "sensum" || kind === "ksdd2";
  const groups = [
    ...(supervised ? ["supervised" as const] : []),
    ...(kind === undefined || !supervised ? ["unsupervised" as const] : []),
  ];
  return groups.flatMap((group) =>
    rows.flatMap(({ name, title, options, only }, index): Condition[] => {
      if (only !== undefined && only !== group) return [];
      const labels: Regime = group === "unsupervised" ? group : kind === undefined ? regime : "full";
      const published: Condition["published"] = group === "unsupervised" ? ["unsup", "1"] : ["full", fullKey(context)];
      return [
        {
          name: `${group}-${name}`,
          title: `${title}, ${labels}`,
          options: mergeOptions<TrainerOptions>(options, { regime: labels }),
          summary: { group, row: title },
          ...(index === 0 && { published }),
        },
      ];
    }),
  );
}

/** Rows of one kind of supervision: without real defects they change nothing or cannot be trained. */
const onlyWith: Partial<Record<AblationName, "supervised" | "unsupervised">> = {
  overlap: "supervised",
  noDistanceWeight: "supervised",
  noSyntheticAnomalies: "supervised",
  simpleNet: "unsupervised",
  simpleNetSupervised: "supervised",
};

function ablationRows(context: Context): Condition[] {
  const rows = (Object.keys(ablations) as AblationName[]).map((name) => {
    const { title, options } = ablations[name];
    const only = onlyWith[name];
    // SimpleNet has its own number of epochs; it shrinks in proportion when the caller asks for fewer.
    const epochs =
      options.epochs && Math.max(1, Math.round((options.epochs * context.base.epochs) / paces.published.epochs));
    return { name, title, options: { ...options, ...(epochs && { epochs }) }, ...(only && { only }) };
  });
  return variants(context, [{ name: "ours", title: "ours", options: {} }, ...rows]);
}

/** Trains with and without synthetic anomalies, if there are real ones. */
function withAndWithoutSynthetic(context: Context): Condition[] {
  const all = everyLabel(context);
  if (all.options.regime === "unsupervised") return [all];
  const { title, options } = ablations.noSyntheticAnomalies;
  return [all, { name: "no-synthetic", title, options: mergeOptions(options, all.options) }];
}

const backbones: readonly Architecture[] = ["wide_resnet50_2", "wide_resnet101_2", "resnet50", "resnet101"];
const supervisedData = { sensum: {}, ksdd2: {} };
const averaged = ["imageAuroc", "aupro"] as const;

const all = {
  table2: {
    title: "Table 2: full supervision",
    kinds: supervisedData,
    conditions: (context) => [
      { name: "full", title: "all masks", options: { regime: "full" }, published: ["full", fullKey(context)] },
    ],
  },
  table3: { title: "Table 3: weak supervision", kinds: supervisedData, conditions: () => [weak(["weak", "0"])] },
  fig6: {
    title: "Figure 6: mixed supervision, shares of the masks (SensumSODF)",
    kinds: { sensum: {} },
    conditions: mixedSweep,
  },
  fig7: {
    title: "Figure 7: mixed supervision, numbers of masks (KSDD2)",
    kinds: { ksdd2: {} },
    notOwn: "its numbers of masks are those of KSDD2; fig6 does the same with shares of your own masks",
    conditions: mixedSweep,
  },
  table4: {
    title: "Table 4: no supervision",
    kinds: { mvtec: {}, visa: {} },
    conditions: () => [unsupervised(["unsup", "1"])],
  },
  table5: {
    title: "Table 5: ablations",
    kinds: { ...supervisedData, mvtec: {}, visa: {} },
    conditions: ablationRows,
    metrics: averaged,
    summary: true,
  },
  table6: {
    title: "Table 6: backbones",
    kinds: { ...supervisedData, mvtec: {}, visa: {} },
    conditions: (context) =>
      variants(
        context,
        backbones.map((backbone) => ({ name: backbone, title: backbone, options: { backbone } })),
      ),
    metrics: averaged,
    summary: true,
  },
  table7: {
    title: "Table 7: medical images (BMAD)",
    kinds: { bmad: {} },
    notOwn: "it is table4 on the medical data sets; use table4",
    conditions: () => [unsupervised()],
  },
  table8: {
    title: "Table 8: image resolution (VisA)",
    kinds: { visa: {} },
    conditions: ({
      base: {
        imageSize: [height, width],
      },
    }) =>
      [1, 2].map((factor): Condition => ({
        name: `size-x${factor}`,
        title: `${height * factor}x${width * factor}`,
        options: { regime: "unsupervised", imageSize: [height * factor, width * factor] },
        ...(factor === 1 && { published: ["unsup", "1"] }),
      })),
  },
  table10: {
    title: "Table 10: misclassification, with and without synthetic anomalies",
    kinds: supervisedData,
    conditions: withAndWithoutSynthetic,
    misclassification: true,
  },
  fig12: {
    title: "Figure 12: which labels help",
    kinds: { sensum: { categories: ["softgel"] } },
    conditions: labelSweep,
  },
  fig13: {
    title: "Figure 13: sensitivity to the hyper-parameters (SensumSODF)",
    kinds: { sensum: {} },
    conditions: sensitivity,
  },
} as const satisfies Record<string, Protocol>;

/** The name of a table or figure of the paper. */
export type ProtocolName = keyof typeof all;

/** The tables and figures of the paper's experimental section. A new protocol is one more entry. */
export const protocols: Readonly<Record<ProtocolName, Protocol>> = all;

export const protocolNames = Object.keys(protocols) as ProtocolName[];

/** Throws INVALID_OPTION for a name that is no protocol. */
export function checkProtocol(where: string, name: unknown): ProtocolName {
  if (name === "table9")
    throw new SuperSimpleNetError("INVALID_OPTION", text`${call(where)}: table9 is about speed and trains nothing.`, {
      value: name,
      fix: text`${command("benchmark --image-size 512")} measures it, size by size.`,
    });
  return checkValue(where, "name", z.enum(protocolNames), name);
}
