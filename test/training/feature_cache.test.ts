import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { type Dataset, datasets, type EpochEvent, mergeOptions, type TrainerOptions } from "../../lib/index.js";
import { engine } from "../../lib/native/engine.js";
import { failure } from "../datasets/files.js";
import { bytesOf, distance, headsOf, labelledFor, scratchFolder, smallDataset, tinier, train } from "./support.js";
import { trainerConfig } from "../support/trainer_config.js";

const folder = scratchFolder();
let data: Dataset;
before(async () => void (data = await smallDataset(folder)));

const options = { ...tinier, epochs: 2, cache: { memoryMiB: 0 } } satisfies TrainerOptions;
const header = 64;
/** 128 x 4 x 4 and 256 x 2 x 2 numbers after a head of 64 bytes. */
const record = (bytes: number): number => 64 + 3072 * bytes;

let caches = 0;
const newCache = (): string => path.join(folder, `cache-${caches++}`);
const withFile = (dir: string): TrainerOptions => mergeOptions<TrainerOptions>(options, { cache: { fileMiB: 8, dir } });

interface Run {
  bytes: Buffer;
  /** Of each epoch. */
  features: EpochEvent["features"][];
  warnings: string[];
}

async function run(more: TrainerOptions, dataset = data): Promise<Run> {
  const features: Run["features"] = [];
  const warnings: string[] = [];
  const model = await train(dataset, mergeOptions<TrainerOptions>(options, more), {
    onStart: (event) => warnings.push(...event.warnings),
    onEpoch: (event) => {
      features.push(event.features);
      warnings.push(...event.warnings);
    },
  });
  return {
    bytes: await bytesOf(model, folder),
    features,
    warnings: warnings.filter((warning) => warning.includes("cache")),
  };
}

const computed = ({ features }: Run): number => features.reduce((sum, epoch) => sum + epoch.computed, 0);

function cacheFile(cache: string): string {
  const names = readdirSync(cache);
  assert.equal(names.length, 1);
  return path.join(cache, names[0]!);
}

/** A cache with every image of `data` in it, and the result. */
async function filled(): Promise<{ cache: string; file: string; first: Run }> {
  const cache = newCache();
  const first = await run(withFile(cache));
  return { cache, file: cacheFile(cache), first };
}

test("memory, file, both and none give the same bytes; the file spares the second training all computing, in every flip", async () => {
  const none = await run({});
  const memory = await run({ cache: { memoryMiB: 64 } });
  const { cache, file, first } = await filled();
  const second = await run(withFile(cache));
  const both = await run(mergeOptions(withFile(cache), { cache: { memoryMiB: 64 } }));
  for (const other of [memory, first, second, both]) assert.ok(none.bytes.equals(other.bytes));

  // Without a limit, each image and flip is computed once: balanced epochs repeat normal images.
  const distinct = computed(memory);
  assert.ok(distinct > data.samples.filter(({ split }) => split === "train").length, "some images in several flips");
  assert.equal(none.features[1]!.computed, 24);
  assert.deepEqual([computed(first), computed(second), computed(both)], [distinct, 0, 0]);
  assert.deepEqual(second.features[1], { memory: 0, host: 0, file: 24, computed: 0 });
  assert.deepEqual(both.features[1], { memory: 24, host: 0, file: 0, computed: 0 });
  assert.equal(statSync(file).size, header + distinct * record(4));
  assert.deepEqual([...first.warnings, ...second.warnings], []);
});

test("another image, backbone, size or precision never gets features of the old one", async () => {
  const { cache } = await filled();
  for (const changed of [
    { seed: 1 },
    { imageSize: [32, 64] },
    { network: { layers: ["layer2"] } },
    { network: { resize: "antialias" } },
    { cache: { precision: "float16" } },
    { precision: "bfloat16" },
  ] satisfies TrainerOptions[]) {
    const expected = await run({ ...changed, epochs: 1 });
    const got = await run(mergeOptions<TrainerOptions>(withFile(cache), changed, { epochs: 1 }));
    assert.ok(expected.bytes.equals(got.bytes), JSON.stringify(changed));
    assert.ok(got.features[0]!.computed > 0);
  }

  // The same paths with other pixels in one file.
  const images = path.join(folder, "changing");
  const changing = labelledFor(
    await datasets.generated(images, {
      imageSize: [64, 64],
      trainNormal: 5,
      trainAnomalous: 0,
      testNormal: 1,
      testAnomalous: 1,
      seed: 5,
    }),
    "unsupervised",
  );
  const own = newCache();
  await run(withFile(own), changing);
  const [first, second] = changing.samples.filter(({ split }) => split === "train").map(({ image }) => image as string);
  copyFileSync(second!, first!);
  const expected = await run({}, changing);
  const got = await run(withFile(own), changing);
  assert.ok(expected.bytes.equals(got.bytes));
  assert.equal(computed(got), 0, "its content is that of another image, whose features are there");
  await datasets.generated(path.join(folder, "others"), {
    imageSize: [64, 64],
    trainNormal: 5,
    trainAnomalous: 0,
    testNormal: 1,
    testAnomalous: 1,
    seed: 6,
  });
  copyFileSync(first!.replace(images, path.join(folder, "others")), first!);
  assert.equal(computed(await run(withFile(own), changing)), 1);
});

