import assert from "node:assert/strict";
import { test } from "node:test";

import { testElsewhere } from "../golden/cases.js";
import { philox, tag } from "./philox.js";
import { testing } from "../support/native.js";

/** Box-Muller as native/anomalies/latent_noise.cc lays it out, in float64. Purpose 3: shared vectors, by their number. */
function oracle(seed: number, step: number, sample: number, position: number, channel: number, purpose = 2): number {
  const group = Math.floor(channel / 32);
  const word = Math.floor((channel % 32) / 8);
  const words = philox([8 * group + (channel % 8), position, tag(purpose, sample), step], BigInt(seed));
  const [first, second] = word < 2 ? [words[0], words[1]] : [words[2], words[3]];
  const radius = Math.sqrt(-2 * Math.log(Math.floor(first / 2) * 2 ** -31 + 2 ** -32));
  const quadrant = Math.floor(second / 2 ** 30);
  const angle = (Math.PI / 2) * quadrant + ((second << 2) / 2 ** 31) * (Math.PI / 4);
  return radius * (word % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
}

test("the oracle's Philox gives the known answers of its authors", () => {
  const hex = (words: number[]): string => words.map((w) => w.toString(16).padStart(8, "0")).join(" ");
  assert.equal(hex(philox([0, 0, 0, 0], 0n)), "6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  assert.equal(
    hex(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], 0x299f31d0a4093822n)),
    "d16cfe09 94fdcceb 5001e420 24126ea1",
  );
});

test("latent noise is Box-Muller over Philox, addressed by seed, step, sample, position and channel", () => {
  const positions = Int32Array.from([0, 5, 4095, 2 ** 31 - 1]);
  for (const [seed, step, sample, channels] of [
    [0, 0, 0, 384],
    [2 ** 40 + 12345, 70001, 63, 300],
    [7, 3, 1, 5],
  ] as const) {
    const noise = testing().latentNoise(seed, step, sample, positions, channels);
    assert.equal(noise.length, positions.length * channels);
    positions.forEach((position, row) => {
      for (let c = 0; c < channels; c++) {
        const expected = oracle(seed, step, sample, position, c);
        assert.ok(
          Math.abs(noise[row * channels + c]! - expected) < 2e-6 * Math.max(1, Math.abs(expected)),
          `seed ${seed} position ${position} channel ${c}: ${noise[row * channels + c]} for ${expected}`,
        );
      }
    });
  }
});

test("a value does not depend on the other positions asked for, nor on the number of channels", () => {
  const all = testing().latentNoise(
    1,
    2,
    3,
    Int32Array.from({ length: 500 }, (_, i) => i),
    96,
  );
  const some = testing().latentNoise(1, 2, 3, Int32Array.from([499, 17]), 96);
  assert.deepEqual(some.subarray(0, 96), all.subarray(499 * 96));
  assert.deepEqual(some.subarray(96), all.subarray(17 * 96, 18 * 96));
  const narrow = testing().latentNoise(1, 2, 3, Int32Array.from([17]), 33);
  assert.deepEqual(narrow, all.slice(17 * 96, 17 * 96 + 33));
});

test("seed, step and sample each pick another stream", () => {
  const at = Int32Array.from([9]);
  const streams = [
    [1, 2, 3],
    [4, 2, 3],
    [1, 4, 3],
    [1, 2, 4],
    [2 ** 32 + 1, 2, 3],
  ].map(([seed, step, sample]) => testing().latentNoise(seed!, step!, sample!, at, 8).join());
  assert.equal(new Set(streams).size, streams.length);
});

