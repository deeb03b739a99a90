import { type ChildProcess, fork } from "node:child_process";
import path from "node:path";

import { abortedError, SuperSimpleNetError, throwIfAborted } from "../errors.js";

/** Inputs of a run, by name. */
export type Feeds = Record<
  string,
  { type: "uint8" | "float32"; dims: readonly number[]; data: Uint8Array | Float32Array }
>;

/** The outputs of a graph of this package, for N images. */
export interface GraphOutputs {
  score: Float32Array;
  logit: Float32Array;
  /** N x height x width. */
  map: Float32Array;
  verdict: BigInt64Array;
}

export type Request =
  { kind: "open" } | { kind: "load"; file: string; threads: number } | { kind: "run"; feeds: Feeds };

export type Reply =
  | { kind: "opened"; version: string }
  | { kind: "loaded" }
  | { kind: "ran"; outputs: Record<string, unknown> }
  | { kind: "failed"; code: string; message: string };

/** The versions of onnxruntime-node that the parity is measured with: this major one. */
const major = 1;
/** Without the variable its install script downloads CUDA libraries on Linux x64. */
export const installRuntime = `ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@${major}`;
const install = `Install it: '${installRuntime}'.`;

const unusable = (what: string, fix: string): SuperSimpleNetError =>
  new SuperSimpleNetError("ONNXRUNTIME_UNUSABLE", what, { fix });

/** onnxruntime-node in a process of its own. */
export class OnnxRuntime {
  readonly version: string;
  readonly #child: ChildProcess;
  readonly #signal: AbortSignal | undefined;

  private constructor(child: ChildProcess, version: string, signal: AbortSignal | undefined) {
    this.#child = child;
    this.version = version;
    this.#signal = signal;
  }

  /**
   * Starts it; undefined where it is not installed. Throws ONNXRUNTIME_UNUSABLE where it is and does not open, or is of
   * another major version; ABORTED.
   */
  static async open(signal?: AbortSignal): Promise<OnnxRuntime | undefined> {
    throwIfAborted(signal);
    // Without the flags of this process, such as a debugger's port or a test runner's.
    const child = fork(path.join(__dirname, "runtime_process.js"), [], {
      execArgv: [],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    try {
      const reply = await ask(child, { kind: "open" }, signal);
      if (reply.kind === "opened") {
        if (Number.parseInt(reply.version, 10) === major) return new OnnxRuntime(child, reply.version, signal);
        const what = `onnxruntime-node ${reply.version} is installed, and this package works with version ${major}.`;
        throw unusable(what, `Install that one: '${installRuntime}'.`);
      }
      child.kill();
      if (
        reply.kind === "failed" &&
        /MODULE_NOT_FOUND$/.test(reply.code) &&
        reply.message.includes("'onnxruntime-node'")
      )
        return undefined;
      const reason = reply.kind === "failed" ? reply.message : reply.kind;
      throw unusable(`onnxruntime-node is installed but does not open: ${reason}`, install);
    } catch (error) {
      child.kill();
      throw error;
    }
  }

  /** The same, where nothing can be done without it: ONNXRUNTIME_UNUSABLE where it is not installed. */
  static async need(signal?: AbortSignal): Promise<OnnxRuntime> {
    const runtime = await OnnxRuntime.open(signal);
    if (runtime) return runtime;
    throw unusable("onnxruntime-node, which runs ONNX files, is not installed.", install);
  }

  /** Loads a file. Throws FILE_CORRUPT for one that it does not load, ABORTED. */
  async load(file: string, threads: number): Promise<void> {
    const reply = await ask(this.#child, { kind: "load", file: path.resolve(file), threads }, this.#signal);
    if (reply.kind === "failed") {
      const what = `onnxruntime ${this.version} does not load ${file}: ${reply.message}`;
      throw new SuperSimpleNetError("FILE_CORRUPT", what, { path: file });
    }
  }

  /** Runs it. Throws INTERNAL with what the runtime says, ABORTED. */
  async run(feeds: Feeds): Promise<GraphOutputs> {
    const reply = await ask(this.#child, { kind: "run", feeds }, this.#signal);
    if (reply.kind === "ran") return reply.outputs as unknown as GraphOutputs;
    const reason = reply.kind === "failed" ? reply.message : reply.kind;
    throw new SuperSimpleNetError("INTERNAL", `onnxruntime ${this.version} failed: ${reason}`);
  }

  close(): void {
    this.#child.kill();
  }
}

/** The answer to one request; there is one at a time. */
function ask(child: ChildProcess, request: Request, signal: AbortSignal | undefined): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      child.off("message", onMessage).off("exit", onExit).off("error", onError);
      signal?.removeEventListener("abort", onAbort);
    };
    const onMessage = (reply: Reply): void => {
      settle();
      resolve(reply);
    };
    const onError = (error: Error): void => {
      settle();
      reject(unusable(`The process of onnxruntime-node could not be used: ${error.message}`, install));
    };
    const onExit = (code: number | null, killed: string | null): void =>
      onError(new Error(`it ended by ${killed ?? `exit code ${code}`}`));
    const onAbort = (): void => {
      settle();
      child.kill();
      reject(abortedError(signal!));
    };
    child.once("message", onMessage).once("exit", onExit).once("error", onError);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) return onAbort();
    child.send(request, (error) => error && onError(error));
  });
}
