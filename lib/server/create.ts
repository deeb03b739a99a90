import type { Keeper } from "../outputs/keep.js";
import type { Output } from "../outputs/output.js";
import type { Settings } from "../schema/types.js";
import type { serverOptions } from "../schema/server.js";

/** Options of createServer. */
export interface ServerOptions extends Settings<typeof serverOptions> {
  onLog?(line: string): void;
}

/** A server that listens. */
export interface DetectionServer {
  /** Such as "http://127.0.0.1:8080". */
  readonly url: string;
  readonly port: number;
  /** Of the models that serve. */
  readonly modelNames: readonly string[];
  /** Loads the model files that have changed, without waiting for the next look at them. */
  reload(): Promise<void>;
  /** Takes no new requests, answers those that are running, frees the models and closes output and keeper. */
  close(): Promise<void>;
}

/**
 * Starts a server that detects defects over HTTP (docs/guides/server.md). Resolves when its models are loaded and it
 * listens. `output`: where results go beside the answers (openOutputs); `keeper`: what keeps images for the next training
 * (openKeeper). The server closes both.
 *
 * Errors: INVALID_OPTION (also for an address that is taken, and one that other machines reach without a token),
 * UNKNOWN_OPTION, FILE_NOT_FOUND and the like for its files, and those of Detector.load.
 */
export async function createServer(options: ServerOptions, output?: Output, keeper?: Keeper): Promise<DetectionServer> {
  const { startServer } = await import("./server.js"); // with fastify, which nobody else needs
  return startServer(options, output, keeper);
}
