import assert from "node:assert/strict";
import { test } from "node:test";

import { scaleRegion } from "../../lib/detection/judged.js";

const whole = { area: 224 * 112, peak: 1, peakX: 111, peakY: 223, x: 0, y: 0, width: 112, height: 224 };

test("an edge on a whole pixel of the image stays there", () => {
  const { x, y, width, height, area } = scaleRegion(
    whole,
    { width: 224, height: 224 },
    { x: 0, y: 0, width: 58, height: 58 },
  );
  assert.deepEqual([x, y, width, height, area], [0, 0, 29, 58, 29 * 58]);
});

test("every edge is the exact one, rounded outwards", () => {
  for (const map of [224, 256, 300]) {
    for (let image = 1; image <= 2 * map; image += 7) {
      for (let edge = 1; edge <= map; edge++) {
        const exact = Number((BigInt(edge) * BigInt(image) + BigInt(map - 1)) / BigInt(map));
        const { width } = scaleRegion(
          { ...whole, width: edge },
          { width: map, height: map },
          { x: 0, y: 0, width: image, height: image },
        );
        assert.equal(width, exact, `${edge} of ${map} in ${image}`);
      }
    }
  }
});
