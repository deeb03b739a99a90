/**
 * Runs an ONNX file in onnxruntime-node: in a process of its own, because its calls hold the event loop, and because a file
 * that it cannot bear must not end ours. lib/export/runtime.ts is the other side.
 */
import type { Feeds, Reply, Request } from "./runtime.js";

/** What is used of onnxruntime-node, which may not be installed. */
interface Runtime {
  env: { versions: { node?: string } };
  Tensor: new (type: string, data: Uint8Array | Float32Array, dims: readonly number[]) => unknown;
  InferenceSession: { create(file: string, options: object): Promise<Session> };
}

interface Session {
  run(feeds: Record<string, unknown>): Promise<Record<string, { dims: readonly number[]; data: unknown }>>;
}

const packageName: string = "onnxruntime-node";
let runtime: Runtime | undefined;
let session: Session | undefined;

async function answer(request: Request): Promise<Reply> {
  if (request.kind === "open") {
    runtime = require(packageName) as Runtime;
    return { kind: "opened", version: runtime.env.versions.node ?? "unknown" };
  }
  if (request.kind === "load") {
    const options = { intraOpNumThreads: request.threads, logSeverityLevel: 3 };
    session = await runtime!.InferenceSession.create(request.file, options);
    return { kind: "loaded" };
  }
  return { kind: "ran", outputs: await run(request.feeds) };
}

async function run(feeds: Feeds): Promise<Record<string, unknown>> {
  const tensors = Object.entries(feeds).map(([name, { type, dims, data }]) => [
    name,
    new runtime!.Tensor(type, data, dims),
  ]);
  const outputs = await session!.run(Object.fromEntries(tensors) as Record<string, unknown>);
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
}

const failed = (error: unknown): Reply => ({
  kind: "failed",
  code: String((error as NodeJS.ErrnoException).code ?? ""),
  message: error instanceof Error ? error.message : String(error),
});

process.on("message", (request: Request) => {
  answer(request)
    .catch(failed)
    .then((reply) => process.send?.(reply))
    .catch(() => process.exit(1));
});
process.on("disconnect", () => process.exit());
