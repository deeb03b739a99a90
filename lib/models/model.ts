import { resolve } from "node:path";
import { types } from "node:util";

import type { ExportOptions, OnnxExport } from "../export/export.js";
import type { CalibrateOptions, CalibrationParts } from "../calibration/recalibrate.js";
import { call, command, type ErrorDetails, fileError, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import { fileIdentity } from "../checksum.js";
import { packaged } from "../backbones/catalogue.js";
import { openBackbone } from "../backbones/load.js";
import { firstProblems, pickTensors, tensorsSha256 } from "../backbones/check.js";
import { readTensors, writeTensors } from "../files/tensors.js";
import { fullDepth } from "../schema/common.js";
import type { NetworkConfig, TensorMap } from "../native/binding.js";
import { engine, openEngine } from "../native/engine.js";
import { check, checkPath } from "../schema/check.js";
import { atOnce, inTurns, type Steps, unheeded } from "../turns.js";
import { type SaveOptions, saveOptions, type ThresholdOptions, thresholdOptions } from "../schema/models.js";
import {
  checkConfig,
  checkThresholds,
  type ModelConfig,
  modelFormatVersion,
  networkConfigOf,
  randomNotEmbedded,
  refuseWithoutMap,
  type Thresholds,
  thresholdsOf,
} from "./config.js";

const formatName = "supersimplenet";
const backbonePrefix = "backbone.";

/**
 * Lets go of a backbone that can be read again from the model's file, when that is needed: a detector has its own copy, laid
 * out for its work.
 */
export let releaseBackbone: (model: Model) => void;

/** The file that a model was read from, or written to. Undefined: none, or its configuration was changed since. */
export let sourceOf: (model: Model) => ModelSource | undefined;

export interface ModelSource {
  file: string;
  /** Then: fileIdentity. */
  identity: string;
}

/** model.check in several turns of the event loop. */
export let checkInTurns: (model: Model, where: string) => Promise<void>;

/** What is read and checked, but for a checksum that takes as long as the rest: nothing may come of it before `verified`. */
interface Unverified<T> {
  value: T;
  verified: Promise<void>;
}

/** Model.load, for who has work to do meanwhile. `device`: for openEngine. */
export let openModel: (path: string, device?: string) => Promise<Unverified<Model>>;

/** model.backbone, likewise. */
export let openBackboneOf: (model: Model, weights: string, signal?: AbortSignal) => Promise<Unverified<TensorMap>>;

/** A trained SuperSimpleNet: configuration, heads and, if embedded or just trained, the backbone's tensors. docs/reference/model-file.md. */
export class Model {
  readonly config: ModelConfig;
  /** Tensors of adaptor and heads by the authors' names. */
  readonly heads: TensorMap;
  #backbone: TensorMap | undefined;
  #embedded: boolean;
  /** The file with the backbone, for one that releaseBackbone let go of. */
  #file: string | undefined;
  #source: (ModelSource & { config: string }) | undefined;

  static {
    sourceOf = (model) => (model.#source?.config === JSON.stringify(model.config) ? model.#source : undefined);
    releaseBackbone = (model) => {
      if (model.#file !== undefined) model.#backbone = undefined;
    };
    openModel = (path, device) => Model.#open(path, device);
    checkInTurns = (model, where) => model.#checkInTurns(where);
    openBackboneOf = (model, weights, signal) => model.#openBackbone(weights, signal);
  }

  /** Makes a model of its parts. Without `backbone` the weights are found when they are needed. */
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

  /** The network as the engine takes it. */
  get networkConfig(): NetworkConfig {
    return networkConfigOf(this.config.backbone.architecture, this.config);
  }

  /**
   * Reads a model file. Throws FILE_NOT_FOUND, NO_PERMISSION, FILE_CORRUPT, MODEL_INVALID (not a model, damaged
   * configuration, missing or non-finite tensors), MODEL_TOO_NEW.
   */
  static async load(path: string): Promise<Model> {
    const { value, verified } = await Model.#open(path);
    await verified;
    return value;
  }

  static async #open(path: string, device?: string): Promise<Unverified<Model>> {
    checkPath("Model.load", "path", path);
    let sha256: Promise<string> | undefined;
    const identity = await fileIdentity(path).catch(() => undefined); // reading it says why
    const { tensors, metadata, format } = await readTensors(
      path,
      undefined,
      (read) => {
        sha256 = unheeded(tensorsSha256(backboneIn(read)));
      },
      device,
    );
    await openEngine(device);
    const fail: Fail = (reason, { cause, fix } = {}) => {
      const what = `${path} is not a usable model file: ${reason}`;
      throw new SuperSimpleNetError("MODEL_INVALID", what, { path, cause, fix });
    };
    if (format !== "safetensors" || metadata["format"] !== formatName) {
      fail("it was not written by supersimplenet.", {
        fix: text`PyTorch checkpoints are read by ${command("convert")}.`,
      });
    }
    const version = Number(metadata["format_version"]);
    if (!Number.isInteger(version) || version < 1) fail(`its format version is '${metadata["format_version"]}'.`);
    if (version > modelFormatVersion) {
      throw new SuperSimpleNetError(
        "MODEL_TOO_NEW",
        `${path} has model format ${version}; this version of supersimplenet reads up to ${modelFormatVersion}.`,
        {
          path,
          fix: "Upgrade it: 'npm install supersimplenet@latest', or in a checkout 'git pull' and 'npm run build'.",
        },
      );
    }
    const config = configOf(metadata["config"], version, fail);
    const backbone = backboneIn(tensors);
    const heads = Object.fromEntries(Object.entries(tensors).filter(([name]) => !name.startsWith(backbonePrefix)));
    const embedded = Object.keys(backbone).length > 0;
    const model = new Model(config, heads, embedded ? { tensors: backbone, embedded } : undefined);
    const problems = await inTurns(model.#problems());
    if (problems.length > 0) fail(firstProblems(problems));
    const file = resolve(path);
    if (embedded) model.#file = file;
    model.#comesFrom(file, identity);
    const verify = async (): Promise<void> => {
      if (embedded && (await sha256) !== config.backbone.sha256)
        fail("its embedded backbone is not the one it was trained with.");
    };
    return { value: model, verified: unheeded(verify()) };
  }

  #comesFrom(file: string, identity: string | undefined): void {
    this.#source = identity === undefined ? undefined : { file, identity, config: JSON.stringify(this.config) };
  }

  /**
   * What Model.load makes sure of, for a model that a program put together. Throws INVALID_OPTION for the configuration,
   * MODEL_INVALID for tensors that are missing, misshapen, not float32 or not finite.
   */
  check(where = "model.check"): void {
    checkConfig(where, this.config);
    refuseProblems(where, atOnce(this.#problems()));
  }

  /** The same in several turns of the event loop. */
  async #checkInTurns(where: string): Promise<void> {
    checkConfig(where, this.config);
    refuseProblems(where, await inTurns(this.#problems()));
  }

  /** The tensors against the configuration, which must have been checked. */
  *#problems(): Steps<string[]> {
    const network = this.networkConfig;
    const heads = engine().headTensors(engine().featureShape(network).channels, network);
    const problems = yield* tensorProblems(this.heads, heads);
    if (!this.#backbone) return problems;
    const backbone = engine().backboneTensors(this.config.backbone.architecture);
    const more = yield* tensorProblems(this.#backbone, backbone);
    return [...problems, ...more.map((problem) => backbonePrefix + problem)];
  }

  /**
   * The backbone's tensors: embedded, or from `weights` (a file, or "auto" for the package or the cache folder). Throws WEIGHTS_MISSING,
   * and CHECKSUM_MISMATCH for other weights than the model was trained with.
   */
  async backbone(weights = "auto", signal?: AbortSignal): Promise<TensorMap> {
    const { value, verified } = await this.#openBackbone(weights, signal);
    await verified;
    return value;
  }

  async #openBackbone(weights: string, signal: AbortSignal | undefined): Promise<Unverified<TensorMap>> {
    checkPath("model.backbone", "weights", weights);
    if (this.#backbone) return { value: this.#backbone, verified: Promise.resolve() };
    if (this.#file !== undefined) {
      const again = await Model.load(this.#file);
      if (again.config.backbone.sha256 === this.config.backbone.sha256)
        return { value: (this.#backbone = again.#backbone!), verified: Promise.resolve() };
      throw new SuperSimpleNetError(
        "CHECKSUM_MISMATCH",
        `The backbone of the model was read from ${this.#file}, which holds another model by now. Load that one again.`,
        { path: this.#file },
      );
    }
    const { architecture, sha256, source } = this.config.backbone;
    const own = weights === "auto" && sha256 === packaged.tensorsSha256;
    const opened = await openBackbone({ architecture, weights: own ? "distilled" : weights, signal });
    const verify = async (): Promise<void> => {
      if ((await opened.sha256) === sha256) {
        this.#backbone = opened.tensors;
        return;
      }
      throw new SuperSimpleNetError(
        "CHECKSUM_MISMATCH",
        `The model was trained on ${architecture} with the weights of '${source}', but '${opened.source}' holds others.`,
        { option: "backboneWeights", fix: text`Give the original file with ${option("backboneWeights")}.` },
      );
    };
    return { value: opened.tensors, verified: unheeded(verify()) };
  }

  /**
   * Writes one .safetensors file, first to a temporary name. Throws NO_SPACE, NO_PERMISSION, FILE_NOT_FOUND (no such folder),
   * INVALID_OPTION (also for a random backbone that is not embedded: no file has it), and what `check` throws.
   */
  async save(path: string, options: SaveOptions = {}): Promise<void> {
    checkPath("model.save", "path", path);
    const { embedBackbone: embed = this.#embedded } = check("model.save", saveOptions, options);
    await this.#checkInTurns("model.save");
    if (!embed && !this.config.backbone.trained) throw randomNotEmbedded("model.save", "embedBackbone");
    const tensors: TensorMap = { ...this.heads };
    if (embed) {
      for (const [name, tensor] of Object.entries(await this.backbone())) tensors[backbonePrefix + name] = tensor;
    }
    try {
      await writeTensors(path, tensors, {
        format: formatName,
        format_version: String(modelFormatVersion),
        config: JSON.stringify(this.config),
      });
    } catch (error) {
      throw fileError(error, "write model", path);
    }
    this.#comesFrom(resolve(path), await fileIdentity(path).catch(() => undefined));
  }

  /**
   * Writes the network as an ONNX file, first to a temporary name (docs/guides/export.md). Where onnxruntime-node is
   * installed, its results on generated images must be the engine's, or there is no file; else the file and the result say
   * that nobody has compared them.
   *
   * Errors: INVALID_OPTION, EXPORT_DIFFERS, ONNXRUNTIME_UNUSABLE (another major version), NO_SPACE, NO_PERMISSION,
   * FILE_NOT_FOUND (no such folder), ABORTED, those of model.check and model.backbone.
   */
  async exportOnnx(path: string, options: ExportOptions = {}): Promise<OnnxExport> {
    const { exportOnnx } = await import("../export/export.js");
    return exportOnnx(this, path, options);
  }

  /**
   * Sets new thresholds from parts that were seen after the training, in a minute and without training; `save` keeps them.
   * The rate, the decision and the miss rate stay as they are unless others are given, and so does a pixel threshold that
   * was found on masks. Resolves to the thresholds, whose `calibration` says what is known of them.
   *
   * Errors: DATASET_INVALID (fewer than 4 good parts, training images among them, all with one score, an image that is good
   * and bad), SCORES_CHANGED (the good parts score otherwise than those before), INVALID_OPTION, ABORTED, those of
   * Detector.load and Detector.detect. The old thresholds stay then.
   */
  async calibrate(parts: CalibrationParts, options: CalibrateOptions = {}): Promise<Thresholds> {
    // It detects, and so stands on models.
    const { thresholdsFromParts } = await import("../calibration/recalibrate.js");
    return (this.config.thresholds = await thresholdsFromParts(this, parts, options));
  }

  /** Puts back the thresholds before the last `calibrate`. Throws INVALID_OPTION where there are none. */
  undoCalibration(): void {
    const where = "model.undoCalibration";
    const previous = this.config.thresholds.calibration?.previous ?? null;
    if (previous === null)
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        text`${call(where)}: there is nothing to undo: the thresholds were not set by ${command("calibrate")}, or were put back already. One step is kept.`,
      );
    checkThresholds(where, previous);
    this.config.thresholds = previous;
  }

  /**
   * Sets thresholds by hand; `save` keeps them. `score` is between 0 and 1, exclusive; `mapLogit` and `pixelLogit` are any
   * finite numbers.
   */
  setThresholds(thresholds: ThresholdOptions): void {
    const where = "model.setThresholds";
    const { decision, score, scoreLogit, mapLogit, pixelLogit } = check(where, thresholdOptions, thresholds);
    if (score !== undefined && scoreLogit !== undefined)
      throw invalid(where, "scoreLogit", "none beside score", scoreLogit);
    if (decision !== undefined && mapLogit === undefined) refuseWithoutMap(where, this.config.thresholds, decision);
    Object.assign(this.config.thresholds, {
      ...(decision !== undefined && thresholdsOf(this.config.thresholds, decision)),
      ...(score !== undefined && { scoreLogit: Math.log(score / (1 - score)), scoreMethod: "manual" }),
      ...(scoreLogit !== undefined && { scoreLogit, scoreMethod: "manual" }),
      ...(mapLogit !== undefined && { mapLogit, mapMethod: "manual" }),
      ...(pixelLogit !== undefined && { pixelLogit, pixelMethod: "manual" }),
    });
  }
}

/** The backbone's tensors of a model file, by its own names. */
const backboneIn = (tensors: TensorMap): TensorMap =>
  Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(backbonePrefix))
      .map(([name, tensor]) => [name.slice(backbonePrefix.length), tensor]),
  );

function refuseProblems(where: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  const message = `${where}: the model is not usable: ${firstProblems(problems)}`;
  throw new SuperSimpleNetError("MODEL_INVALID", message, { problems });
}

type Fail = (reason: string, details?: Pick<ErrorDetails, "cause" | "fix">) => never;

function configOf(json: string | undefined, version: number, fail: Fail): ModelConfig {
  let config: unknown;
  try {
    config = JSON.parse(json ?? "");
    if (version < modelFormatVersion) config = fromOlder(config, version);
  } catch (error) {
    return fail("its configuration is not JSON.", { cause: error });
  }
  try {
    checkConfig("its configuration", config);
  } catch (error) {
    return fail((error as Error).message, { cause: error });
  }
  return config;
}

/**
 * Fills in what older formats lack; their thresholds hold as they are. Before format 5 there were no views (their default is
 * the whole image, stretched); before format 4 all images were read with 16 bits;
 * before format 3 the score alone decided. Format 1 does not say how well its thresholds are known.
 */
function fromOlder(config: unknown, version: number): unknown {
  if (typeof config !== "object" || config === null) return config;
  const read = { bitDepth: fullDepth, ...config };
  return version < 3 ? withMapThresholds(read, version) : read;
}

function withMapThresholds(config: object, version: number): unknown {
  const { thresholds, ...others } = config as { thresholds?: { calibration?: object | null } };
  if (typeof thresholds !== "object" || thresholds === null) return config;
  const calibration = version === 1 ? null : calibrationFromFormat2(thresholds.calibration);
  const lacking = { decision: "score", mapLogit: 0, mapMethod: "default", unsure: null } satisfies Partial<Thresholds>;
  return { ...others, thresholds: { ...lacking, ...thresholds, calibration } };
}

function calibrationFromFormat2(calibration: object | null | undefined): unknown {
  if (typeof calibration !== "object" || calibration === null) return calibration;
  const { rate, f1, ...same } = calibration as Record<"rate" | "f1", Record<string, unknown> | null>;
  const point = (old: Record<string, unknown> | null): unknown => {
    if (typeof old !== "object" || old === null) return old;
    const { scoreLogit: logit, method, ...known } = old;
    return { score: { logit, method }, map: null, ...known };
  };
  const none = { rate: null, f1: null };
  const points = { score: { rate: point(rate), f1: point(f1) }, map: none, either: none };
  return { ...same, points, good: null, parts: null, previous: null };
}

/** What keeps `tensors` from being float32 tensors of these names and shapes, finite and with no negative variance. */
function* tensorProblems(tensors: TensorMap, wanted: Record<string, number[]>): Steps<string[]> {
  if (typeof tensors !== "object" || tensors === null) return ["there are no tensors"];
  const problems: string[] = [];
  for (const name of Object.keys(wanted)) {
    const tensor = tensors[name];
    if (tensor && !(tensor.dtype === "float32" && types.isFloat32Array(tensor.data)))
      problems.push(`${name} is ${tensor.dtype} instead of float32`);
    else if (tensor && tensor.data.length !== tensor.shape.reduce((a, b) => a * b, 1))
      problems.push(`${name} has ${tensor.data.length} values, which do not fill its shape`);
  }
  if (problems.length === 0) yield* pickTensors(tensors, wanted, (name) => name, problems);
  return problems;
}
