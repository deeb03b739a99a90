import { invalid } from "../errors.js";
import { publishedTraining } from "../schema/presets.js";
import type { TrainerOptions } from "../schema/types.js";
import { countSamples, type Dataset } from "./dataset.js";

/** Settings that belong to a data set, not to the regime. */
export type PublishedSettings = Pick<TrainerOptions, "imageSize" | "pace" | "anomalies">;

const withThreshold = (perlinThreshold: number): PublishedSettings => ({
  ...publishedTraining,
  anomalies: { ...publishedTraining.anomalies, perlinThreshold },
});

const settings: Record<string, PublishedSettings | Record<string, PublishedSettings>> = {
  mvtec: { imageSize: [256, 256], ...withThreshold(0.2) },
  visa: { imageSize: [256, 256], ...withThreshold(0.6) },
  ksdd2: { imageSize: [640, 232], ...publishedTraining },
  sensum: {
    capsule: { imageSize: [320, 192], ...publishedTraining },
    softgel: { imageSize: [144, 144], ...publishedTraining },
  },
  // The paper gives no size for its medical experiment; 256 x 256 is that of its other unsupervised ones.
  bmad: { imageSize: [256, 256], ...publishedTraining },
};

/**
 * The image size, height x width, the pace and the synthetic anomalies that the paper's experiments (section 4 and the authors' code)
 * use on a data set; everything else they leave at the trainer's defaults. Empty for data of one's own.
 *
 *     const data = await datasets.open("visa", { category: "pcb1" });
 *     new Trainer({ ...datasets.publishedSettings(data), seed: 1 });
 */
export function publishedSettings(dataset: Pick<Dataset, "kind" | "category">): PublishedSettings {
  if (typeof dataset !== "object" || dataset === null)
    throw invalid("datasets.publishedSettings", "dataset", "a data set", dataset);
  const { kind, category } = dataset;
  const found = settings[kind] ?? {};
  if (kind !== "sensum") return { ...(found as PublishedSettings) };
  return { ...(found as Record<string, PublishedSettings>)[category ?? ""] };
}

/** Images of a split as published: [normal, anomalous], or their sum. */
type Count = readonly [number, number] | number;

interface PublishedCounts {
  train?: Count;
  test?: Count;
  /** Both splits together, where folds divide them. */
  all?: Count;
}

/** [training, test] images of MVTec AD (Bergmann et al. 2019, table 1). */
const mvtec: Record<string, readonly [number, number]> = {
  bottle: [209, 83],
  cable: [224, 150],
  capsule: [219, 132],
  carpet: [280, 117],
  grid: [264, 78],
  hazelnut: [391, 110],
  leather: [245, 124],
  metal_nut: [220, 115],
  pill: [267, 167],
  screw: [320, 160],
  tile: [230, 117],
  toothbrush: [60, 42],
  transistor: [213, 100],
  wood: [247, 79],
  zipper: [240, 151],
};

/** [training, good test, anomalous test] images of MVTec LOCO AD (Bergmann et al. 2022, table 1). */
const mvtecLoco: Record<string, readonly [number, number, number]> = {
  breakfast_box: [351, 102, 173],
  juice_bottle: [335, 94, 236],
  pushpins: [372, 138, 172],
  screw_bag: [360, 122, 219],
  splicing_connectors: [360, 119, 193], // of which the table lacks 6 training images that are in the archive
};

const counts: Record<string, Record<string, PublishedCounts>> = {
  mvtec: Object.fromEntries(Object.entries(mvtec).map(([category, [train, test]]) => [category, { train, test }])),
  mvtec_loco: Object.fromEntries(
    Object.entries(mvtecLoco).map(([category, [train, good, bad]]) => [category, { train, test: [good, bad] }]),
  ),
  mvtec_ad2: {},
  ksdd2: { "": { train: [2085, 246], test: [894, 110] } },
  sensum: { capsule: { all: [836, 153] }, softgel: { all: [846, 345] } },
  bmad: { brain: { train: 7500, test: [640, 3075] }, histopathology: { train: 5088, test: 1997 } },
  mtd: { "": { all: [952, 392] } },
};

export const mvtecCategories: readonly string[] = Object.keys(mvtec);
export const mvtecLocoCategories: readonly string[] = Object.keys(mvtecLoco);
export const mvtecAd2Categories: readonly string[] =
  "can fabric fruit_jelly rice sheet_metal vial wallplugs walnuts".split(" ");
export const visaCategories: readonly string[] =
  "candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 pipe_fryum".split(" ");

/** Whether its masks are those of a published data set. Such a mask may mark most of an image, for instance where a part lies the wrong way up. */
export const hasPublishedMasks = ({ kind }: Dataset): boolean =>
  Object.hasOwn(counts, kind) || Object.hasOwn(settings, kind);

/** What differs from the numbers of images that were published: a sign of an incomplete download. */
export function countWarnings(dataset: Dataset): string[] {
  const expected = counts[dataset.kind]?.[dataset.category ?? ""];
  if (expected === undefined) return [];
  const found = countSamples(dataset);
  const splits: Record<keyof PublishedCounts, readonly [number, number]> = {
    train: [found.trainNormal, found.trainAnomalous],
    test: [found.testNormal, found.testAnomalous],
    all: [found.trainNormal + found.testNormal, found.trainAnomalous + found.testAnomalous],
  };
  return (Object.keys(expected) as (keyof PublishedCounts)[]).flatMap((split) => {
    const want = expected[split]!;
    const [normal, anomalous] = splits[split];
    const same = typeof want === "number" ? normal + anomalous === want : normal === want[0] && anomalous === want[1];
    if (same) return [];
    const name = split === "all" ? "data set" : `${split} split`;
    const have = typeof want === "number" ? `${normal + anomalous}` : `${normal} normal and ${anomalous} anomalous`;
    const published = typeof want === "number" ? `${want}` : `${want[0]} and ${want[1]}`;
    return [
      `The ${name} has ${have} images; ${published} were published. Results do not compare; an incomplete download is likely.`,
    ];
  });
}
