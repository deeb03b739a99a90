import path from "node:path";

import { backboneFrom, tensorsSha256 } from "../backbones/check.js";
import { loadBackbone } from "../backbones/load.js";
import { option, SuperSimpleNetError, text } from "../errors.js";
import type { Architecture, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { check } from "../schema/check.js";
import { type ModelFromCheckpointOptions, modelFromCheckpointOptions } from "../schema/models.js";
import { trainerDefaults } from "../schema/training.js";
import { packageVersion } from "../native/locate.js";
import { type CheckpointLayout, convertCheckpoint } from "./convert.js";
import { type BackboneInfo, checkNetworkSettings, defaultThresholds, networkConfigOf } from "./config.js";
import { Model } from "./model.js";

/**
 * A PyTorch checkpoint as a model (docs/method.md, Checkpoints and file formats). Its thresholds are not calibrated: score 0.5, map logit 0. Throws
 * INVALID_OPTION before anything is read, WEIGHTS_INVALID with every problem, CHECKSUM_MISMATCH when the checkpoint holds another backbone than `backboneWeights`,
 * and what convertCheckpoint and loadBackbone throw.
 */
export async function modelFromCheckpoint(
  options: ModelFromCheckpointOptions,
): Promise<{ model: Model; layout: CheckpointLayout }> {
  const where = "modelFromCheckpoint";
  const { checkpoint, backbone: architecture, ...asked } = check(where, modelFromCheckpointOptions, options);
  const { layers, imageSize, variant, resize, alignCorners } = { ...trainerDefaults.network, ...asked };
  const settings = checkNetworkSettings(where, { layers, imageSize, resize, variant, alignCorners });
  const { channels } = engine().featureShape(networkConfigOf(architecture, settings));
  const converted = await convertCheckpoint({ path: checkpoint, layout: asked.layout, channels });
  const { layout } = converted;
  const backbone = await backboneOfCheckpoint(options, converted.backbone);
  const model = new Model(
    {
      ...settings,
      backbone: backbone.info,
      resize: asked.resize ?? (layout === "anomalib" ? "antialias" : "bilinear"),
      alignCorners: asked.alignCorners ?? layout === "authors",
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

async function backboneOfCheckpoint(
  { checkpoint, backbone: architecture, backboneWeights }: ModelFromCheckpointOptions,
  own: { architecture: Architecture; tensors: TensorMap } | undefined,
): Promise<{ info: BackboneInfo; tensors: TensorMap; cached: boolean }> {
  const tensors = own && (await backboneFrom(own.tensors, architecture, checkpoint));
  const sha256 = tensors && (await tensorsSha256(tensors));
  if (tensors && sha256 && backboneWeights === undefined) {
    return { info: { architecture, trained: true, source: path.basename(checkpoint), sha256 }, tensors, cached: false };
  }
  const loaded = await loadBackbone({ architecture, weights: backboneWeights ?? "auto" });
  if (sha256 !== undefined && loaded.sha256 !== sha256) {
    throw new SuperSimpleNetError(
      "CHECKSUM_MISMATCH",
      `${checkpoint} holds its own ${architecture}, and '${loaded.source}' is another one.`,
      { path: checkpoint, fix: text`Leave out ${option("backboneWeights")} to use the checkpoint's.` },
    );
  }
  const { trained, source } = loaded;
  return {
    info: { architecture, trained, source, sha256: loaded.sha256 },
    tensors: loaded.tensors,
    cached: ["auto", "distilled"].includes(backboneWeights ?? "auto"),
  };
}
