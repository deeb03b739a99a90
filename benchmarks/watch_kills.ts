// kill -9 of watch at random moments: every image once in the CSV, or marked, and none lost (docs/guides/watch.md).
//   node dist/benchmarks/watch_kills.js [--kills 50] [--images 500] [--seed 1]
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { datasets, Trainer } from "../lib/index.js";
import { killWatch } from "../test/watch/kill.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    images: { type: "string", default: "500" },
    seed: { type: "string", default: "1" },
  },
});

async function main(): Promise<void> {
  const [kills, images, seed] = [values.kills, values.images, values.seed].map(Number) as [number, number, number];
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-watch-"));
  try {
    const data = await datasets.generated(path.join(folder, "data"), { imageSize: [64, 64], trainNormal: 6 });
    const model = await new Trainer({
      backbone: "resnet18",
      backboneWeights: "random",
      imageSize: [32, 32],
      batchSize: 4,
      epochs: 1,
      calibration: { fraction: 0 },
    }).fit(data);
    for (const moved of [false, true]) {
      const scratch = path.join(folder, String(moved));
      const result = await killWatch(scratch, model, { images, kills, seed, moved });
      console.log(JSON.stringify({ benchmark: "watch kills", node: process.version, seed, moved, ...result }));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