test("latent noise has the moments of a unit normal and uncorrelated neighbours", () => {
  const channels = 512;
  const count = 2000;
  const noise = testing().latentNoise(
    5,
    0,
    0,
    Int32Array.from({ length: count }, (_, i) => i),
    channels,
  );
  const n = noise.length; // about a million: one standard error of the mean is 0.001
  const sums = { mean: 0, variance: 0, skew: 0, kurtosis: 0, nextChannel: 0, nextWord: 0, nextPosition: 0, tail: 0 };
  noise.forEach((z, i) => {
    sums.mean += z;
    sums.variance += z * z;
    sums.skew += z ** 3;
    sums.kurtosis += z ** 4;
    sums.nextChannel += z * (noise[i + 1] ?? 0);
    sums.nextWord += z * (noise[i + 8] ?? 0);
    sums.nextPosition += z * (noise[i + channels] ?? 0);
    sums.tail += Number(Math.abs(z) > 3);
  });
  assert.ok(Math.abs(sums.mean / n) < 0.005);
  assert.ok(Math.abs(sums.variance / n - 1) < 0.007);
  assert.ok(Math.abs(sums.skew / n) < 0.02);
  assert.ok(Math.abs(sums.kurtosis / n - 3) < 0.05);
  assert.ok(Math.abs(sums.tail / n - 0.0027) < 0.0003);
  for (const correlation of [sums.nextChannel, sums.nextWord, sums.nextPosition])
    assert.ok(Math.abs(correlation / n) < 0.005);
});

test("a sample or step outside its counter word is refused, not wrapped", () => {
  assert.throws(() => testing().latentNoise(0, 2 ** 32, 0, Int32Array.from([0]), 4), { code: "INTERNAL" });
  assert.throws(() => testing().latentNoise(0, 0, 2 ** 24, Int32Array.from([0]), 4), { code: "INTERNAL" });
});

testElsewhere("the same noise, bit for bit", { skip: false }, async (device) => {
  const positions = Int32Array.from([0, 5, 4095, 2 ** 31 - 1]);
  const actual = [384, 300, 5].map((channels) =>
    testing().latentNoise(2 ** 40 + 12345, 70001, 63, positions, channels, device),
  );
  await testing().setPortable(false);
  assert.deepEqual(
    actual,
    [384, 300, 5].map((channels) => testing().latentNoise(2 ** 40 + 12345, 70001, 63, positions, channels)),
  );
});

const first = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

test("shared noise vectors are normals of their own streams, which seed and step alone pick", () => {
  const [seed, step, channels, vectors] = [2 ** 40 + 5, 70001, 40, 6];
  const { vectors: drawn } = testing().sharedNoise(seed, step, 17, first(3), channels, vectors);
  assert.deepEqual(drawn.shape, [vectors, channels]);
  for (let v = 0; v < vectors; v++)
    for (let c = 0; c < channels; c++) {
      const expected = oracle(seed, step, 0, v, c, 3);
      assert.ok(Math.abs(Number(drawn.data[v * channels + c]) - expected) < 2e-6 * Math.max(1, Math.abs(expected)));
    }
  // As processes that share a batch need it.
  assert.deepEqual(testing().sharedNoise(seed, step, 3, first(9), channels, vectors).vectors, drawn);
  assert.notDeepEqual(testing().sharedNoise(seed, step + 1, 17, first(3), channels, vectors).vectors, drawn);
});

test("a position's choice of a shared vector and its sign depend on seed, step, sample and position alone", () => {
  const [seed, step, sample, vectors] = [77, 12, 5, 512];
  const { index, weight } = testing().sharedNoise(seed, step, sample, first(2000), 4, vectors);
  const counts = new Uint32Array(vectors);
  let positive = 0;
  for (let p = 0; p < 2000; p++) {
    const words = philox([0, p, tag(4, sample), step], BigInt(seed));
    assert.equal(index.data[p], Math.floor((words[0] * vectors) / 2 ** 32));
    assert.equal(weight.data[p], words[1] % 2 === 1 ? -1 : 1);
    counts[Number(index.data[p])]!++;
    positive += Number(weight.data[p] === 1);
  }
  // 4 positions a vector on average: Poisson.
  assert.ok(Math.max(...counts) < 16 && counts.filter((count) => count === 0).length < 40);
  assert.ok(Math.abs(positive - 1000) < 120);
  const some = testing().sharedNoise(seed, step, sample, Int32Array.from([1234, 7]), 4, vectors);
  assert.deepEqual([...some.index.data], [index.data[1234], index.data[7]]);
});

testElsewhere("the same shared noise, bit for bit", { skip: false }, async (device) => {
  const positions = Int32Array.from([0, 5, 4095, 2 ** 31 - 1]);
  const actual = testing().sharedNoise(2 ** 40 + 12345, 70001, 63, positions, 300, 9, device);
  await testing().setPortable(false);
  assert.deepEqual(actual, testing().sharedNoise(2 ** 40 + 12345, 70001, 63, positions, 300, 9));
});
