import assert from "node:assert/strict";
import test from "node:test";

import { createError, type NativeFailure, warningText } from "../../lib/native/errors.js";

test("a native failure gets its remedy, in the words of the front end; one without a text is a fault of ours", () => {
  const fewer = createError({ code: "INTERNAL", message: "No threads.", remedy: "fewerThreads" });
  assert.equal(fewer.message, "No threads. Set 'threads' or SUPERSIMPLENET_THREADS to less.");
  assert.match(fewer.messageFor({ option: (path) => `--${path}`, call: String, command: String }), /Set --threads or/);
  assert.equal(
    warningText({ message: "Slow.", remedy: "withoutNccl" }),
    "Slow. Set 'distributed.nccl' to false: the ranks then sum on the CPU.",
  );
  const unknown = { code: "DIVERGED", message: "It failed.", remedy: "toString" } as unknown as NativeFailure;
  for (const make of [createError, warningText])
    assert.throws(() => make(unknown), { code: "INTERNAL", message: "It failed. The remedy 'toString' has no text." });
});
