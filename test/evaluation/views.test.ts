import assert from "node:assert/strict";
import { before, test } from "node:test";

import sharp from "sharp";

import { type Dataset, Detector, evaluate, type Evaluation, type Model, type Sample } from "../../lib/index.js";
import { heatOverImagePng } from "../../lib/report/overlay.js";
import { plainView, type View } from "../../lib/schema/view.js";
import { failure } from "../datasets/files.js";
import { scratchFolder, smallDataset, train } from "../training/support.js";

const folder = scratchFolder();
let data: Dataset;
let model: Model;
before(async () => {
  data = await smallDataset(folder);
  model = await train(data, { epochs: 2 });
});

async function through<T>(view: Partial<View>, use: (detector: Detector) => Promise<T>, options = {}): Promise<T> {
  const before = model.config.view;
  model.config.view = { ...plainView, ...view };
  const detector = await Detector.load(model, options).finally(() => (model.config.view = before));
  return use(detector).finally(() => detector.dispose());
}
const evaluated = (view: Partial<View>, of: Dataset = data): Promise<Evaluation> =>
  through(view, (detector) => evaluate(detector, of));

test("strips and whole maps give the same metrics, within the bound that is told", async () => {
  const plain = await evaluated({});
  assert.equal(plain.pixelErrorBound, undefined);
  const whole = await evaluated({ roi: { x: 0, y: 0, width: 64, height: 64 } });
  const bound = whole.pixelErrorBound!;
  for (const [name, of] of [
    ["pixelAuroc", "auroc"],
    ["pixelAveragePrecision", "averagePrecision"],
    ["aupro", "aupro"],
  ] as const) {
    const difference = Math.abs(plain.metrics[name]! - whole.metrics[name]!);
    assert.ok(difference <= bound[of] + 1e-12 && bound[of] < 1e-3, `${name}: ${difference}, bound ${bound[of]}`);
  }
  const { pixelAuroc: _, pixelAveragePrecision: __, aupro: ___, ...scores } = plain.metrics;
  const { pixelAuroc: a, pixelAveragePrecision: b, aupro: c, ...same } = whole.metrics;
  assert.deepEqual(same, scores);
  assert.ok(a && b && c);
});

test("ignored pixels are in no metric; where they hide all defects there is none to find", async () => {
  const all = await evaluated({ ignore: { x: 0, y: 0, width: 64, height: 63 } });
  assert.equal(all.metrics.pixelAuroc === null || all.notes.some((note) => note.includes("empty mask")), true);
  const own: Sample[] = data.samples.map((sample) => ({ ...sample, roi: { x: 8, y: 8, width: 40, height: 40 } }));
  const part = await evaluated({}, { ...data, samples: own });
  assert.ok(part.pixelErrorBound);
});

test("several scales: what each alone is worth", async () => {
  const tiles = { size: 64, overlap: 0, scales: ["whole", 1] as (number | "whole")[] };
  const { scales, samples } = await evaluated({ scale: 2, tiles });
  assert.deepEqual(
    scales?.map(({ scale }) => scale),
    [1, "whole"],
  );
  for (const { logit, scales: each } of samples) assert.equal(logit, Math.max(...each!.map((one) => one.logit)));
  assert.equal((await evaluated({})).scales, undefined);
});

test("maps of another size than the network sees are refused", async () => {
  await assert.rejects(
    through({ scale: 2, tiles: { size: 64, overlap: 0, scales: [1] } }, (detector) => evaluate(detector, data), {
      mapSize: "none",
    }),
    failure("INVALID_OPTION", "mapSize"),
  );
});

test("a heat map over its image lies where the map does", async () => {
  const map = { data: new Float32Array(4).fill(1), width: 2, height: 2, area: { x: 20, y: 5, width: 10, height: 10 } };
  const png = await heatOverImagePng({ map, width: 40, height: 20 }, { low: 0, high: 1 });
  const { data: pixels, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [8, 4, 4]);
  for (let y = 0; y < 4; y++)
    for (let x = 0; x < 8; x++) {
      const inside = x >= 4 && x < 6 && y >= 1 && y < 3;
      assert.equal(pixels[(y * 8 + x) * 4 + 3], inside ? 255 : 0, `${x},${y}`);
    }
  const whole = { ...map, area: { x: 0, y: 0, width: 40, height: 20 } };
  const plain = await sharp(
    await heatOverImagePng({ map: whole, width: 40, height: 20 }, { low: 0, high: 1 }),
  ).metadata();
  assert.deepEqual([plain.width, plain.height], [2, 2]);
});
