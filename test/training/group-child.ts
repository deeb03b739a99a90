/** One rank of group.test.ts, in a thread of its own: makes the calls that it is sent. Not a test itself. */
import { parentPort, workerData } from "node:worker_threads";

import type { SuperSimpleNetError } from "../../lib/index.js";
import type { GroupOptions } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";

export type Call =
  | { method: "join" | "leave" }
  | { method: "gather"; bytes: Uint8Array }
  | { method: "fail"; code: string; message: string };

export type Answer = { value: unknown } | { code: string; message: string };

const group = parentPort === null ? undefined : engine().createGroup(workerData as GroupOptions);

async function perform(call: Call): Promise<unknown> {
  if (call.method === "gather") return group!.gather(call.bytes);
  if (call.method === "fail") return group!.fail(call.code, call.message);
  return group![call.method]();
}

parentPort?.on("message", (call: Call) => {
  perform(call).then(
    (value) => parentPort!.postMessage({ value } satisfies Answer),
    ({ code, message }: SuperSimpleNetError) => parentPort!.postMessage({ code, message } satisfies Answer),
  );
});
