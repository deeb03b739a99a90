import assert from "node:assert/strict";
import { test } from "node:test";

import { hash32, Random } from "../../lib/random.js";

/** xoshiro128** written again over BigInt, from the paper's listing. */
function reference(state: bigint[], count: number): number[] {
  const mask = (1n << 32n) - 1n;
  const rotl = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (32n - k))) & mask;
  const out: number[] = [];
  for (let i = 0; i < count; i++) {
    out.push(Number((rotl((state[1]! * 5n) & mask, 7n) * 9n) & mask));
    const t = (state[1]! << 9n) & mask;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= t;
    state[3] = rotl(state[3]!, 11n);
  }
  return out;
}

test("the generator is xoshiro128**", () => {
  // The first numbers from the state 1, 2, 3, 4, as other implementations publish them.
  assert.deepEqual(reference([1n, 2n, 3n, 4n], 4), [11520, 0, 5927040, 70819200]);
  const text = ["n7", "sx"].join("\u0000");
  const state = [0, 1, 2, 3].map((i) => BigInt(hash32(`${i}\u0000${text}`)));
  const random = new Random(7, "x");
  assert.deepEqual(
    Array.from({ length: 200 }, () => random.uint32()),
    reference(state, 200),
  );
});

test("streams repeat, and differ by seed and by every key", () => {
  const first = (...args: ConstructorParameters<typeof Random>): number => new Random(...args).uint32();
  assert.equal(first(1, "a", 2), first(1, "a", 2));
  const all = [
    first(0),
    first(1),
    first(2 ** 40),
    first(0, "a"),
    first(0, "b"),
    first(0, "a", 0),
    first(0, "a", 1),
    first(0, "1"),
    first(0, 1),
  ];
  assert.equal(new Set(all).size, all.length);
});

test("integers are uniform, normals have unit variance", () => {
  const random = new Random(3);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 70_000; i++) counts[random.integer(7)]!++;
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 450, String(counts));
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < 50_000; i++) {
    const z = random.normal();
    sum += z;
    squares += z * z;
  }
  assert.ok(Math.abs(sum / 50_000) < 0.02);
  assert.ok(Math.abs(squares / 50_000 - 1) < 0.03);
  for (let i = 0; i < 1000; i++) {
    const u = random.uniform(2, 3);
    assert.ok(u >= 2 && u < 3);
  }
});

test("shuffling keeps every item, leaves the input alone and reaches every order", () => {
  const items = [1, 2, 3];
  const seen = new Map<string, number>();
  for (let seed = 0; seed < 1200; seed++) {
    const key = new Random(seed, "shuffle").shuffled(items).join("");
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  assert.deepEqual(items, [1, 2, 3]);
  assert.deepEqual([...seen.keys()].sort(), ["123", "132", "213", "231", "312", "321"]);
  for (const count of seen.values()) assert.ok(count > 140 && count < 260, String([...seen]));
});
