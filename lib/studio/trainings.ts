import { type ChildProcess, fork } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { z } from "zod";

import { metricIds, metricsTable } from "../evaluation/metrics_table.js";
import { fileError } from "../errors.js";
import { readRegular } from "../files/input.js";
import { readMetadata } from "../files/tensors.js";
import type { ModelConfig } from "../models/config.js";
import { openEngine } from "../native/engine.js";
import { packageFolder } from "../native/locate.js";
import { readLog } from "../runs/log.js";
import { runFiles } from "../runs/files.js";
import { HttpError } from "../server/errors.js";
import { checkpointFile, lockFolder } from "../training/checkpoint.js";
import type { StartEvent } from "../training/events.js";
import { makeFolder, writeJson } from "../write.js";
import type { Labels } from "./labels.js";
import { checkFlags, trainCommand } from "./options.js";
import { Pace } from "./pace.js";
import { type Project, shortHash } from "./project.js";
import { takeSnapshot } from "./snapshot.js";
import {
  type Estimate,
  type RunDetails,
  runStates,
  type StudioEvent,
  type StudioRun,
  type TrainingFlags,
} from "./types.js";

/** The name of a run, which is that of its folder. */
export const runName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "The name of a run has letters, digits, '.', '_' and '-', at most 64.");

/** A training that was asked for here. */
const entryType = z.object({
  name: runName,
  state: z.enum(runStates),
  flags: z.record(z.string(), z.string()),
  /** Of the labelled data that it began with. */
  data: z.string().nullable(),
  error: z.string().nullable(),
});

type Entry = z.output<typeof entryType>;

/** A training in a process of its own. */
interface Work {
  child: ChildProcess;
  pace: Pace;
  /** Resolves to its exit code, and to what it said last. */
  ended: Promise<{ code: number | null; said: string }>;
}

interface Running extends Work {
  entry: Entry;
  isEnding: boolean;
}

/** What a training tells by its channel: lib/cli/progress.ts. */
interface ChildEvent {
  event: string;
  [name: string]: unknown;
}

/** Where trainings run. */
export interface TrainingSettings {
  device: string;
  threads: number | undefined;
}

/** A child that does not stop at its next step is ended after this time. */
const patienceMs = 60_000;
const program = path.join(packageFolder, "dist", "lib", "cli", "main.js");
/** Steps of a trial: the first two warm up. */
const trialSteps = 6;
const isName = (name: string): boolean => runName.safeParse(name).success;

/**
 * The project's trainings: one at a time, the others wait, over restarts too. Each is the command `train` in a process of its
 * own, so what it leaves is what the command line leaves, and a training that fails takes nobody with it.
 */
export class Trainings {
  readonly #entries = new Map<string, Entry>();
  #running: Running | undefined;
  #trying = false;
  /** For the data of the next one, which are put by. */
  #preparing: Promise<void> | undefined;
  #begun = false;
  /** For trainings that an earlier studio left at work. */
  #waiting: Promise<void> | undefined;
  #closing = false;
  #saving: Promise<void> = Promise.resolve();

  private constructor(
    private readonly project: Project,
    private readonly labels: Labels,
    private readonly settings: TrainingSettings,
    private readonly tell: (event: StudioEvent) => void,
  ) {}

  /** Reads the queue that an earlier studio left. */
  static async open(
    project: Project,
    labels: Labels,
    settings: TrainingSettings,
    tell: (event: StudioEvent) => void,
  ): Promise<Trainings> {
    const trainings = new Trainings(project, labels, settings, tell);
    const text = await readRegular(trainings.#file).then(String, () => "[]");
    for (const entry of entriesIn(text)) trainings.#entries.set(entry.name, entry);
    await trainings.#removeOldSnapshots();
    return trainings;
  }

  /** Goes on with the queue, once nothing else keeps the studio from its work. What ran when it ended goes on first. */
  begin(): void {
    this.#begun = true;
    const left = [...this.#entries.values()].filter(({ state }) => state === "running");
    for (const entry of left) entry.state = "queued";
    this.#waiting = Promise.all(left.map(({ name }) => this.#whenFree(this.folderOf(name)))).then(() => undefined);
    void this.#waiting.finally(() => {
      this.#waiting = undefined;
      this.#next();
    });
  }

