import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { test } from "node:test";

import { SuperSimpleNetError } from "../../lib/errors.js";
import { Budget } from "../../lib/images/budget.js";
import { isUnreadable } from "../../lib/images/unreadable.js";

/** Takes memory, and says which were given theirs so far. */
function taker(budget: Budget) {
  const started: string[] = [];
  const give: Record<string, () => void> = {};
  const take = async (name: string, bytes: number): Promise<void> => {
    give[name] = await budget.take(bytes, name);
    started.push(name);
  };
  return { started, give, take };
}

test("what does not fit waits, in the order of asking, until enough is given back", async () => {
  const budget = new Budget(100, () => Infinity);
  const { started, give, take } = taker(budget);
  const all = [take("a", 60), take("b", 60), take("c", 10), take("d", 30)];
  await nextTurn();
  assert.deepEqual(started, ["a"], "c would fit, but b asked first");
  give["a"]!();
  await nextTurn();
  assert.deepEqual(started, ["a", "b", "c", "d"]);
  assert.equal(budget.used, 100);
  await Promise.all(all);
  for (const name of ["b", "c", "d"]) give[name]!();
  assert.equal(budget.used, 0);
});

test("one that needs more than the whole budget is decoded alone", async () => {
  const budget = new Budget(100, () => Infinity);
  const { started, give, take } = taker(budget);
  const all = [take("small", 10), take("large", 500), take("after", 10)];
  await nextTurn();
  assert.deepEqual(started, ["small"]);
  give["small"]!();
  await nextTurn();
  assert.deepEqual(started, ["small", "large"]);
  give["large"]!();
  await Promise.all(all);
  assert.equal(budget.used, 10);
});

test("what was given back twice counts once, and a frame counts without waiting", async () => {
  const budget = new Budget(100, () => Infinity);
  const frame = budget.add(90);
  const { started, give, take } = taker(budget);
  const all = [take("first", 5), take("second", 20)];
  await nextTurn();
  assert.deepEqual(started, ["first"], "one always goes on");
  frame();
  frame();
  await Promise.all(all);
  assert.equal(budget.used, 25);
  give["first"]!();
  assert.equal(budget.used, 20);
});

test("a larger limit lets those that wait begin", async () => {
  const budget = new Budget(10, () => Infinity);
  const { started, take } = taker(budget);
  const all = [take("a", 10), take("b", 10)];
  await nextTurn();
  assert.deepEqual(started, ["a"]);
  budget.limit = 20;
  await Promise.all(all);
  assert.deepEqual(started, ["a", "b"]);
});

test("where memory ends, it waits for the others, and alone it fails before anything is allocated", async () => {
  let room = 50;
  const budget = new Budget(1000, () => room);
  const { started, give, take } = taker(budget);
  const all = [take("a", 40), take("b", 40)];
  await nextTurn();
  assert.deepEqual(started, ["a"]);
  give["a"]!();
  await Promise.all(all);
  give["b"]!();
  room = 30;
  const failure: unknown = await budget.take(40, "huge.png").catch((error: unknown) => error);
  assert.ok(failure instanceof SuperSimpleNetError && failure.code === "OUT_OF_MEMORY");
  assert.equal(failure.path, "huge.png");
  assert.match(failure.message, /huge\.png: it takes about 1 MiB.*'memoryMiB'/);
  assert.ok(isUnreadable(failure), "others may be small enough");
  assert.equal(budget.used, 0, "the next one is not held up");
});

test("frames that never wait do not keep a large file out", async () => {
  const budget = new Budget(100, () => Infinity);
  let frame = budget.add(10);
  const { started, give, take } = taker(budget);
  const all = [take("large", 150), take("after", 5)];
  await nextTurn();
  assert.deepEqual(started, ["large"]);
  const next = budget.add(10);
  frame();
  frame = next;
  give["large"]!();
  await Promise.all(all);
  frame();
  assert.equal(budget.used, 5);
});
