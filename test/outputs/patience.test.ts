import assert from "node:assert/strict";
import { test } from "node:test";

import { Patience } from "../../lib/outputs/patience.js";

function held(): { record: Promise<void>; end: () => void; fail: () => void } {
  let end!: () => void;
  let fail!: () => void;
  const record = new Promise<void>((resolve, reject) => {
    end = resolve;
    fail = () => reject(new Error("given up"));
  });
  return { record, end, fail };
}

/** Whether it has resolved once the timers before it were served. */
async function isOver(waiting: Promise<unknown>): Promise<boolean> {
  let over = false;
  void waiting.then(() => (over = true));
  for (let i = 0; i < 10; i++) await Promise.resolve();
  return over;
}

test("a record is waited for a second, the next ones hardly until it has ended", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const patience = new Patience();
  const quick = held();
  const waiting = patience.wait(quick.record);
  t.mock.timers.tick(999);
  assert.equal(await isOver(waiting), false);
  quick.end();
  await waiting;

  const stuck = held();
  const first = patience.wait(stuck.record);
  t.mock.timers.tick(1000);
  await first;
  const next = held();
  const second = patience.wait(next.record);
  t.mock.timers.tick(1);
  await second;

  stuck.fail();
  next.end();
  assert.ok(await isOver(patience.last()));
  const later = held();
  const third = patience.wait(later.record);
  t.mock.timers.tick(500);
  assert.equal(await isOver(third), false, "the disk has room again");
  later.fail();
  await third;
});

test("at the end, late records are waited for once more", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const patience = new Patience();
  const stuck = held();
  const waiting = patience.wait(stuck.record);
  t.mock.timers.tick(1000);
  await waiting;
  const last = patience.last();
  t.mock.timers.tick(999);
  assert.equal(await isOver(last), false);
  t.mock.timers.tick(1);
  await last;
});
