import { randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";

import { fileIdentity } from "../checksum.js";
import { Detector } from "../detection/detector.js";
import { fileError, SuperSimpleNetError } from "../errors.js";
import { describeModel } from "../models/describe.js";
import { modelFileSha256 } from "../models/identity.js";
import type { DetectorOptions } from "../schema/detection.js";
import { modelName } from "../schema/server.js";
import { putInPlace } from "../write.js";
import { answerTo, type ErrorAnswer, HttpError } from "./errors.js";

/** What is told of a model. */
export interface ModelCard {
  name: string;
  /** "unloaded": taken out of service until it is loaded again; "failed": its file was not loaded yet, as `failure` says. */
  state: "ready" | "unloaded" | "failed";
  /** SHA-256 of the model file. Null while it is not loaded. */
  checksum: string | null;
  /** ISO 8601, UTC. */
  loadedAt: string | null;
  device: string | null;
  /** Configuration and thresholds, with how they were found. */
  model: Record<string, unknown> | null;
  drift: Record<string, unknown> | null;
  /** Why the file that lies there now was not loaded; the one before, if any, goes on serving. Null: nothing is wrong. */
  failure: (ErrorAnswer & { time: string }) | null;
}

/** A model in memory. Its detector lives until it is replaced and nobody uses it any more. */
export interface Loaded {
  readonly name: string;
  readonly detector: Detector;
  readonly checksum: string;
  readonly loadedAt: Date;
}

class Usage implements Loaded {
  users = 0;
  retired = false;

  constructor(
    readonly name: string,
    readonly detector: Detector,
    readonly checksum: string,
    readonly loadedAt: Date,
  ) {}

  leave(): void {
    this.users--;
    this.#end();
  }

  retire(): void {
    this.retired = true;
    this.#end();
  }

  #end(): void {
    if (this.retired && this.users === 0) this.detector.dispose();
  }
}

interface Served {
  readonly name: string;
  readonly file: string;
  loaded: Usage | undefined;
  /** Taken out of service by a request. */
  unloaded: boolean;
  /** The file that was looked at last, loaded or not. */
  seen: string;
  failure: ModelCard["failure"];
}

/** What happens to models, for the log and the metrics. */
export interface ModelEvents {
  onLoad(loaded: Loaded, milliseconds: number): void;
  onFailure(name: string, error: unknown): void;
}

/** Tells a file from the one that takes its place. */
const identityOf = (file: string): Promise<string> =>
  fileIdentity(file).catch((error: unknown) => Promise.reject(fileError(error, "read model", file)));

