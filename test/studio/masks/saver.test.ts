import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";

import { Saver } from "../../../web/studio/masks/saver.js";

/** A store whose calls are answered by hand. */
function slowStore() {
  const calls: { resolve(): void; reject(error: Error): void }[] = [];
  const states: string[] = [];
  const saver = new Saver(
    () => new Promise<void>((resolve, reject) => calls.push({ resolve, reject })),
    (state) => states.push(state.kind === "failed" ? state.reason : state.kind),
  );
  return { calls, states, saver };
}

test("saves run one at a time, and what was asked for meanwhile is one more", async () => {
  const { calls, states, saver } = slowStore();
  for (let i = 0; i < 4; i++) saver.request();
  assert.equal(calls.length, 1);
  calls[0]!.resolve();
  await setImmediate();
  assert.equal(calls.length, 2);
  assert.ok(!states.includes("saved"), "not before the last one");
  calls[1]!.resolve();
  await setImmediate();
  assert.equal(calls.length, 2);
  assert.deepEqual(states, ["saving", "saving", "saved"]);
});

test("a failure is told and waits for another request", async () => {
  const { calls, states, saver } = slowStore();
  saver.request();
  calls[0]!.reject(new Error("disk full"));
  await setImmediate();
  assert.deepEqual(states, ["saving", "disk full"]);
  assert.equal(calls.length, 1);
  saver.request();
  calls[1]!.resolve();
  await setImmediate();
  assert.deepEqual(states, ["saving", "disk full", "saving", "saved"]);
});

test("a failure with a newer state waiting tries that at once", async () => {
  const { calls, states, saver } = slowStore();
  saver.request();
  saver.request();
  calls[0]!.reject(new Error("disk full"));
  await setImmediate();
  calls[1]!.resolve();
  await setImmediate();
  assert.deepEqual(states, ["saving", "saving", "saved"]);
});