test("a damaged, shortened, foreign or older file costs time and a warning, nothing else", async () => {
  const few = labelledFor(data, "unsupervised");
  const cache = newCache();
  const once = (): Promise<Run> => run({ ...withFile(cache), epochs: 1 }, few);
  const first = await once();
  const file = cacheFile(cache);
  const whole = readFileSync(file);
  const distinct = (whole.length - header) / record(4);
  const cases: [string, (file: string) => void, number, RegExp | undefined][] = [
    ["ends within a record", () => truncateSync(file, whole.length - 100), 1, /ends within an entry/],
    ["ends after a record", () => truncateSync(file, whole.length - record(4)), 1, undefined],
    ["ends within the header", () => truncateSync(file, 20), distinct, /damaged or of another format/],
    ["is empty", () => truncateSync(file, 0), distinct, undefined],
    [
      "is something else",
      () => writeFileSync(file, "not features ".repeat(1000)),
      distinct,
      /damaged or of another format/,
    ],
    [
      "is of another format version",
      () => writeFileSync(file, Buffer.concat([Buffer.from("SSNFEAT0"), whole.subarray(8)])),
      distinct,
      /damaged or of another format/,
    ],
    ["has a damaged head", () => writeFileSync(file, flipped(whole, header + 5)), 1, /damaged entries \(1\)/],
    [
      "has damaged data",
      () => writeFileSync(file, flipped(whole, header + record(4) + 2000)),
      1,
      /damaged entries \(1\)/,
    ],
    // Killed between data and head: what the head says is still zero.
    [
      "has a record without a head",
      () =>
        writeFileSync(file, Buffer.concat([whole.subarray(0, header), Buffer.alloc(64), whole.subarray(header + 64)])),
      1,
      /damaged entries \(1\)/,
    ],
    ["has a record in the wrong place", () => writeFileSync(file, swapped(whole)), 2, /damaged entries \(2\)/],
  ];
  for (const [name, damage, missing, warning] of cases) {
    damage(file);
    const got = await once();
    assert.ok(first.bytes.equals(got.bytes), name);
    assert.equal(computed(got), missing, name);
    if (warning) assert.match(got.warnings.join("\n"), warning, name);
    else assert.deepEqual(got.warnings, [], name);
    const again = await once();
    assert.deepEqual([computed(again), again.warnings], [0, []], `${name}: repaired`);
  }
});

function flipped(bytes: Buffer, at: number): Buffer {
  const out = Buffer.from(bytes);
  out[at]! ^= 1;
  return out;
}

function swapped(bytes: Buffer): Buffer {
  const at = (slot: number): Buffer => bytes.subarray(header + slot * record(4), header + (slot + 1) * record(4));
  return Buffer.concat([bytes.subarray(0, header), at(1), at(0), bytes.subarray(header + 2 * record(4))]);
}

test("a file that is shortened while it is in use: the rest of the training computes again", async () => {
  const { cache, file, first } = await filled();
  const counts: number[] = [];
  const warnings: string[] = [];
  const model = await train(data, withFile(cache), {
    onEpoch: (event) => {
      counts.push(event.features.computed);
      warnings.push(...event.warnings);
      if (event.epoch === 1) truncateSync(file, header + 3 * record(4));
    },
  });
  assert.ok(first.bytes.equals(await bytesOf(model, folder)));
  assert.ok(counts[0] === 0 && counts[1]! > 0);
  assert.match(warnings.join("\n"), /damaged entries/);
});

test("the limit holds, for a file that was larger too", async () => {
  const none = await run({});
  const cache = newCache();
  const limit = header + 5 * record(4) + 100;
  const small = mergeOptions(withFile(cache), { cache: { fileMiB: limit / 2 ** 20 } });
  const got = await run(small);
  assert.ok(none.bytes.equals(got.bytes));
  assert.match(got.warnings.join("\n"), /reached its limit with 5 entries/);
  const file = cacheFile(cache);
  assert.equal(statSync(file).size, header + 5 * record(4));
  await run(withFile(cache));
  assert.ok(statSync(file).size > limit);
  assert.ok(none.bytes.equals((await run(small)).bytes));
  assert.equal(statSync(file).size, header + 5 * record(4));
});

