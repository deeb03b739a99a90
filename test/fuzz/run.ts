/** Fuzzing: batches of mutated files, read in a process that is watched. */
import { type ChildProcess, fork } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import type { Answer, Batch, Failed } from "./child.js";

export interface FuzzOptions {
  /** A module like targets.ts. */
  module: string;
  target: string;
  seed: number;
  /** Files; or else a time, and at least until memory is judged. */
  inputs?: number;
  seconds?: number;
  /** The first file. Default: 0. */
  first?: number;
  /** Where inputs that fail are kept. */
  found: string;
  /** How long no file of a batch may come to its end. Default: 60. */
  limitSeconds?: number;
}

export interface Fuzzed {
  target: string;
  read: number;
  refused: number;
  seconds: number;
  failures: Failed[];
  /** Memory after each batch, in MiB. */
  rss: number[];
  /** By how much it grew, in MiB; undefined with fewer than `judgedBatches`. */
  growth: number | undefined;
}

/** Memory that may come on top after a quarter of the batches: malloc keeps what was freed, more or less of it each time. */
export const toleratedMiB = 64;
/** Files in a batch, after which memory is looked at. */
const batchSize = 32;
/** From so many batches on, growth of memory is judged. */
const judgedBatches = 8;

/** The command that reads a failed file again; for what no single file shows, all files up to it. */
export const againLine = ({ target, seed }: FuzzOptions, { input, file }: Failed): string =>
  `npm run fuzz -- --target ${target} --seed ${seed} ${file === "" ? `--inputs ${input + 1}` : `--input ${input}`}`;

type Announced = Extract<Answer, { at: number }>;
type Settled = Extract<Answer, { rss: number }>;

/** A process that reads files. */
class Reader {
  readonly #child: ChildProcess;
  readonly folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-fuzz-"));
  #ended: string | undefined;
  #errors = "";
  /** The input that was announced last. */
  at: Announced | undefined;

  constructor(private readonly options: FuzzOptions) {
    const { module, seed } = options;
    this.#child = fork(path.join(__dirname, "child.js"), [module, String(seed), this.folder], {
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr!.on("data", (chunk: Buffer) => (this.#errors = (this.#errors + String(chunk)).slice(-3000)));
    this.#child.on("exit", (code, signal) => (this.#ended = `the process ended with ${signal ?? code}`));
  }

  /** Its answer, or what happened instead. */
  ask(batch: Batch): Promise<Settled | string> {
    const { limitSeconds = 60 } = this.options;
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout;
      const settle = (what: Settled | string): void => {
        clearTimeout(timer);
        this.#child.off("message", onMessage).off("close", onClose);
        resolve(what);
      };
      const wait = (seconds: number): void => {
        clearTimeout(timer);
        timer = setTimeout(() => settle(`no answer for ${seconds} s`), seconds * 1000);
      };
      const onMessage = (answer: Answer): void => {
        if ("rss" in answer) return settle(answer);
        if ("at" in answer) this.at = answer;
        wait(limitSeconds);
      };
      const onClose = (): void => settle(`${this.#ended}\n${this.#errors}`);
      if (this.#ended !== undefined) return onClose();
      this.#child.on("message", onMessage).once("close", onClose);
      wait(300); // for the seeds, some of which take a training
      this.#child.send(batch, () => {}); // an error of sending shows as the end of the process
    });
  }

  async end(): Promise<void> {
    if (this.#ended === undefined) {
      const closed = new Promise((resolve) => this.#child.once("close", resolve));
      this.#child.kill("SIGKILL");
      await closed;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Reads the files of a batch that ended badly one by one, to find the one. */
async function culprit(options: FuzzOptions, batch: Batch, what: string): Promise<Failed> {
  const reader = new Reader(options);
  try {
    const answer = await reader.ask({ ...batch, slowly: true });
    if (typeof answer !== "string" || reader.at === undefined)
      return {
        input: batch.first + batch.count - 1,
        what: `${what}, in files ${batch.first} to ${batch.first + batch.count - 1}; not one by one`,
        file: "",
      };
    const kept = path.join(options.found, `${options.target}-${options.seed}-${reader.at.at}`);
    copyFileSync(reader.at.file, kept);
    return { input: reader.at.at, what: answer, file: kept };
  } finally {
    await reader.end();
  }
}

/** Grown from the second quarter of the batches to the last, by the least of each. */
function growthOf(rss: readonly number[]): number | undefined {
  if (rss.length < judgedBatches) return undefined;
  const quarter = Math.floor(rss.length / 4);
  return Math.round(Math.min(...rss.slice(-quarter)) - Math.min(...rss.slice(quarter, 2 * quarter)));
}

/** Several targets in one process: spares the start of each. Memory is looked at all the same. */
export class Fuzzer {
  #reader: Reader | undefined;

  async run(options: FuzzOptions): Promise<Fuzzed> {
    const { target, seed, inputs = Infinity, seconds = Infinity, found } = options;
    mkdirSync(found, { recursive: true });
    const out: Fuzzed = { target, read: 0, refused: 0, seconds: 0, failures: [], rss: [], growth: undefined };
    const started = performance.now();
    const elapsed = (): number => (performance.now() - started) / 1000;
    let next = options.first ?? 0;
    const end = next + inputs;
    const judged = (): boolean => out.rss.length >= judgedBatches || out.failures.length > 0;
    while (next < end && (elapsed() < seconds || !judged()) && out.failures.length < 10) {
      this.#reader ??= new Reader(options);
      const batch: Batch = { target, first: next, count: Math.min(batchSize, end - next), slowly: false };
      next += batch.count;
      const answer = await this.#reader.ask(batch);
      if (typeof answer === "string") {
        await this.end();
        out.failures.push(await culprit(options, batch, answer));
        continue;
      }
      out.read += answer.read;
      out.refused += answer.refused;
      out.rss.push(Math.round(answer.rss / 2 ** 20));
      for (const { input, what, file } of answer.failed) {
        const kept = path.join(found, `${target}-${seed}-${input}`);
        copyFileSync(file, kept);
        out.failures.push({ input, what, file: kept });
      }
    }
    out.seconds = elapsed();
    out.growth = growthOf(out.rss);
    if (out.growth !== undefined && out.growth > toleratedMiB) {
      const what = `memory grew by ${out.growth} MiB: ${out.rss.join(" ")}`;
      out.failures.push({ input: next - 1, what, file: "" });
    }
    return out;
  }

  async end(): Promise<void> {
    await this.#reader?.end();
    this.#reader = undefined;
  }
}

/** One target in a process of its own. */
export async function fuzz(options: FuzzOptions): Promise<Fuzzed> {
  const fuzzer = new Fuzzer();
  return fuzzer.run(options).finally(() => fuzzer.end());
}
