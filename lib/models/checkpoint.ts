import path from "node:path";

import { architectures } from "../backbones/catalogue.js";
import { backboneFrom, tensorsSha256 } from "../backbones/check.js";
import { loadBackbone } from "../backbones/load.js";
import { defaultThresholds } from "../detection/thresholds.js";
import { SuperSimpleNetError } from "../errors.js";
import type { Architecture, ResizeMethod, TensorMap, Variant } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { checkChoice, checkPath, rejectUnknown } from "../options.js";
import { packageVersion } from "../version.js";
import { type CheckpointLayout, convertCheckpoint } from "./convert.js";
import { type BackboneInfo, checkNetworkSettings, networkConfigOf } from "./config.js";
import { Model } from "./model.js";

export interface ModelFromCheckpointOptions {
  /** PyTorch (.pth, .pt, .ckpt) or .safetensors file of the authors' code or of anomalib. */
  checkpoint: string;
  backbone: Architecture;
  /**
   * The backbone's weights: a file, or "auto" for the cache folder. Default: those in the checkpoint, if it holds them
   * (anomalib's do), else "auto".
   */
  backboneWeights?: string;
  /** Height, width: what the network was trained at. */
  imageSize: readonly [number, number];
  /** Default "auto": by the names of the tensors. */
  layout?: "auto" | CheckpointLayout;
  /** Default "jims". */
  variant?: Variant;
  /** Default true for the authors' layout, false for anomalib's. */
  alignCorners?: boolean;
  /** Default "bilinear" for the authors' layout, "antialias" for anomalib's. */
  resize?: ResizeMethod;
  /** Default ["layer2", "layer3"]. */
  layers?: readonly string[];
}

/**
 * A PyTorch checkpoint as a model (docs/method.md, Checkpoints and file formats). Its thresholds are not calibrated: score 0.5, map logit 0. Throws
 * INVALID_OPTION before anything is read, WEIGHTS_INVALID with every problem, CHECKSUM_MISMATCH when the checkpoint holds another backbone than `backboneWeights`,
 * and what convertCheckpoint and loadBackbone throw.
 */
export async function modelFromCheckpoint(
  options: ModelFromCheckpointOptions,
): Promise<{ model: Model; layout: CheckpointLayout }> {
  const where = "modelFromCheckpoint";
  rejectUnknown(
    options,
    ["checkpoint", "backbone", "backboneWeights", "imageSize", "layout", "variant", "alignCorners", "resize", "layers"],
    where,
  );
  checkPath(where, "checkpoint", options.checkpoint);
  const architecture = checkChoice(where, "backbone", options.backbone, architectures);
  // Both of the last two depend on the file when they are not given.
  const {
    resize = "bilinear",
    alignCorners = true,
    layers = ["layer2", "layer3"],
    variant = "jims",
    imageSize,
  } = options;
  const settings = checkNetworkSettings(where, { layers, imageSize, resize, variant, alignCorners });
  const { channels } = engine().featureShape(networkConfigOf(architecture, settings));
  const converted = await convertCheckpoint({ path: options.checkpoint, layout: options.layout, channels });
  const { layout } = converted;
  const backbone = await chooseBackbone(options, converted.backbone);
  const model = new Model(
    {
      ...settings,
      backbone: backbone.info,
      resize: options.resize ?? (layout === "anomalib" ? "antialias" : "bilinear"),
      alignCorners: options.alignCorners ?? layout === "authors",
      thresholds: { ...defaultThresholds },
      training: null,
      createdBy: `supersimplenet ${packageVersion}`,
    },
    converted.heads,
    // As in training: what lies in the cache folder every machine can have, anything else goes into the file.
    { tensors: backbone.tensors, embedded: !backbone.cached },
  );
  return { model, layout };
}

async function chooseBackbone(
  { checkpoint, backbone: architecture, backboneWeights }: ModelFromCheckpointOptions,
  own: { architecture: Architecture; tensors: TensorMap } | undefined,
): Promise<{ info: BackboneInfo; tensors: TensorMap; cached: boolean }> {
  const tensors = own && backboneFrom(own.tensors, architecture, checkpoint);
  const sha256 = tensors && (await tensorsSha256(tensors));
  if (tensors && sha256 && backboneWeights === undefined) {
    return { info: { architecture, trained: true, source: path.basename(checkpoint), sha256 }, tensors, cached: false };
  }
  const loaded = await loadBackbone({ architecture, weights: backboneWeights ?? "auto" });
  if (sha256 !== undefined && loaded.sha256 !== sha256) {
    throw new SuperSimpleNetError(
      "CHECKSUM_MISMATCH",
      `${checkpoint} holds its own ${architecture}, and '${loaded.source}' is another one. Leave --backbone-weights away to use the checkpoint's.`,
      { path: checkpoint },
    );
  }
  const { trained, source } = loaded;
  return {
    info: { architecture, trained, source, sha256: loaded.sha256 },
    tensors: loaded.tensors,
    cached: (backboneWeights ?? "auto") === "auto",
  };
}
