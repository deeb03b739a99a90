import assert from "node:assert/strict";
import { after, test } from "node:test";

import { applyThreads } from "../../lib/native/device.js";
import { failure } from "../datasets/files.js";

const variable = "SUPERSIMPLENET_THREADS";
const before = process.env[variable];
after(() => {
  if (before === undefined) delete process.env[variable];
  else process.env[variable] = before;
});

test("the default is set once; later only the option changes the threads", async () => {
  process.env[variable] = "two";
  await assert.rejects(applyThreads("test", undefined), failure("INVALID_OPTION", variable));
  process.env[variable] = "1";
  assert.equal(await applyThreads("test", undefined), 1);
  assert.equal(await applyThreads("test", 2), 2);
  assert.equal(await applyThreads("test", undefined), 2, "a second user without the option leaves a running training alone");
  await assert.rejects(applyThreads("test", 0), failure("INVALID_OPTION", "threads"));
  assert.equal(await applyThreads("test", undefined), 2);
});
