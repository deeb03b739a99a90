/** Writes the seeds of native/fuzz, a folder for each fuzzer: node corpus.js FOLDER. Run by scripts/fuzz.mjs; not a test itself. */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

import { bmpSeeds, featureFileSeeds, pickleSeeds, torchLegacySeeds, torchZipSeeds } from "./seeds.js";

const seeds = {
  pickle: pickleSeeds(),
  pytorch_zip: torchZipSeeds(),
  pytorch_legacy: torchLegacySeeds(),
  feature_file: featureFileSeeds(),
  bmp: bmpSeeds(),
};
for (const [name, files] of Object.entries(seeds)) {
  const folder = path.join(process.argv[2]!, name);
  mkdirSync(folder, { recursive: true });
  files.forEach((bytes, i) => writeFileSync(path.join(folder, `seed-${i}`), bytes));
}
