import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { decodingBudget } from "../../lib/images/budget.js";
import { Detector, Model } from "../../lib/index.js";
import { plainView } from "../../lib/schema/view.js";
import { scratchFolder } from "../training/support.js";
import { ask, modelFile, pngImage, served } from "./support.js";

const folder = scratchFolder();
let file: string;
before(async () => {
  const model = await Model.load(await modelFile(folder));
  model.config.view = { ...plainView, scale: 1, tiles: { size: 64, overlap: 16, scales: [1] } };
  file = path.join(folder, "tiled.safetensors");
  await model.save(file, { embedBackbone: true });
});

test("a model that sees tiles: many clients at once in little memory, some of whom leave, and nothing is kept", async () => {
  // One image does not fit: they are judged one after another, and none may wait for memory that others hold for ever.
  const before = decodingBudget().limit;
  const { url } = await served({ models: { part: file }, batchSize: 4, memoryMiB: 1 });
  try {
    const address = `${url}/api/v1/models/part/detect`;
    const image = await pngImage(400, 640);
    const detector = await Detector.load(file, { threads: 1, device: "cpu" });
    const { logit } = await detector.detect(image);
    const leaving = Array.from({ length: 4 }, async (_, i) => {
      const controller = new AbortController();
      const asked = ask(address, { body: image, signal: controller.signal }).catch(() => undefined);
      await sleep(20 * i);
      controller.abort();
      await asked;
    });
    const staying = Array.from({ length: 6 }, () => ask(address, { body: image }));
    for (const { status, json } of await Promise.all(staying)) {
      assert.equal(status, 200);
      assert.equal(json.logit, logit);
      assert.deepEqual([json.width, json.height], [400, 640]);
    }
    await Promise.all(leaving);
    const small = await ask(address, { body: await pngImage(60, 640) });
    assert.equal(small.status, 422);
    assert.equal(small.json.error.code, "VIEW_MISMATCH");
    for (let i = 0; decodingBudget().used > 0 && i < 500; i++) await sleep(10);
    assert.equal(decodingBudget().used, 0);
  } finally {
    decodingBudget().limit = before;
  }
});
