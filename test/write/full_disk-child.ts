// Run by full_disk.test.ts, with a small file system at the given folder that may be filled.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { datasets, type Dataset, type EpochEvent, Model, Trainer } from "../../lib/index.js";
import { checkpointFile } from "../../lib/training/checkpoint.js";
import { checkpointPace } from "../../lib/training/checkpoint_writer.js";
import { writeWholeFile } from "../../lib/write.js";
import { failure } from "../datasets/files.js";
import { fillDisk } from "../support/mounts.js";
import { tinier } from "../training/support.js";

const MiB = 2 ** 20;
const small = process.argv[2]!;
const filler = path.join(small, "filler");

const fill = (free: number): void => fillDisk(filler, free);

const found = (): string[] => readdirSync(small).filter((name) => name !== "filler");

async function wholeFile(): Promise<void> {
  const file = path.join(small, "report.csv");
  await writeWholeFile(file, "old");
  fill(MiB);
  await assert.rejects(writeWholeFile(file, Buffer.alloc(2 * MiB)), failure("NO_SPACE", "report.csv: no space left"));
  assert.deepEqual(found(), ["report.csv"]);
  assert.equal(readFileSync(file, "utf8"), "old");
}

async function model(trained: Model): Promise<void> {
  const file = path.join(small, "model.safetensors");
  await trained.save(file);
  const before = readFileSync(file);
  fill(MiB);
  await assert.rejects(trained.save(file), {
    code: "NO_SPACE",
    path: file,
    message: /model\.safetensors: no space left/,
  });
  assert.deepEqual(found(), ["model.safetensors"]);
  assert.ok(before.equals(readFileSync(file)));
  assert.deepEqual((await Model.load(file)).config, trained.config);
}

async function checkpoint(data: Dataset, expected: Model): Promise<void> {
  const out = path.join(small, "run");
  Object.assign(checkpointPace, { leastSeconds: 0, timesItsCost: 0 });
  const fillUp = async ({ epoch }: EpochEvent): Promise<void> => {
    while (!existsSync(checkpointFile(out))) await sleep(1);
    if (epoch === 1) fill(MiB);
  };
  await assert.rejects(
    new Trainer({ ...tinier, epochs: 2 }).fit(data, { out, onEpoch: fillUp }),
    failure("NO_SPACE", `${out}`),
  );
  assert.equal(readdirSync(out).length, 1, "no temporary file is left");
  rmSync(filler);
  const epochs: number[] = [];
  const resumed = await new Trainer({ ...tinier, epochs: 2 }).fit(data, {
    out,
    resume: true,
    onEpoch: ({ epoch }) => void epochs.push(epoch),
  });
  assert.equal(epochs.at(-1), 2);
  assert.deepEqual(resumed.heads, expected.heads);
}

async function featureCache(data: Dataset, expected: Model): Promise<void> {
  const options = {
    ...tinier,
    epochs: 2,
    cache: { memoryMiB: 0, fileMiB: 64, dir: path.join(small, "features") },
  };
  const train = async (): Promise<{ warnings: string[]; model: Model; kept: number }> => {
    const warnings: string[] = [];
    let kept = 0;
    const onEpoch = (event: EpochEvent): void => {
      warnings.push(...event.warnings);
      kept += event.features.file;
    };
    return {
      model: await new Trainer(options).fit(data, { onStart: (event) => warnings.push(...event.warnings), onEpoch }),
      warnings,
      kept,
    };
  };
  // An image's features take 24 KiB: some have room.
  fill(100 * 1024);
  const full = await train();
  assert.deepEqual(full.model.heads, expected.heads);
  assert.equal(
    full.warnings.filter((text) => /cannot be written \(No space left on device\)/.test(text)).length,
    1,
    full.warnings.join("\n"),
  );
  rmSync(filler);
  const later = await train();
  assert.deepEqual(later.model.heads, expected.heads);
  assert.ok(later.kept > full.kept, `${later.kept} after ${full.kept}`);
  assert.doesNotMatch(later.warnings.join("\n"), /damaged|cannot be written/);
}

async function main(): Promise<void> {
  const data = await datasets.generated(path.join(path.dirname(small), "data"), {
    imageSize: [64, 64],
    trainNormal: 6,
    trainAnomalous: 2,
    testNormal: 1,
    testAnomalous: 1,
    seed: 3,
  });
  const trained = await new Trainer({ ...tinier, epochs: 2 }).fit(data);
  for (const body of [
    wholeFile,
    () => model(trained),
    () => checkpoint(data, trained),
    () => featureCache(data, trained),
  ]) {
    await body();
    for (const name of readdirSync(small)) rmSync(path.join(small, name), { recursive: true });
  }
  console.log("all done");
}

void main();