  get #file(): string {
    return path.join(this.project.places.own, "trainings.json");
  }

  folderOf(name: string): string {
    return path.join(this.project.places.runs, name);
  }

  /**
   * The data that a training sees, from its beginning to its end: labels may be changed meanwhile, which moves images, and
   * one that was paused goes on with what it began with.
   */
  #snapshotOf(name: string): string {
    const { own, data } = this.project.places;
    return path.join(own, "data", name, path.basename(data));
  }

  #removeSnapshot(name: string): Promise<void> {
    return rm(path.dirname(this.#snapshotOf(name)), { recursive: true, force: true }).catch(() => undefined);
  }

  /** Of trainings that have ended, or are gone. */
  async #removeOldSnapshots(): Promise<void> {
    for (const name of await readdir(path.join(this.project.places.own, "data")).catch(() => []))
      if ((this.#entries.get(name)?.state ?? "done") === "done") await this.#removeSnapshot(name);
  }

  /** Whether one is at work now. */
  get isBusy(): boolean {
    return this.#running !== undefined;
  }

  /** The runs of the folder and the trainings that wait, the newest first. */
  async list(): Promise<StudioRun[]> {
    const { runs } = this.project.places;
    const found = (await readdir(runs, { withFileTypes: true }).catch(() => []))
      .filter((entry) => entry.isDirectory() && isName(entry.name))
      .map(({ name }) => name);
    const names = [...new Set([...found, ...this.#entries.keys()])];
    const cards = (await Promise.all(names.map((name) => this.#card(name)))).filter((card) => card !== undefined);
    return cards.sort((a, b) => newness(b) - newness(a));
  }

  async details(name: string): Promise<RunDetails> {
    const run = await this.#card(name);
    if (!run) throw noRun(name);
    const log = await readLog(runFiles(this.folderOf(name)).log);
    return { run, epochs: log?.epochs ?? [], warnings: log?.start?.warnings ?? [] };
  }

  /** The model's file of a run that has one. Throws NOT_FOUND. */
  modelFile(name: string): string {
    const file = isName(name) ? runFiles(this.folderOf(name)).model : "";
    if (!existsSync(file)) throw new HttpError("NOT_FOUND", `The run '${name.slice(0, 64)}' has no model.`);
    return file;
  }

  /** Puts a training at the queue's end. Throws BAD_REQUEST, CONFLICT, INVALID_OPTION. */
  async add(wanted: string | undefined, flags: TrainingFlags): Promise<StudioRun> {
    checkFlags(flags);
    await this.project.settle();
    // From here on nothing is waited for: of two requests at once each gets its own name.
    const name = wanted ?? this.#freeName();
    if (this.#entries.has(name) || existsSync(this.folderOf(name)))
      throw new HttpError("CONFLICT", `There is a run '${name}' already. Give another name.`);
    if (!this.project.dataset) throw new HttpError("CONFLICT", "There are no labelled images to train on.");
    this.#entries.set(name, { name, state: "queued", flags, data: null, error: null });
    await this.#save().catch((error: unknown) => {
      this.#entries.delete(name);
      throw error;
    });
    await this.tellRuns();
    this.#next();
    return (await this.#card(name))!;
  }

  /** Stops it after the step; it keeps its place, and the queue waits for it. */
  pause(name: string): Promise<void> {
    return this.#halt(name, "paused");
  }

  /** Stops it after the step; the queue goes on. What was trained stays, and can be resumed. */
  stop(name: string): Promise<void> {
    return this.#halt(name, "stopped");
  }

  async #halt(name: string, state: "paused" | "stopped"): Promise<void> {
    const entry = this.#find(name);
    if (entry.state === "done") throw new HttpError("CONFLICT", `The training '${name}' has ended.`);
    entry.state = state;
    if (this.#running?.entry === entry) await this.#end();
    await this.#changed();
    this.#next();
  }

  async resume(name: string): Promise<void> {
    const entry = this.#find(name);
    if (entry.state === "running" || entry.state === "done") return;
    Object.assign(entry, { state: "queued", error: null });
    await this.#changed();
    this.#next();
  }

  /** Takes a run out of the project; it lies in .studio/removed from then on. */
  async remove(name: string): Promise<void> {
    const folder = isName(name) ? this.folderOf(name) : "";
    if (!this.#entries.has(name) && !existsSync(folder)) throw noRun(name);
    if (this.#entries.has(name)) await this.#halt(name, "stopped").catch(() => undefined);
    this.#entries.delete(name);
    await this.#removeSnapshot(name);
    if (existsSync(folder)) {
      const place = path.join(this.project.places.own, "removed", new Date().toISOString().replaceAll(":", "-"));
      await makeFolder(place);
      await rename(folder, path.join(place, name)).catch((error: unknown) =>
        Promise.reject(fileError(error, "remove", folder)),
      );
    }
    await this.#changed();
  }

  /** Ends the running one after its step; it goes on at the next start. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#waiting;
    await this.#preparing;
    await this.#end();
    await this.#saving;
  }

  #find(name: string): Entry {
    const entry = this.#entries.get(name);
    if (!entry) throw noRun(name);
    return entry;
  }

  #freeName(): string {
    for (let i = 1; ; i++) {
      const name = `run-${String(i).padStart(3, "0")}`;
      if (!this.#entries.has(name) && !existsSync(this.folderOf(name))) return name;
    }
  }

  /**
   * Waits for the training of a studio that was killed: it keeps what it has trained, and ends. Whatever still holds the
   * folder after that is told by the training that wants it.
   */
  async #whenFree(folder: string): Promise<void> {
    if (!existsSync(folder)) return;
    await openEngine(this.settings.device);
    for (const end = performance.now() + patienceMs; performance.now() < end && !this.#closing;) {
      try {
        const unlock = await lockFolder(folder);
        return await unlock();
      } catch {
        await sleep(200);
      }
    }
  }

  /** Starts the next one where none runs and none is paused. */
  #next(): void {
    if (!this.#begun || this.#running || this.#preparing || this.#trying || this.#waiting || this.#closing) return;
    const entries = [...this.#entries.values()];
    if (entries.some(({ state }) => state === "paused")) return;
    const entry = entries.find(({ state }) => state === "queued");
    if (!entry) return;
    this.#preparing = this.#prepare(entry)
      .catch((error: unknown) => void Object.assign(entry, { state: "failed", error: (error as Error).message }))
      .then(() => {
        this.#preparing = undefined;
        // It may have been paused, stopped or removed meanwhile.
        if (entry.state === "queued" && this.#entries.get(entry.name) === entry && !this.#closing) this.#start(entry);
        else void this.#changed().finally(() => this.#next());
      });
  }

  /** Puts the data of a training by that begins. One that goes on has them. */
  async #prepare(entry: Entry): Promise<void> {
    if (existsSync(checkpointFile(this.folderOf(entry.name))) && entry.data !== null) return;
    await this.labels.change(async () => {
      if (this.project.readOnly === null) await takeSnapshot(this.project.places.data, this.#snapshotOf(entry.name));
      entry.data = this.project.fingerprint("train");
    });
  }

  #start(entry: Entry): void {
    const { folder } = this.project.places;
    const resume = existsSync(checkpointFile(this.folderOf(entry.name)));
    entry.state = "running";
    const snapshot = this.#snapshotOf(entry.name);
    const data = existsSync(snapshot) ? snapshot : this.project.places.data;
    const out = path.join("runs", entry.name);
    const args = [...trainCommand({ folder, data, out, flags: entry.flags }), ...(resume ? ["--resume"] : [])];
    const work = this.#work(entry, args, this.tell, (event) => {
      if (event.event === "epoch")
        this.tell({ event: "epoch", run: entry.name, epoch: event as unknown as RunDetails["epochs"][number] });
    });
    const running = { ...work, entry, isEnding: false };
    this.#running = running;
    running.ended = work.ended.then((end) => {
      this.#running = undefined;
      // It may have ended well while it was asked to pause.
      if (end.code === 0) {
        Object.assign(entry, { state: "done", error: null });
        void this.#removeSnapshot(entry.name);
      } else if (entry.state === "running" && !this.#closing)
        Object.assign(entry, { state: "failed", error: errorIn(end.said) });
      void this.#changed().finally(() => this.#next());
      return end;
    });
    void this.#changed();
  }

  /** Begins a training and listens to it. */
  #work(
    { name, flags }: Pick<Entry, "name" | "flags">,
    args: readonly string[],
    tell: (event: StudioEvent) => void,
    onEvent: (event: ChildEvent, pace: Pace) => void,
  ): Work {
    const child = this.#fork(args);
    const pace = new Pace(name, Number(flags["batch"] ?? 32), tell);
    let said = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-4000)));
    child.on("message", (event: ChildEvent) => {
      pace.take(event);
      onEvent(event, pace);
    });
    child.once("error", (error) => (said = `${said}\n${error.message}`));
    const ended = new Promise<{ code: number | null; said: string }>((resolve) => {
      child.once("close", (code) => resolve({ code, said }));
    });
    return { child, pace, ended };
  }

  #fork(args: readonly string[]): ChildProcess {
    const { device, threads } = this.settings;
    const machine = ["--device", device, ...(threads === undefined ? [] : ["--threads", String(threads)])];
    const stdio = ["ignore", "ignore", "pipe", "ipc"] as const;
    // Apart from the terminal, whose Ctrl-C would come beside ours.
    return fork(program, [...args, ...machine], {
      cwd: this.project.places.folder,
      stdio: [...stdio],
      detached: true,
    });
  }

  /**
   * How long a training would take: begins it in a folder of its own, looks at some steps, and ends it. Errors: CONFLICT while
   * another one runs or is tried, those of `add`, and the signal's reason; FILE_ERROR with what the command said.
   */
  async estimate(flags: TrainingFlags, signal: AbortSignal): Promise<Estimate> {
    checkFlags(flags);
    if (this.#running || this.#preparing || this.#trying)
      throw new HttpError(
        "CONFLICT",
        "The time is measured on this machine: wait until the running training has ended.",
      );
    await this.project.settle();
    if (!this.project.dataset) throw new HttpError("CONFLICT", "There are no labelled images to train on.");
    const { folder, data, own } = this.project.places;
    const out = path.join(own, "trial");
    this.#trying = true;
    try {
      await rm(out, { recursive: true, force: true });
      signal.throwIfAborted();
      const seen = { start: undefined as StartEvent | undefined, begun: 0, steps: 0, secondsPerStep: 0 };
      const args = trainCommand({ folder, data, out: path.relative(folder, out), flags });
      const { child, ended } = this.#work(
        { name: "trial", flags },
        args,
        () => undefined,
        (event, pace) => {
          if (event.event === "start")
            Object.assign(seen, { start: event as unknown as StartEvent, begun: performance.now() });
          if (event.event !== "step" || !seen.start) return;
          // Of a training of one step there is no other one that is warm.
          seen.secondsPerStep = pace.secondsPerStep ?? (performance.now() - seen.begun) / 1000;
          if (++seen.steps >= trialSteps) end();
        },
      );
      const end = (): void => void child.kill("SIGKILL");
      signal.addEventListener("abort", end, { once: true });
      const { code, said } = await ended.finally(() => signal.removeEventListener("abort", end));
      signal.throwIfAborted();
      // A training that is shorter than the trial has ended by itself.
      const { start, steps, secondsPerStep } = seen;
      if (start && (steps >= trialSteps || (code === 0 && steps > 0))) return estimateOf(start, secondsPerStep);
      throw new HttpError("CONFLICT", errorIn(said));
    } finally {
      await rm(out, { recursive: true, force: true }).catch(() => undefined);
      this.#trying = false;
      this.#next();
    }
  }

  /** Where the running training is, for a page that has just come. */
  get progress(): StudioEvent | undefined {
    return this.#running?.pace.event;
  }

  async #end(): Promise<void> {
    const running = this.#running;
    if (!running) return;
    // A second signal would end it at once, with what was trained since the last checkpoint.
    if (running.isEnding) return void (await running.ended);
    running.isEnding = true;
    running.child.kill("SIGINT");
    const timer = setTimeout(() => running.child.kill("SIGKILL"), patienceMs);
    await running.ended;
    clearTimeout(timer);
  }

  /** Keeps the queue for the next studio. Errors: those of writeJson. */
  #save(): Promise<void> {
    const entries = [...this.#entries.values()];
    const saved = this.#saving.then(() => writeJson(this.#file, entries));
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  async #changed(): Promise<void> {
    await this.#save().catch(() => undefined); // what was begun or stopped is so all the same
    await this.tellRuns();
  }

  /** Tells all pages of the runs as they are now. */
  async tellRuns(): Promise<void> {
    this.tell({ event: "runs", runs: await this.list() });
  }

  async #card(name: string): Promise<StudioRun | undefined> {
    const entry = this.#entries.get(name);
    const files = runFiles(this.folderOf(name));
    const found = isName(name) ? await stat(files.model).catch(() => undefined) : undefined;
    if (!entry && !found && !existsSync(files.checkpoint)) return undefined;
    const config = found ? await configIn(files.model) : undefined;
    const judged = found ? await judgedIn(files.metrics) : undefined;
    const data = entry?.data ?? null;
    const { folder, data: dataFolder } = this.project.places;
    const out = path.join("runs", name);
    return {
      name,
      state: entry?.state ?? (found ? "done" : "stopped"),
      error: entry?.error ?? null,
      flags: entry?.flags ?? null,
      command: entry
        ? ["supersimplenet", ...trainCommand({ folder, data: dataFolder, out, flags: entry.flags })].join(" ")
        : null,
      data,
      dataIsCurrent: data === null ? null : data === this.project.fingerprint("train"),
      regime: config?.training?.regime ?? null,
      backbone: config?.backbone.architecture ?? null,
      imageSize: config ? config.imageSize.join(" x ") : null,
      epochs: config?.training?.epochs ?? null,
      metrics: judged?.metrics ?? null,
      testData: judged?.testData ?? null,
      finished: found ? found.mtime.toISOString() : null,
    };
  }
}

/** What waits or runs comes before what has ended. */
const newness = ({ state, finished }: StudioRun): number =>
  ["queued", "running", "paused"].includes(state) ? Number.MAX_SAFE_INTEGER : Date.parse(finished ?? "") || 0;

const noRun = (name: string): HttpError => new HttpError("NOT_FOUND", `There is no run '${name.slice(0, 64)}'.`);

/** Of a queue's file that somebody has damaged what can be read is kept. The runs themselves are in their folders. */
function entriesIn(text: string): Entry[] {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return [];
  }
  return (Array.isArray(found) ? found : []).flatMap((entry) => entryType.safeParse(entry).data ?? []);
}

