import { fileError, SuperSimpleNetError } from "../errors.js";
import { loadBackbone } from "../backbones/load.js";
import { tensorsSha256 } from "../backbones/check.js";
import type { NetworkConfig, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { checkNumber, rejectUnknown } from "../options.js";
import { type ModelConfig, modelFormatVersion } from "./config.js";

const formatName = "supersimplenet";
const backbonePrefix = "backbone.";

export interface SaveOptions {
  /** Store the backbone in the file. Default: as the model was trained or loaded. */
  embedBackbone?: boolean;
}

/** A trained SuperSimpleNet: configuration, heads and, if embedded or just trained, the backbone's tensors. docs/model-file.md. */
export class Model {
  readonly config: ModelConfig;
  /** Tensors of adaptor and heads by the authors' names. */
  readonly heads: TensorMap;
  #backbone: TensorMap | undefined;
  #embedded: boolean;

  constructor(config: ModelConfig, heads: TensorMap, backbone?: { tensors: TensorMap; embedded: boolean }) {
    this.config = config;
    this.heads = heads;
    this.#backbone = backbone?.tensors;
    this.#embedded = backbone?.embedded ?? false;
  }

  /** Whether `save` stores the backbone by default. */
  get embedsBackbone(): boolean {
    return this.#embedded;
  }

  get networkConfig(): NetworkConfig {
    const { backbone, layers, imageSize, variant, alignCorners } = this.config;
    return { architecture: backbone.architecture, layers, imageHeight: imageSize[0], imageWidth: imageSize[1], variant, alignCorners };
  }

  /**
   * Reads a model file. Throws FILE_NOT_FOUND, NO_PERMISSION, FILE_CORRUPT, MODEL_INVALID (not a model, damaged
   * configuration, missing or non-finite tensors), MODEL_TOO_NEW.
   */
  static async load(path: string): Promise<Model> {
    const { tensors, metadata, format } = await engine().readTensors(path);
    const fail = (reason: string, cause?: unknown): never => {
      throw new SuperSimpleNetError("MODEL_INVALID", `${path} is not a usable model file: ${reason}`, { path, cause });
    };
    if (format !== "safetensors" || metadata["format"] !== formatName) {
      fail("it was not written by supersimplenet. PyTorch checkpoints are read by 'supersimplenet convert'.");
    }
    const version = Number(metadata["format_version"]);
    if (!Number.isInteger(version) || version < 1) fail(`its format version is '${metadata["format_version"]}'.`);
    if (version > modelFormatVersion) {
      throw new SuperSimpleNetError("MODEL_TOO_NEW", `${path} has model format ${version}; this version of supersimplenet reads up to ${modelFormatVersion}. Upgrade supersimplenet.`, { path });
    }
    let config: ModelConfig | undefined;
    try {
      config = JSON.parse(metadata["config"] ?? "") as ModelConfig;
    } catch (error) {
      fail("its configuration is not JSON.", error);
    }
    const missing = missingFields(config);
    if (missing.length > 0) fail(`its configuration has no usable ${missing.join(", ")}.`);
    const heads: TensorMap = {};
    const backbone: TensorMap = {};
    for (const [name, tensor] of Object.entries(tensors)) {
      if (tensor.dtype !== "float32") fail(`tensor '${name}' is ${tensor.dtype} instead of float32.`);
      if (!(tensor.data as Float32Array).every(Number.isFinite)) fail(`tensor '${name}' contains NaN or infinity.`);
      if (name.startsWith(backbonePrefix)) backbone[name.slice(backbonePrefix.length)] = tensor;
      else heads[name] = tensor;
    }
    const embedded = Object.keys(backbone).length > 0;
    const model = new Model(config!, heads, embedded ? { tensors: backbone, embedded } : undefined);
    await model.#check(fail);
    return model;
  }

  /** Shapes against the configuration, and the embedded backbone against its checksum. */
  async #check(fail: (reason: string, cause?: unknown) => never): Promise<void> {
    let channels = 0;
    try {
      channels = engine().featureShape(this.networkConfig).channels;
    } catch (error) {
      fail(error instanceof Error ? error.message : String(error), error);
    }
    const expected = await engine().randomHeads(channels, 0);
    const wrong = Object.entries(expected).filter(([name, tensor]) => this.heads[name]?.shape.join("x") !== tensor.shape.join("x"));
    if (wrong.length > 0) fail(`tensor '${wrong[0]![0]}'${wrong.length > 1 ? ` and ${wrong.length - 1} more are` : " is"} missing or misshapen.`);
    if (this.#backbone && (await tensorsSha256(this.#backbone)) !== this.config.backbone.sha256) fail("its embedded backbone is not the one it was trained with.");
  }

  /**
   * The backbone's tensors: embedded, or from `weights` (a file, or "auto" for the cache folder). Throws WEIGHTS_MISSING,
   * and CHECKSUM_MISMATCH for other weights than the model was trained with.
   */
  async backbone(weights = "auto", signal?: AbortSignal): Promise<TensorMap> {
    if (this.#backbone) return this.#backbone;
    const { architecture, sha256, source } = this.config.backbone;
    const loaded = await loadBackbone({ architecture, weights, signal });
    if (loaded.sha256 !== sha256) {
      throw new SuperSimpleNetError(
        "CHECKSUM_MISMATCH",
        `The model was trained on ${architecture} with the weights of '${source}', but '${loaded.source}' holds others. Give the original file with --backbone-weights (option backboneWeights).`,
      );
    }
    return (this.#backbone = loaded.tensors);
  }

  /** Writes one .safetensors file, first to a temporary name. Throws NO_SPACE, NO_PERMISSION, FILE_NOT_FOUND (no such folder). */
  async save(path: string, options: SaveOptions = {}): Promise<void> {
    rejectUnknown(options, ["embedBackbone"], "model.save");
    const tensors: TensorMap = { ...this.heads };
    if (options.embedBackbone ?? this.#embedded) {
      for (const [name, tensor] of Object.entries(await this.backbone())) tensors[backbonePrefix + name] = tensor;
    }
    try {
      await engine().writeTensors(path, tensors, { format: formatName, format_version: String(modelFormatVersion), config: JSON.stringify(this.config) });
    } catch (error) {
      throw fileError(error, "write model", path);
    }
  }

  /** Sets thresholds by hand; `save` keeps them. `score` is between 0 and 1, exclusive; `pixelLogit` any finite number. */
  setThresholds(thresholds: { score?: number; pixelLogit?: number }): void {
    rejectUnknown(thresholds, ["score", "pixelLogit"], "model.setThresholds");
    const { score, pixelLogit } = thresholds;
    if (score !== undefined) checkNumber("model.setThresholds", "score", score, { above: 0, max: 1 - Number.EPSILON });
    if (pixelLogit !== undefined) checkNumber("model.setThresholds", "pixelLogit", pixelLogit);
    if (score !== undefined) {
      Object.assign(this.config.thresholds, { scoreLogit: Math.log(score / (1 - score)), scoreMethod: "manual" });
    }
    if (pixelLogit !== undefined) {
      Object.assign(this.config.thresholds, { pixelLogit, pixelMethod: "manual" });
    }
  }
}

/** Dotted names of what a configuration must have and has not. */
function missingFields(config: unknown): string[] {
  const has: Record<string, (value: unknown) => boolean> = {
    "backbone.architecture": (v) => typeof v === "string",
    "backbone.trained": (v) => typeof v === "boolean",
    "backbone.source": (v) => typeof v === "string",
    "backbone.sha256": (v) => typeof v === "string",
    layers: (v) => Array.isArray(v) && v.length > 0 && v.every((layer) => typeof layer === "string") && new Set(v).size === v.length,
    imageSize: (v) => Array.isArray(v) && v.length === 2 && v.every((n) => Number.isInteger(n) && n >= 32 && n <= 8192),
    resize: (v) => v === "bilinear" || v === "antialias",
    variant: (v) => v === "jims" || v === "icpr",
    alignCorners: (v) => typeof v === "boolean",
    "thresholds.scoreLogit": Number.isFinite,
    "thresholds.pixelLogit": Number.isFinite,
  };
  const get = (name: string) => name.split(".").reduce<unknown>((value, key) => (value as Record<string, unknown> | null | undefined)?.[key], config);
  return Object.keys(has).filter((name) => !has[name]!(get(name)));
}