/** The models that a server has, by name. */
export class Models {
  readonly #served = new Map<string, Served>();
  readonly #folder: string | undefined;
  readonly #options: DetectorOptions;
  readonly #events: ModelEvents;
  /** Loading is done one after another: each takes memory and the engine. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(folder: string | undefined, options: DetectorOptions, events: ModelEvents) {
    this.#folder = folder;
    this.#options = options;
    this.#events = events;
  }

  /**
   * Loads the models that are named and those of the folder. One of the folder that cannot be loaded is told, and does not
   * keep the others from serving. Errors: those of Detector.load for the named ones, and of the folder.
   */
  static async open(
    files: Readonly<Record<string, string>>,
    folder: string | undefined,
    options: DetectorOptions,
    events: ModelEvents,
  ): Promise<Models> {
    const models = new Models(folder === undefined ? undefined : path.resolve(folder), options, events);
    try {
      for (const [name, file] of Object.entries(files)) await models.#load(models.#add(name, path.resolve(file)));
      for (const name of await modelsIn(models.#folder))
        if (!models.#served.has(name)) await models.#tryToLoad(models.#add(name, models.#fileOf(name)));
      return models;
    } catch (error) {
      models.close();
      throw error;
    }
  }

  get names(): string[] {
    return [...this.#served.keys()].sort();
  }

  /** Whether a model serves, or none should. One that fails does not take the others out of service. */
  get ready(): boolean {
    const wanted = [...this.#served.values()].filter(({ unloaded }) => !unloaded);
    return wanted.length === 0 || wanted.some(({ loaded }) => loaded);
  }

  loaded(): Loaded[] {
    return [...this.#served.values()].flatMap(({ loaded }) => loaded ?? []);
  }

  /** A model that stays in memory until `leave`. Throws NO_SUCH_MODEL, MODEL_UNLOADED. */
  use(name: string): { loaded: Loaded; leave: () => void } {
    const { loaded, unloaded } = this.#find(name);
    if (!loaded)
      throw new HttpError(
        "MODEL_UNLOADED",
        unloaded
          ? `The model '${name}' is not loaded. PUT loads it again.`
          : `The model '${name}' could not be loaded. Its card says why; it is loaded once its file has changed.`,
      );
    loaded.users++;
    let inside = true;
    const leave = (): void => {
      if (inside) loaded.leave();
      inside = false;
    };
    return { loaded, leave };
  }

  /** Throws NO_SUCH_MODEL. */
  card(name: string): ModelCard {
    const { file, loaded, unloaded, failure } = this.#find(name);
    if (!loaded)
      return {
        name,
        state: unloaded ? "unloaded" : "failed",
        checksum: null,
        loadedAt: null,
        device: null,
        model: null,
        drift: null,
        failure,
      };
    const { detector, checksum, loadedAt } = loaded;
    return {
      name,
      state: "ready",
      checksum,
      loadedAt: loadedAt.toISOString(),
      device: detector.device,
      model: describeModel(path.basename(file), detector.model.config),
      drift: { ...detector.drift() },
      failure,
    };
  }

  /** Whether the file that lies at a model's place could not be loaded. */
  failures(): { name: string; failed: boolean }[] {
    return [...this.#served.values()].map(({ name, failure }) => ({ name, failed: failure !== null }));
  }

  /** Throws BAD_REQUEST, and MODELS_READ_ONLY without a folder and for a model that was named when the server started. */
  checkUpload(name: string): void {
    if (!modelName.safeParse(name).success)
      throw new HttpError("BAD_REQUEST", "A model's name has letters, digits, '.', '_' and '-', at most 64.");
    if (this.#folder === undefined)
      throw new HttpError("MODELS_READ_ONLY", "This server takes no model files. Start it with --models-dir.");
    const served = this.#served.get(name);
    if (served && served.file !== this.#fileOf(name))
      throw new HttpError("MODELS_READ_ONLY", `The model '${name}' comes from a file of its own. Replace that one.`);
  }

  /** Does `write`, and loads the file that it writes; where that works, it takes the model's place. */
  async upload(name: string, write: (file: string) => Promise<void>): Promise<ModelCard> {
    this.checkUpload(name);
    const file = this.#fileOf(name);
    const upload = path.join(this.#folder!, `.${name}.${randomBytes(6).toString("hex")}${uploadSuffix}`);
    try {
      await write(upload);
      return await this.#inTurn(async () => {
        const usage = await this.#read(name, upload);
        try {
          await putInPlace(upload, file);
        } catch (error) {
          usage.retire();
          throw fileError(error, "write model", file);
        }
        const served = this.#served.get(name) ?? this.#add(name, file);
        // The file is in place: what keeps it from being looked at now is left to the next look.
        served.seen = await identityOf(served.file).catch(() => noFile);
        this.#replace(served, usage);
        return this.card(name);
      });
    } catch (error) {
      // The client knows the name that it gave.
      throw error instanceof SuperSimpleNetError
        ? new SuperSimpleNetError(error.code, error.message.replaceAll(upload, file), { cause: error, path: file })
        : error;
    } finally {
      await rm(upload, { force: true });
    }
  }

  /** Loads a model's file again, also one that was unloaded. Errors: those of Detector.load, NO_SUCH_MODEL. */
  load(name: string): Promise<ModelCard> {
    return this.#inTurn(async () => {
      await this.#load(this.#find(name));
      return this.card(name);
    });
  }

  /** Takes a model out of service; its file stays, and is loaded at the next start. Throws NO_SUCH_MODEL. */
  unload(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const served = this.#find(name);
      served.unloaded = true;
      served.loaded?.retire();
      served.loaded = undefined;
    });
  }

  /** Loads the models whose files have changed. Failures are told and leave the model before in place. */
  reloadChanged(): Promise<void> {
    return this.#inTurn(async () => {
      for (const served of this.#served.values()) {
        if (served.unloaded) continue;
        const now = await identityOf(served.file).catch(() => noFile);
        if (now !== served.seen) await this.#tryToLoad(served);
      }
    });
  }

  close(): void {
    for (const { loaded } of this.#served.values()) loaded?.retire();
    this.#served.clear();
  }

  /** Waits for what is being loaded. */
  async settled(): Promise<void> {
    await this.#turn;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #find(name: string): Served {
    const served = this.#served.get(name);
    if (!served) throw new HttpError("NO_SUCH_MODEL", `There is no model '${name.slice(0, 64)}'.`);
    return served;
  }

  #add(name: string, file: string): Served {
    const served: Served = { name, file, loaded: undefined, unloaded: false, seen: "", failure: null };
    this.#served.set(name, served);
    return served;
  }

  #fileOf(name: string): string {
    return path.join(this.#folder!, `${name}${suffix}`);
  }

  async #load(served: Served): Promise<void> {
    const seen = await identityOf(served.file);
    this.#replace(served, await this.#read(served.name, served.file));
    served.seen = seen;
  }

  /** A file that fails is told, and tried again once it has changed; a model that was loaded before stays. */
  async #tryToLoad(served: Served): Promise<void> {
    const now = await identityOf(served.file).catch(() => noFile);
    await this.#load(served).catch((error: unknown) => {
      served.seen = now;
      served.failure = { time: new Date().toISOString(), ...answerTo(error).error };
      this.#events.onFailure(served.name, error);
    });
  }

  #replace(served: Served, usage: Usage): void {
    served.loaded?.retire();
    Object.assign(served, { loaded: usage, unloaded: false, failure: null });
  }

  async #read(name: string, file: string): Promise<Usage> {
    const started = performance.now();
    const detector = await Detector.load(file, this.#options);
    try {
      const checksum = (await modelFileSha256(detector.model))!;
      const usage = new Usage(name, detector, checksum, new Date());
      this.#events.onLoad(usage, performance.now() - started);
      return usage;
    } catch (error) {
      detector.dispose();
      throw error;
    }
  }
}

const suffix = ".safetensors";
const uploadSuffix = ".upload";

/** What is seen where no file is. */
const noFile = "no file";

/** The names of a folder's models. Removes uploads that a server which was killed has left. */
async function modelsIn(folder: string | undefined): Promise<string[]> {
  if (folder === undefined) return [];
  const files = await readdir(folder).catch((error: unknown) =>
    Promise.reject(fileError(error, "list folder", folder)),
  );
  for (const file of files)
    if (file.startsWith(".") && file.endsWith(uploadSuffix)) await rm(path.join(folder, file), { force: true });
  const names = files.filter((file) => file.endsWith(suffix)).map((file) => file.slice(0, -suffix.length));
  return names.filter((name) => modelName.safeParse(name).success);
}
