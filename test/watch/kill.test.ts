import { test } from "node:test";

import { scratchFolder, smallDataset, tinier, train } from "../training/support.js";
import { killWatch } from "./kill.js";

const folder = scratchFolder();

// The long form is benchmarks/watch_kills.ts.
test(
  "killed at random moments: every image once in the CSV, or marked; nothing lost",
  { timeout: 180_000 },
  async () => {
    const model = await train(await smallDataset(folder), tinier);
    await killWatch(folder, model, { images: 60, kills: 5, seed: 1, moved: true });
  },
);
