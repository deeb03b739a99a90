import assert from "node:assert/strict";
import { test } from "node:test";

import type { DetectionBatch, Precision } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { config, devices } from "../golden/cases.js";
import { relativeDifference } from "../golden/compare.js";
import { formulaBackbone, formulaHeads } from "../golden/formula.js";
import { testing } from "../support/native.js";

const weights = [formulaBackbone("resnet18"), formulaHeads(384)] as const;
const [height, width] = [75, 109];
const pixelsOf = (count: number): Uint8Array =>
  Uint8Array.from({ length: count * height * width * 3 }, (_, i) => (i * 2654435761) >>> 24);

async function detect(
  precision: Precision,
  count: number,
  { device = "cpu", portable = false, compute = "lowResolution" as const } = {},
): Promise<DetectionBatch> {
  await testing().setPortable(portable);
  try {
    const detector = await engine().createDetector(
      { ...config("jims", compute, height, width, device), precision },
      ...weights,
    );
    try {
      return await detector.detect(pixelsOf(count), count);
    } finally {
      detector.dispose();
    }
  } finally {
    await testing().setPortable(false);
  }
}

for (const [where, options] of [
  ["portable", { portable: true }] as const,
  ...devices.filter((device) => device !== "cpu").map((device) => [device, { device }] as const),
]) {
  test(`detection with kernels, ${where}: pixels to blurred map equal the loops of the CPU, in batches too`, async () => {
    for (const count of [1, 3]) {
      const expected = await detect("float32", count);
      const actual = await detect("float32", count, options);
      assert.ok(relativeDifference(actual.maps, expected.maps) < 1e-5, `maps of ${count}`);
      assert.ok(relativeDifference(actual.scores, expected.scores) < 1e-5, `scores of ${count}`);
    }
  });

  test(`detection with kernels, ${where}: more images than are computed at once`, async () => {
    const expected = await detect("float32", 67);
    const actual = await detect("float32", 67, options);
    assert.equal(actual.scores.length, 67);
    assert.ok(relativeDifference(actual.maps, expected.maps) < 1e-5);
    assert.ok(relativeDifference(actual.scores, expected.scores) < 1e-5);
  });

  test(`detection with kernels, ${where}: reduced precision is near`, async () => {
    const expected = await detect("float32", 2);
    for (const precision of where === "portable" ? (["bfloat16"] as const) : (["bfloat16", "float16"] as const)) {
      const actual = await detect(precision, 2, options);
      const difference = relativeDifference(actual.maps, expected.maps);
      assert.ok(difference < 0.03 && difference > 1e-5, `${precision}: ${difference}`);
    }
  });
}

// Other pixels in each batch: a graph that is replayed sees them. Three sizes with room for two graphs: one is dropped and made again; with room for one, all are.
for (const device of devices.filter((name) => name !== "cpu")) {
  for (const precision of ["float32", "tf32", "bfloat16", "float16"] as const) {
    test(`detection with kernels, ${device}, ${precision}: with CUDA graphs as without`, async () => {
      const detectors = await Promise.all(
        [0, 2, 1].map((cudaGraphs) =>
          engine().createDetector(
            { ...config("jims", "lowResolution", height, width, device), precision, cudaGraphs },
            ...weights,
          ),
        ),
      );
      try {
        for (const [i, count] of [1, 1, 3, 1, 3, 3, 1, 2, 2, 1, 3, 2].entries()) {
          const pixels = pixelsOf(count).map((value) => (value * (i + 1)) % 256);
          const [expected, ...others] = await Promise.all(detectors.map((detector) => detector.detect(pixels, count)));
          for (const actual of others) {
            assert.deepEqual(actual.scores, expected!.scores, `scores of batch ${i}`);
            assert.deepEqual(actual.maps, expected!.maps, `maps of batch ${i}`);
          }
        }
      } finally {
        for (const detector of detectors) detector.dispose();
      }
    });
  }
}
