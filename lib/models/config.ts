import { architectures } from "../backbones/catalogue.js";
import type { Regime } from "../datasets/types.js";
import { SuperSimpleNetError } from "../errors.js";
import type {
  Architecture,
  ClassificationHead,
  Compute,
  NetworkConfig,
  ResizeMethod,
  Variant,
} from "../native/binding.js";
import { checkBoolean, checkChoice, checkNumber, invalid } from "../options.js";

/** Newest version of the model file that this package writes and the newest that it reads. */
export const modelFormatVersion = 1;

export interface BackboneInfo {
  architecture: Architecture;
  /** False for random weights: every output says so. */
  trained: boolean;
  /** Name of the file the weights came from, or "random, seed N". */
  source: string;
  /** SHA-256 over the tensors up to layer3; a backbone with another one is refused. */
  sha256: string;
}

const thresholdMethods = ["best-f1", "normal-quantile", "manual", "default"] as const;

/** How the thresholds were set. "default": score 0.5, not calibrated. */
export type ThresholdMethod = (typeof thresholdMethods)[number];

export interface Thresholds {
  /** Score logit at and above which an image is anomalous; the score is its sigmoid. */
  scoreLogit: number;
  /** Map logit at and above which a pixel belongs to a region. */
  pixelLogit: number;
  scoreMethod: ThresholdMethod;
  pixelMethod: ThresholdMethod;
  /** Images the thresholds were set on (held out of training). */
  calibrationNormal: number;
  calibrationAnomalous: number;
}

/** Everything about a model but its tensors. Stored as JSON in the model file's metadata, without times or paths. */
export interface ModelConfig {
  backbone: BackboneInfo;
  layers: readonly string[];
  /** Height, width. */
  imageSize: readonly [number, number];
  resize: ResizeMethod;
  variant: Variant;
  alignCorners: boolean;
  /** Features are upscaled to twice the largest layer map's size. This and the next two are ablations (docs/ablations.md); absent: networkDefaults. */
  upscale?: boolean;
  classificationHead?: ClassificationHead;
  /** The classification head sees the map. */
  mapInput?: boolean;
  thresholds: Thresholds;
  /** Null for converted checkpoints. */
  training: TrainingInfo | null;
  /** Package version that wrote the file. */
  createdBy: string;
}

export interface TrainingInfo {
  regime: Regime;
  epochs: number;
  batchSize: number;
  seed: number;
  /** Mean over channels of the noise's standard deviation, and the relative scale it came from, if any. */
  noiseStd: number;
  noiseRelative: number | null;
  options: Record<string, unknown>;
  trainNormal: number;
  trainAnomalous: number;
  trainSegmented: number;
}

/** What decides the network and its input; the trainer's options, a model's configuration and a conversion have it in common. */
export type NetworkSettings = Pick<ModelConfig, "layers" | "imageSize" | "resize" | "variant" | "alignCorners"> &
  Required<Pick<ModelConfig, keyof typeof networkDefaults>>;

/** The paper's network, for configurations that do not say otherwise. */
export const networkDefaults = { upscale: true, classificationHead: "standard", mapInput: true } as const;

/** The settings that the engine needs, with the defaults filled in. */
export function networkConfigOf(
  architecture: Architecture,
  settings: Omit<NetworkSettings, "resize" | keyof typeof networkDefaults> &
    Pick<ModelConfig, keyof typeof networkDefaults>,
): NetworkConfig {
  const { layers, imageSize, variant, alignCorners } = settings;
  const {
    upscale = networkDefaults.upscale,
    classificationHead = networkDefaults.classificationHead,
    mapInput = networkDefaults.mapInput,
  } = settings;
  return {
    architecture,
    layers,
    imageHeight: imageSize[0],
    imageWidth: imageSize[1],
    variant,
    alignCorners,
    upscale,
    classificationHead,
    mapInput,
  };
}

/**
 * How the heads are computed: as asked, else the fast way where it exists. It exists for the paper's classification head only
 * ("standard" with the map as input); asking for it with another one throws INVALID_OPTION.
 */
