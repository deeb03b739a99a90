import assert from "node:assert/strict";
import { test } from "node:test";

import type { TargetOptions } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { randomMask } from "./masks.js";
import { testing } from "../support/native.js";

type Plane = { height: number; width: number; data: ArrayLike<number> };

function bilinear(plane: Plane, height: number, width: number, alignCorners: boolean): Plane {
  const source = (i: number, from: number, to: number): [number, number, number] => {
    const at = alignCorners ? (to > 1 ? (i * (from - 1)) / (to - 1) : 0) : Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const low = Math.min(Math.floor(at + 1e-12), from - 1);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  const data = new Float64Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [y0, y1, ty] = source(y, plane.height, height);
      const [x0, x1, tx] = source(x, plane.width, width);
      const at = (r: number, c: number): number => plane.data[r * plane.width + c]!;
      data[y * width + x] =
        (1 - ty) * ((1 - tx) * at(y0, x0) + tx * at(y0, x1)) + ty * ((1 - tx) * at(y1, x0) + tx * at(y1, x1));
    }
  }
  return { height, width, data };
}

function flipped({ height, width, data }: Plane, flip: number): Plane {
  const out = Float64Array.from({ length: height * width }, (_, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    return data[(flip & 1 ? height - 1 - y : y) * width + (flip & 2 ? width - 1 - x : x)]!;
  });
  return { height, width, data: out };
}

const base: TargetOptions = {
  imageHeight: 24,
  imageWidth: 32,
  featureHeight: 6,
  featureWidth: 8,
  alignCorners: true,
  dilation: 0,
  distanceWeight: { w: 3, p: 2 },
  flips: [0, 1, 2, 3],
};

for (const change of [
  {},
  { alignCorners: false },
  { dilation: 7 },
  { distanceWeight: null },
  { imageHeight: 17, imageWidth: 50, featureHeight: 1, featureWidth: 9 },
]) {
  test(`targets follow docs/method.md, step by step: ${JSON.stringify(change)}`, async () => {
    const options: TargetOptions = { ...base, ...change };
    const [height, width] = [37, 45];
    const blob = randomMask(height, width, 0.01, 4);
    const mask = testing().dilate(blob, height, width, 9);
    const targets = await engine().trainingTargets(mask, height, width, options);

    const dilated = testing().dilate(mask, height, width, options.dilation);
    const weight = options.distanceWeight
      ? testing().distanceWeight(dilated, height, width, options.distanceWeight.w, options.distanceWeight.p)
      : new Float32Array(height * width).fill(1);
    const nearest = Float64Array.from({ length: options.imageHeight * options.imageWidth }, (_, i) => {
      const y = Math.floor(Math.floor(i / options.imageWidth) * (height / options.imageHeight));
      const x = Math.floor((i % options.imageWidth) * (width / options.imageWidth));
      return dilated[y * width + x]!;
    });
    const imageMask: Plane = { height: options.imageHeight, width: options.imageWidth, data: nearest };
    const imageWeight = bilinear({ height, width, data: weight }, options.imageHeight, options.imageWidth, false);
    assert.equal(targets.length, options.flips.length);
    options.flips.forEach((flip, t) => {
      const soft = bilinear(
        flipped(imageMask, flip),
        options.featureHeight,
        options.featureWidth,
        options.alignCorners,
      ).data;
      const expectedWeight = bilinear(
        flipped(imageWeight, flip),
        options.featureHeight,
        options.featureWidth,
        true,
      ).data;
      const { mask: gotMask, weight: gotWeight } = targets[t]!;
      for (let i = 0; i < soft.length; i++) {
        if (Math.abs(soft[i]! - 0.5) > 1e-5)
          assert.equal(gotMask[i], soft[i]! < 0.5 ? 0 : 1, `mask of flip ${flip} at ${i}`);
        assert.ok(
          Math.abs(gotWeight[i]! - expectedWeight[i]!) < 1e-4,
          `weight of flip ${flip} at ${i}: ${gotWeight[i]} for ${expectedWeight[i]}`,
        );
      }
    });
  });
}

test("an empty mask gives an empty target of weight 1, whatever the sizes", async () => {
  for (const [height, width] of [
    [1, 1],
    [300, 2],
    [5, 700],
  ] as const) {
    const [target] = await engine().trainingTargets(new Uint8Array(height * width), height, width, {
      ...base,
      dilation: 7,
      flips: [3],
    });
    assert.ok(target!.mask.every((v) => v === 0) && target!.weight.every((v) => v === 1));
  }
});