async function configIn(file: string): Promise<ModelConfig | undefined> {
  try {
    const config = JSON.parse((await readMetadata(file))["config"] ?? "") as Partial<ModelConfig>;
    return config.backbone?.architecture !== undefined && Array.isArray(config.imageSize)
      ? (config as ModelConfig)
      : undefined;
  } catch {
    return undefined; // not a model, or being replaced
  }
}

/** Undefined: nothing was judged, or the file is damaged. */
async function judgedIn(file: string): Promise<Pick<StudioRun, "metrics" | "testData"> | undefined> {
  const text = await readRegular(file).then(String, () => undefined);
  if (text === undefined) return undefined;
  try {
    const { metrics, samples, counts } = JSON.parse(text) as {
      metrics: Record<string, number | null>;
      samples: { id: string; label: string }[];
      counts?: { withMask: number };
    };
    const names = metricIds.map((id) => metricsTable[id].name);
    const rows = samples.map(({ id, label }) => JSON.stringify([id, label])).sort();
    return {
      metrics: Object.fromEntries(names.flatMap((name) => (name in metrics ? [[name, metrics[name]!]] : []))),
      testData: shortHash([...rows, `${counts?.withMask} with a mask`].join("\n")),
    };
  } catch {
    return undefined;
  }
}

/** Of the steps, those of the folds that set the thresholds included. */
function estimateOf({ epochs, stepsPerEpoch, calibration }: StartEvent, secondsPerStep: number): Estimate {
  const steps = Math.round(epochs * stepsPerEpoch * calibration.timeFactor);
  return { seconds: steps * secondsPerStep, epochs, steps, secondsPerStep };
}

/** What the command has said last about why it failed. */
function errorIn(stderr: string): string {
  const lines = stderr.trim().split("\n");
  const from = lines.findLastIndex((line) => /^error\b/i.test(line));
  return lines.slice(Math.max(0, from)).join("\n").slice(-2000) || "The training ended without saying why.";
}