export function computeFor(
  where: string,
  {
    classificationHead = networkDefaults.classificationHead,
    mapInput = networkDefaults.mapInput,
  }: Pick<ModelConfig, "classificationHead" | "mapInput">,
  asked: Compute | undefined,
): Compute {
  if (asked !== undefined) checkChoice(where, "heads", asked, ["lowResolution", "direct"]);
  if (classificationHead === "standard" && mapInput) return asked ?? "lowResolution";
  if (asked === "lowResolution")
    throw invalid(
      where,
      "heads",
      `'direct' (the only form for classificationHead '${classificationHead}', mapInput ${mapInput})`,
      asked,
    );
  return "direct";
}

/** Throws INVALID_OPTION for the first that is wrong. */
export function checkNetworkSettings(
  where: string,
  settings: { [Name in keyof NetworkSettings]?: unknown },
): NetworkSettings {
  const { layers, imageSize, resize, variant, alignCorners } = settings;
  const {
    upscale = networkDefaults.upscale,
    classificationHead = networkDefaults.classificationHead,
    mapInput = networkDefaults.mapInput,
  } = settings;
  if (!Array.isArray(layers) || layers.length === 0 || new Set(layers).size !== layers.length)
    throw invalid(where, "layers", "a list of different layers", layers);
  if (!Array.isArray(imageSize) || imageSize.length !== 2)
    throw invalid(where, "imageSize", "[height, width]", imageSize);
  const side = (value: unknown): number =>
    checkNumber(where, "imageSize", value, { min: 32, max: 8192, integer: true });
  if (classificationHead === "mapMax" && mapInput === false)
    throw invalid(
      where,
      "mapInput",
      "true (classificationHead 'mapMax' has no head that could do without the map)",
      mapInput,
    );
  return {
    layers: layers.map((layer: unknown) => checkChoice(where, "layers", layer, ["layer1", "layer2", "layer3"])),
    imageSize: [side(imageSize[0]), side(imageSize[1])],
    resize: checkChoice(where, "resize", resize, ["bilinear", "antialias"]),
    variant: checkChoice(where, "variant", variant, ["jims", "icpr"]),
    alignCorners: checkBoolean(where, "alignCorners", alignCorners),
    upscale: checkBoolean(where, "upscale", upscale),
    classificationHead: checkChoice(where, "classificationHead", classificationHead, ["standard", "complex", "mapMax"]),
    mapInput: checkBoolean(where, "mapInput", mapInput),
  };
}

/** A configuration from outside: of a file, or of a program that made the model itself. Throws INVALID_OPTION for the first field that is wrong. */
export function checkConfig(where: string, config: unknown): asserts config is ModelConfig {
  const root = fields(where, "config", config);
  const backbone = fields(where, "backbone", root["backbone"]);
  checkChoice(where, "backbone.architecture", backbone["architecture"], architectures);
  checkBoolean(where, "backbone.trained", backbone["trained"]);
  if (typeof backbone["source"] !== "string")
    throw invalid(where, "backbone.source", "a file's name", backbone["source"]);
  if (!/^[0-9a-f]{64}$/.test(String(backbone["sha256"])))
    throw invalid(where, "backbone.sha256", "64 hexadecimal digits", backbone["sha256"]);
  checkNetworkSettings(where, root as { [Name in keyof NetworkSettings]?: unknown });
  const thresholds = fields(where, "thresholds", root["thresholds"]);
  for (const name of ["scoreLogit", "pixelLogit"]) checkNumber(where, `thresholds.${name}`, thresholds[name]);
  for (const name of ["scoreMethod", "pixelMethod"])
    checkChoice(where, `thresholds.${name}`, thresholds[name], thresholdMethods);
  for (const name of ["calibrationNormal", "calibrationAnomalous"])
    checkNumber(where, `thresholds.${name}`, thresholds[name], { min: 0, integer: true });
  if (root["training"] !== null) fields(where, "training", root["training"]);
}

function fields(where: string, name: string, value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(where, name, "an object", value);
  return value as Record<string, unknown>;
}

/** For a model whose random backbone would be in no file at all. */
export function randomNotEmbedded(where: string): SuperSimpleNetError {
  return new SuperSimpleNetError(
    "INVALID_OPTION",
    `${where}: a model on a random backbone must hold it, because no file has it. Leave embedBackbone away, or give trained weights.`,
  );
}
