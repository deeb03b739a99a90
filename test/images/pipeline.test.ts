import assert from "node:assert/strict";
import { test } from "node:test";

import { prefetch } from "../../lib/images/pipeline.js";
import { readyBatches } from "../../lib/images/stream.js";
import { failure } from "../datasets/files.js";

const later = <T>(value: T, turns: number): Promise<T> => new Promise((resolve) => setTimeout(resolve, turns, value));
const collect = async <T>(source: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const value of source) all.push(value);
  return all;
};

test("keeps the order although later items finish first", async () => {
  const result = await collect(prefetch([5, 1, 3, 0, 2], (n, index) => later(`${index}:${n}`, n * 3), { ahead: 5 }));
  assert.deepEqual(result, ["0:5", "1:1", "2:3", "3:0", "4:2"]);
  assert.deepEqual(await collect(prefetch([], () => later(0, 0))), []);
});

test("never loads more than `ahead` beyond the item in hand, and does load that many", async () => {
  let started = 0;
  let taken = 0;
  for await (const index of prefetch(Array(20).keys(), async (i) => (started++, i), { ahead: 3 })) {
    assert.equal(index, taken++);
    assert.equal(started, Math.min(20, taken + 3));
  }
  assert.equal(taken, 20);
});

test("throws the first failure in order, after what came before it", async () => {
  const seen: number[] = [];
  const load = async (n: number): Promise<number> => {
    if (n === 2) await later(0, 10);
    if (n >= 2) throw new Error(`bad ${n}`);
    return n;
  };
  await assert.rejects(async () => {
    for await (const n of prefetch([0, 1, 2, 3, 4], load)) seen.push(n);
  }, /bad 2/);
  assert.deepEqual(seen, [0, 1]);
});

test("a load that throws at once is a failure like any other", async () => {
  const load = (n: number): Promise<number> => {
    if (n === 1) throw new Error("sync");
    return Promise.resolve(n);
  };
  const iterator = prefetch([0, 1], load);
  assert.deepEqual(await iterator.next(), { value: 0, done: false });
  await assert.rejects(iterator.next(), /sync/);
});

test("a signal of another implementation", async () => {
  const listeners = new Set<() => void>();
  const signal = {
    aborted: false,
    reason: undefined as unknown,
    addEventListener: (_: string, f: () => void) => listeners.add(f),
    removeEventListener: (_: string, f: () => void) => listeners.delete(f),
  };
  const iterator = prefetch([0, 1], (n) => (n === 0 ? later(n, 1) : new Promise<number>(() => undefined)), {
    signal: signal as unknown as AbortSignal,
  });
  assert.equal((await iterator.next()).value, 0);
  const waiting = iterator.next();
  setTimeout(() => listeners.forEach((listener) => listener()), 5);
  await assert.rejects(waiting, failure("ABORTED"));
});

test("a source that throws: what came before it is still loaded", async () => {
  function* source(): Generator<number> {
    yield* [0, 1];
    throw new Error("no more");
  }
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const n of prefetch(source(), (n) => later(n, 5), { ahead: 4 })) seen.push(n);
  }, /no more/);
  assert.deepEqual(seen, [0, 1]);
});

test("leaving early starts nothing more, ends the source, and leaves no unhandled rejection", async (t) => {
  const unhandled: unknown[] = [];
  const listener = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", listener);
  t.after(() => process.off("unhandledRejection", listener));
  let started = 0;
  let closed = false;
  function* source(): Generator<number> {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      closed = true;
    }
  }
  const load = async (n: number): Promise<number> => {
    started++;
    if (n > 0) throw new Error("nobody listens");
    return n;
  };
  for await (const _ of prefetch(source(), load, { ahead: 4 })) break;
  await later(0, 5);
  assert.equal(started, 5);
  assert.equal(closed, true);
  assert.deepEqual(unhandled, []);
});

test("a signal ends the waiting for a load that hangs; its reason is the cause", async () => {
  const controller = new AbortController();
  const reason = new Error("user pressed stop");
  const hanging = collect(prefetch([1, 2], () => new Promise<never>(() => undefined), { signal: controller.signal }));
  setTimeout(() => controller.abort(reason), 1);
  await assert.rejects(hanging, (error: Error) => failure("ABORTED")(error) && error.cause === reason);

  let started = 0;
  await assert.rejects(
    collect(prefetch([1], async () => started++, { signal: AbortSignal.abort() })),
    failure("ABORTED"),
  );
  assert.equal(started, 0);
});

test("a signal that fires while the consumer works stops at the next step", async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const n of prefetch([0, 1, 2, 3], async (i) => i, { signal: controller.signal })) {
      seen.push(n);
      if (n === 1) controller.abort();
    }
  }, failure("ABORTED"));
  assert.deepEqual(seen, [0, 1]);
});

test("a depth that is no count is refused", async () => {
  await assert.rejects(collect(prefetch([1], async (n) => n, { ahead: -1 })), /ahead is a count of items/);
});

test("without a depth an item is loaded when it is asked for", async () => {
  let started = 0;
  for await (const index of prefetch([0, 1, 2], async (i) => (started++, i), { ahead: 0 }))
    assert.equal(started, index + 1);
  started = 0;
  const live = (async function* () {
    yield* [0, 1, 2];
  })();
  for await (const [index] of readyBatches(live, async (i) => (started++, i), { ahead: 0, batch: 1 }))
    assert.equal(started, index! + 1);
  assert.equal(started, 3);
});

test("what was loaded and not taken is dropped, when the loop is left and when it is aborted", async () => {
  for (const leave of ["break", "abort"])
    for (const live of [false, true]) {
      const dropped: number[] = [];
      const controller = new AbortController();
      const options = {
        ahead: 2,
        batch: 1,
        signal: controller.signal,
        drop: (n: number | number[]) => dropped.push(+n),
      };
      const load = (n: number): Promise<number> => later(n, n === 0 ? 0 : 5);
      const items = (async function* () {
        yield* [0, 1, 2, 3];
      })();
      const loop = async (): Promise<void> => {
        for await (const _ of live ? readyBatches(items, load, options) : prefetch([0, 1, 2, 3], load, options)) {
          if (leave === "break") break;
          setImmediate(() => controller.abort());
        }
      };
      if (leave === "break") await loop();
      else await assert.rejects(loop(), failure("ABORTED"));
      await later(0, 40);
      assert.ok(dropped.includes(1), `${leave}, live: ${live}`);
    }
});