test("one process writes at a time, others only read and say so", async () => {
  const { cache, file, first } = await filled();
  truncateSync(file, header + 5 * record(4));
  const featureCacheFile = { path: file, bytes: 2 ** 23, identity: readFileSync(file).subarray(8, 40) };
  const weights = [await engine().randomBackbone("resnet18", 0), await engine().randomHeads(384, 0)] as const;
  const elsewhere = { ...featureCacheFile, path: `${file}\0.bak` };
  await assert.rejects(
    engine().createTrainer(trainerConfig({ featureCacheFile: elsewhere }), ...weights),
    failure("INVALID_OPTION", "\\0.bak", "NUL"),
  );
  const writer = await engine().createTrainer(trainerConfig({ featureCacheFile }), ...weights);
  const reader = await run(withFile(cache));
  writer.dispose();
  assert.ok(first.bytes.equals(reader.bytes));
  assert.match(reader.warnings.join("\n"), /in use by another training/);
  assert.ok(reader.features[1]!.file > 0 && reader.features[1]!.computed > 0);
  assert.equal(statSync(file).size, header + 5 * record(4));
  const free = await run(withFile(cache));
  assert.deepEqual([free.bytes.equals(first.bytes), computed(free), free.warnings], [true, computed(first) - 5, []]);
});

test("two trainings at once on one new file", async () => {
  const cache = newCache();
  const [a, b] = await Promise.all([run(withFile(cache)), run(withFile(cache))]);
  const after = await run(withFile(cache));
  assert.ok(a.bytes.equals(b.bytes) && a.bytes.equals(after.bytes));
  assert.deepEqual([computed(after), after.warnings], [0, []]);
});

test("a process that is killed while it fills the file leaves one that is right", async () => {
  const expected = await run({});
  const cache = newCache();
  mkdirSync(cache);
  const script = `
    const { Trainer, datasets } = require(${JSON.stringify(path.join(__dirname, "../../lib/index.js"))});
    datasets.open(${JSON.stringify(path.join(folder, "data"))}).then((data) => new Trainer(${JSON.stringify(withFile(cache))}).fit(data, { onStep: ({ step }) => step === 2 && process.kill(process.pid, "SIGKILL") }));`;
  const child = spawn(process.execPath, ["-e", script], { stdio: "inherit" });
  const signal = await new Promise((resolve) => child.once("exit", (_code, name) => resolve(name)));
  assert.equal(signal, "SIGKILL");
  const got = await run(withFile(cache));
  assert.ok(expected.bytes.equals(got.bytes));
  assert.deepEqual(got.warnings, []);
  assert.ok(got.features[0]!.file > 0, "what it wrote is used");
  appendFileSync(cacheFile(cache), Buffer.alloc(1000, 1)); // the part of a record that a kill within a write leaves
  assert.ok(expected.bytes.equals((await run(withFile(cache))).bytes));
});

test("float16: half the space, the same bytes from memory, file and neither, and weights near those of float32", async () => {
  const half = { cache: { precision: "float16" } } as const;
  const none = await run(half);
  const cache = newCache();
  const first = await run(mergeOptions(withFile(cache), half));
  const second = await run(mergeOptions(withFile(cache), half));
  for (const other of [first, second, await run(mergeOptions<TrainerOptions>(half, { cache: { memoryMiB: 64 } }))])
    assert.ok(none.bytes.equals(other.bytes));
  assert.equal(computed(second), 0);
  assert.equal((statSync(cacheFile(cache)).size - header) / record(2), computed(first));

  const heads = async (more: TrainerOptions) =>
    headsOf(await train(data, mergeOptions<TrainerOptions>(options, more)))["discriminator.seg.0.weight"]!;
  const [full, rounded, start] = [
    await heads({}),
    await heads(half),
    await heads({ optimizer: { adaptorLearningRate: 1e-12, headsLearningRate: 1e-12 } }),
  ];
  const difference = distance(full, rounded);
  assert.ok(
    difference > 0 && difference < 0.1 * distance(full, start),
    `${difference / distance(full, start)} of what was learned`,
  );
});

test("a folder that cannot be made is an error before the training; none is made without the option", async () => {
  const blocked = path.join(folder, "a-file");
  writeFileSync(blocked, "");
  await assert.rejects(
    run(withFile(path.join(blocked, "cache"))),
    (error: Error & { code?: string }) => error.code === "FILE_ERROR" || error.code === "NO_PERMISSION",
  );
  const own = path.join(folder, "home");
  const previous = process.env["SUPERSIMPLENET_CACHE"];
  process.env["SUPERSIMPLENET_CACHE"] = own;
  try {
    await run({});
    assert.ok(!existsSync(own));
    await run({ cache: { fileMiB: 1 } });
    assert.equal(readdirSync(path.join(own, "features")).length, 1);
  } finally {
    if (previous === undefined) delete process.env["SUPERSIMPLENET_CACHE"];
    else process.env["SUPERSIMPLENET_CACHE"] = previous;
  }
  await assert.rejects(run({ cache: { dir: own } }), failure("INVALID_OPTION", "cache.fileMiB"));
});
