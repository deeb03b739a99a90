// Several processes that train one model: the same as one process, and no process left behind when one of them fails.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { datasets, Model, Trainer, type TrainerOptions } from "../../lib/index.js";
import { catalogueEntry } from "../../lib/backbones/catalogue.js";
import { engine } from "../../lib/native/engine.js";
import { locateLibtorch } from "../../lib/native/locate.js";
import { readMetadata } from "../../lib/files/tensors.js";
import { paperBackbone } from "../../lib/schema/common.js";
import { checkpointFile } from "../../lib/training/checkpoint.js";
import { supersimplenet } from "../cli/run.js";
import { failure } from "../datasets/files.js";
import { devices } from "../golden/cases.js";
import type { Told, Training } from "./distributed-child.js";
import { distance, filesUnder, freePort, headsOf, labelledFor, scratchFolder, tinier, train } from "./support.js";

const folder = scratchFolder();
const data = path.join(folder, "data");
const models = path.join(folder, "models");
before(async () => {
  mkdirSync(models);
  await datasets.generated(data, {
    imageSize: [64, 64],
    trainNormal: 10,
    trainAnomalous: 3,
    testNormal: 2,
    testAnomalous: 2,
    seed: 3,
  });
});

async function environment(ranks: number): Promise<(rank: number) => Record<string, string>> {
  const port = await freePort();
  return (rank) => ({
    MASTER_ADDR: "127.0.0.1",
    MASTER_PORT: String(port),
    RANK: String(rank),
    WORLD_SIZE: String(ranks),
  });
}

interface Ended {
  code: number | null;
  signal: string | null;
  stderr: string;
  told: Told[];
}

/** All ranks in processes of their own; each must end by itself, but for those that were stopped. */
async function together(
  ranks: number,
  trainings: Training[],
  absent: number[] = [],
  place?: (rank: number) => Record<string, string>,
): Promise<Ended[]> {
  place ??= await environment(ranks);
  const children: ChildProcess[] = [];
  const ends = Array.from({ length: ranks }, (_, rank) => rank)
    .filter((rank) => !absent.includes(rank))
    .map(
      (rank) =>
        new Promise<Ended>((resolve, reject) => {
          const env = { ...process.env, SUPERSIMPLENET_THREADS: "1", OMP_NUM_THREADS: "1", ...place!(rank) };
          const child = spawn(
            process.execPath,
            [path.join(__dirname, "distributed-child.js"), JSON.stringify({ data, models, trainings })],
            { env, stdio: ["ignore", "pipe", "pipe"] },
          );
          children.push(child);
          let stdout = "";
          let stderr = "";
          child.stdout.on("data", (chunk) => (stdout += String(chunk)));
          child.stderr.on("data", (chunk) => (stderr += String(chunk)));
          child.on("error", reject);
          child.on("close", (code, signal) =>
            resolve({
              code,
              signal,
              stderr,
              told: stdout
                .split("\n")
                .filter(Boolean)
                .map((line) => JSON.parse(line) as Told),
            }),
          );
        }),
    );
  try {
    // A rank that was stopped ends when the others have.
    const stopped = trainings.flatMap(({ of = {} }) =>
      Object.entries(of).flatMap(([rank, { stopAfter }]) => (stopAfter === undefined ? [] : [Number(rank)])),
    );
    await Promise.all(ends.filter((_, rank) => !stopped.includes(rank)));
    for (const rank of stopped) children[rank]!.kill("SIGKILL");
    return await Promise.all(ends);
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
}

const tiled = {
  view: { tiles: { size: 32, overlap: 8 } },
  tiling: { tilesPerImage: 3 },
} as const satisfies TrainerOptions;

/** Sizes that no number of ranks divides; with four ranks some have no image at the end of an epoch. */
const trainings: Training[] = [
  {
    name: "unsupervised",
    regime: "unsupervised",
    options: { ...tinier, epochs: 2, batchSize: 3, calibration: { fraction: 0.5 } },
  },
  { name: "full", regime: "full", options: { ...tinier, batchSize: 7 } },
  { name: "mixed", regime: "mixed", options: { ...tinier, batchSize: 11, network: { variant: "icpr" } } },
  { name: "tiles", regime: "full", options: { ...tinier, batchSize: 7, ...tiled } },
  {
    name: "direct",
    regime: "full",
    options: { ...tinier, batchSize: 9, network: { heads: "direct" }, ablation: { classificationHead: "complex" } },
  },
];

interface Alone {
  model: Model;
  losses: number[];
  /** Images worked on. */
  features: number;
}
const alone = new Map<string, Alone>();

async function trainedAlone({ name, regime, options }: Training): Promise<Alone> {
  const labelled = labelledFor(await datasets.folder(data), regime);
  const result: Omit<Alone, "model"> = { losses: [], features: 0 };
  const model = await new Trainer(options).fit(
    { ...labelled, samples: labelled.samples.filter(({ split }) => split === "train") },
    {
      onStep: ({ total }) => result.losses.push(total),
      onEpoch: ({ features }) =>
        (result.features += features.memory + features.host + features.file + features.computed),
    },
  );
  alone.set(name, { model, ...result });
  return { model, ...result };
}

/** How far two models of one seed are apart, as a part of the way that training took them. */
async function apart(actual: Model, expected: Model, heads: "direct" | "lowResolution" | undefined): Promise<number> {
  const { channels } = engine().featureShape(expected.networkConfig);
  const start = await engine().randomHeads(channels, 0, expected.networkConfig);
  const [a, b] = [headsOf(actual), headsOf(expected)];
  // Biases in front of a batch norm have no gradient but rounding, which the direct form computes and AdamW makes large.
  const names = Object.keys(b).filter((name) => heads !== "direct" || /weight$|running_var$/.test(name));
  const norm = (other: (name: string) => Float32Array): number =>
    Math.hypot(...names.map((name) => distance(other(name), b[name]!)));
  return norm((name) => a[name]!) / norm((name) => start[name]!.data as Float32Array);
}

/** GPU of each rank: one for both, which sum on the CPU, and one for each, which sum gradients by NCCL. */
const gpus = [
  [0, 0],
  [0, 1],
].filter((pair) => Math.max(...pair) < devices.length - 1);

for (const { where, ranks, count, more = () => ({}) } of [
  { where: "", ranks: 2, count: 5 },
  { where: "", ranks: 4, count: 2 },
  { where: ", with what is written for other devices", ranks: 2, count: 3, more: () => ({ PORTABLE: "1" }) },
  ...gpus.map((pair) => ({
    where: `, cuda:${pair.join(" and cuda:")}`,
    ranks: 2,
    count: 3,
    more: (rank: number) => ({ LOCAL_RANK: String(pair[rank]) }),
  })),
] as { where: string; ranks: number; count: number; more?: (rank: number) => Record<string, string> }[]) {
  test(`${ranks} ranks train what one does${where}`, async () => {
    const tried = trainings.slice(0, count);
    const place = await environment(ranks);
    const ended = await together(ranks, tried, [], (rank) => ({ ...place(rank), ...more(rank) }));
    for (const { code, signal, stderr } of ended)
      assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
    for (const [i, training] of tried.entries()) {
      const { name } = training;
      const told = ended.map((end) => end.told[i]!);
      for (const { error, digest, losses } of told) {
        assert.equal(error, undefined);
        assert.equal(digest, told[0]!.digest, `${name}: every rank has the same model, bit for bit`);
        assert.deepEqual(losses, told[0]!.losses);
      }
      const expected = alone.get(name) ?? (await trainedAlone(training));
      assert.equal(
        told.reduce((sum, { features }) => sum + features, 0),
        expected.features,
        `${name}: every image is worked on by one rank`,
      );
      assert.equal(told[0]!.losses.length, expected.losses.length);
      // The same to rounding at first. Later a maximum may lie elsewhere for a last bit, so that less can be asked for.
      expected.losses.forEach((loss, step) => {
        const difference = Math.abs(told[0]!.losses[step]! - loss) / loss;
        assert.ok(
          difference < (step < 2 ? 1e-5 : 5e-3),
          `${name}, step ${step}: ${told[0]!.losses[step]}, alone ${loss}`,
        );
      });
      const actual = await Model.load(path.join(models, `${name}.safetensors`));
      const distance = await apart(actual, expected.model, training.options.network?.heads);
      assert.ok(distance < 5e-3, `${name}: ${distance}`);
      const [a, b] = [actual.config, expected.model.config];
      assert.ok(Math.abs(a.training!.noiseStd - b.training!.noiseStd) < 1e-5 * b.training!.noiseStd);
      assert.ok(Math.abs(a.thresholds.scoreLogit - b.thresholds.scoreLogit) < 5e-3);
    }
  });
}

test("two ranks train on the same tiles of defective images without a mask", async () => {
  const options = { ...tinier, batchSize: 5, epochs: 2, ...tiled };
  const ended = await together(2, [{ name: "bags", regime: "weak", options }]);
  const told = ended.map((end) => end.told[0]!);
  for (const { error, digest, losses } of told) {
    assert.equal(error, undefined);
    assert.equal(digest, told[0]!.digest);
    assert.deepEqual(losses, told[0]!.losses);
  }
});

for (const [ranks, killed] of [
  [2, 0],
  [2, 1],
  [4, 0],
  [4, 1],
  [4, 2],
  [4, 3],
] as const) {
  test(`rank ${killed} of ${ranks} is killed: the others stop with RANK_FAILED, and the training can go on`, async () => {
    const name = `killed ${killed} of ${ranks}`;
    const out = path.join(folder, name);
    const options = { ...tinier, epochs: 2, batchSize: 4 };
    const ended = await together(ranks, [
      { name, regime: "unsupervised", options, out, of: { [killed]: { killAfter: 4 } } },
    ]);
    for (const [rank, { signal, code, told }] of ended.entries()) {
      if (rank === killed) {
        assert.equal(signal, "SIGKILL");
        continue;
      }
      assert.equal(code, 0);
      assert.equal(told[0]!.error?.code, "RANK_FAILED");
      assert.match(told[0]!.error!.message, RegExp(`rank ${killed} \\(127\\.0\\.0\\.1\\) has ended`));
    }
    assert.deepEqual(filesUnder(`${out}-0`), ["checkpoint", "checkpoint/last.safetensors"]);
    for (let rank = 1; rank < ranks; rank++) assert.ok(!existsSync(`${out}-${rank}`), "rank 0 alone writes");
    const { epochs_done: epochs, steps_done: steps } = await readMetadata(checkpointFile(`${out}-0`));
    const left = 6 - 3 * Number(epochs) - Number(steps);
    assert.ok(left >= 1 && left < 6, `${left} steps are left`);

    if (ranks === 2 && killed === 1) {
      const training = { name, regime: "unsupervised", options } as const;
      const again = await together(ranks, [
        { ...training, out, resume: true },
        { ...training, name: "whole" },
      ]);
      for (const { told } of again)
        assert.equal(told[0]!.digest ?? told[0]!.error, told[1]!.digest, "the same as without interruption");
      assert.equal(again[0]!.told[0]!.losses.length, left);
    } else {
      const losses: number[] = [];
      const labelled = labelledFor(await datasets.folder(data), "unsupervised");
      await new Trainer(options).fit(
        { ...labelled, samples: labelled.samples.filter(({ split }) => split === "train") },
        { out: `${out}-0`, resume: true, onStep: ({ total }) => losses.push(total) },
      );
      assert.equal(losses.length, left);
    }
  });
}

test("rank 0 is frozen: the others stop with RANK_FAILED", async () => {
  const options = { ...tinier, epochs: 2, distributed: { timeoutSeconds: 2 } };
  const ended = await together(3, [{ name: "frozen", regime: "unsupervised", options, of: { 0: { stopAfter: 1 } } }]);
  for (const { code, told } of ended.slice(1)) {
    assert.equal(code, 0);
    assert.equal(told[0]!.error?.code, "RANK_FAILED");
    assert.match(told[0]!.error!.message, /rank 0 \(127\.0\.0\.1\) was silent for 2 s/);
  }
});

test("a rank that exits: it ends with its own code, the other with RANK_FAILED", async () => {
  const [first, second] = await together(2, [
    {
      name: "exit",
      regime: "unsupervised",
      options: { ...tinier, epochs: 20, batchSize: 4 },
      of: { 0: { exitAfter: 2 } },
    },
  ]);
  assert.deepEqual([first!.code, first!.signal, first!.stderr], [7, null, ""]);
  assert.equal(second!.code, 0);
  assert.match(second!.told[0]!.error!.message, /rank 0 \(127\.0\.0\.1\) has ended/);
});

test("where nobody names a backbone, rank 0 chooses for all, whatever lies on their machines", async () => {
  const place = await environment(2);
  const cache = (rank: number): string => path.join(folder, `cache${rank}`);
  mkdirSync(path.join(cache(1), "weights"), { recursive: true });
  writeFileSync(path.join(cache(1), "weights", catalogueEntry(paperBackbone).file), "not read");
  const options = { ...tinier, backbone: undefined, backboneWeights: "auto" };
  const ended = await together(2, [{ name: "chosen", regime: "unsupervised", options }], [], (rank) => ({
    ...place(rank),
    SUPERSIMPLENET_CACHE: cache(rank),
    SUPERSIMPLENET_LIBTORCH: locateLibtorch().folder,
  }));
  for (const { code, told, stderr } of ended) {
    assert.equal(code, 0, stderr);
    assert.equal(told[0]!.error, undefined);
  }
  assert.equal(ended[0]!.told[0]!.digest, ended[1]!.told[0]!.digest);
});

test("a rank that is silent, that is cancelled, that fails, that differs, that does not come", async () => {
  const training = { regime: "unsupervised", options: tinier } as const;
  const [init, other] = ["init.safetensors", "other.safetensors"].map((name) => path.join(folder, name));
  const good = labelledFor(await datasets.folder(data), "unsupervised");
  for (const [seed, file] of [init!, other!].entries()) await (await train(good, { ...tinier, seed })).save(file);
  const ended = await together(2, [
    { ...training, name: "cancelled", of: { 1: { abortAfter: 1 } } },
    { ...training, name: "failed", of: { 0: { options: { backboneWeights: path.join(folder, "absent.pth") } } } },
    { ...training, name: "another seed", of: { 1: { options: { seed: 5 } } } },
    { ...training, name: "another first model", options: { ...tinier, init }, of: { 1: { options: { init: other } } } },
    { ...training, name: "the same first model", options: { ...tinier, init } },
    { ...training, name: "fewer images", images: 6, of: { 1: { images: 5 } } },
    { ...training, name: "still usable" },
    {
      ...training,
      name: "silent",
      options: { ...tinier, distributed: { timeoutSeconds: 2 } },
      of: { 1: { stopAfter: 1 } },
    },
  ]);
  const [first, second] = ended.map(({ told }) =>
    Object.fromEntries(told.map(({ name, error }) => [name, error ? `${error.code}: ${error.message}` : "done"])),
  );
  assert.match(second!["cancelled"]!, /^ABORTED: /);
  assert.match(first!["cancelled"]!, /^RANK_FAILED: rank 1 .*\[ABORTED\]/);
  assert.match(first!["failed"]!, /^FILE_NOT_FOUND: /);
  assert.match(second!["failed"]!, /^RANK_FAILED: rank 0 .*\[FILE_NOT_FOUND\].*absent\.pth/);
  for (const told of [first!, second!]) {
    assert.match(told["another seed"]!, /^RANKS_DIFFER: .*rank 1 has seed 5, rank 0 has 0/);
    assert.match(told["another first model"]!, /^RANKS_DIFFER: .*rank 1 has initSha256 "/);
    assert.equal(told["the same first model"], "done");
    assert.match(told["fewer images"]!, /^RANKS_DIFFER: .*rank 1 has trainingData "5 images, .*rank 0 has "6 images, /);
    assert.equal(told["still usable"], "done");
  }
  assert.match(first!["silent"]!, /^RANK_FAILED: rank 1 \(127\.0\.0\.1\) was silent for 2 s/);

  const [alone] = await together(
    2,
    [
      { ...training, name: "alone", options: { ...tinier, distributed: { joinTimeoutSeconds: 2 } } },
      { ...training, name: "cancelled while it waits", of: { 0: { abortAtOnce: true } } },
    ],
    [1],
  );
  assert.equal(alone!.code, 0);
  const [waited, cancelled] = alone!.told.map(({ error }) => error!);
  assert.equal(waited!.code, "RANK_FAILED");
  assert.match(waited!.message, /rank 1 did not come within 2 s; they meet at 127\.0\.0\.1:\d+/);
  assert.equal(cancelled!.code, "ABORTED");
});

for (const launched of [false, true]) {
  const store = launched ? "the launcher's store" : "rank 0's store";
  test(`a rank that is refused before it comes: the others wait in vain, and all meet for the next training; ${store}`, async (t) => {
    const port = await freePort();
    const place = (rank: number): Record<string, string> => ({
      MASTER_ADDR: "127.0.0.1",
      MASTER_PORT: String(port),
      RANK: String(rank),
      WORLD_SIZE: "3",
    });
    if (launched) {
      // What torchrun serves outlives the groups. Here another group does, whose second rank never comes.
      const launcher = engine().createGroup({
        rank: 0,
        worldSize: 2,
        masterAddress: "127.0.0.1",
        masterPort: port,
        launcherStore: false,
        timeoutSeconds: 60,
        joinTimeoutSeconds: 300,
        prefix: "launcher",
      });
      const waiting = assert.rejects(launcher.join(), failure("ABORTED"));
      t.after(async () => {
        launcher.fail("ABORTED", "not needed any more");
        await waiting;
        await launcher.leave();
      });
    }
    const environment = launched
      ? (rank: number) => ({
          ...place(rank),
          TORCHELASTIC_USE_AGENT_STORE: "True",
          TORCHELASTIC_RESTART_COUNT: String(rank),
        })
      : place;
    const training = (name: string, joinTimeoutSeconds: number): Training => ({
      name: `${name}, ${store}`,
      regime: "unsupervised",
      options: { ...tinier, distributed: { joinTimeoutSeconds } },
    });
    const refused = { options: { epochs: -1 } };
    const ended = await together(
      3,
      [
        training("all", 30),
        { ...training("without 1", 2), of: { 1: { ...refused, goesOnAfter: [0, 2] } } },
        training("all again", 30),
        { ...training("without 0", 2), of: { 0: { ...refused, goesOnAfter: [1, 2] } } },
        training("all once more", 30),
      ],
      [],
      environment,
    );
    const outcomes = ended.map(({ told }) => told.map(({ error }) => error?.code ?? "done"));
    assert.deepEqual(outcomes, [
      ["done", "RANK_FAILED", "done", "INVALID_OPTION", "done"],
      ["done", "INVALID_OPTION", "done", "RANK_FAILED", "done"],
      ["done", "RANK_FAILED", "done", "RANK_FAILED", "done"],
    ]);
  });
}

test("the command line takes its place from the environment; rank 0 alone writes", async () => {
  const place = await environment(2);
  const out = path.join(folder, "run");
  const args = [
    "train",
    "--data",
    data,
    "--backbone",
    "resnet18",
    "--backbone-weights",
    "random",
    "--image-size",
    "32x32",
    "--epochs",
    "1",
    "--batch",
    "4",
    "--out",
  ];
  const [first, second] = await Promise.all([
    supersimplenet([...args, out], { env: place(0) }),
    supersimplenet([...args, `${out}-1`], { env: place(1) }),
  ]);
  assert.deepEqual([first.code, second.code], [0, 0], first.stderr + second.stderr);
  assert.match(first.stderr, /rank 0 of 2; waiting for all of them at 127\.0\.0\.1:/);
  assert.match(first.stderr, /each step shared by 2 processes/);
  assert.match(second.stdout, /rank 1 is done; rank 0 writes the model/);
  assert.deepEqual(filesUnder(out), [
    "checkpoint",
    "checkpoint/last.safetensors",
    "log.jsonl",
    "metrics.json",
    "model.safetensors",
  ]);
  assert.ok(!existsSync(`${out}-1`));
});

test("a place that is not whole is refused", async () => {
  const env = { WORLD_SIZE: "2", RANK: "0", MASTER_ADDR: "127.0.0.1", MASTER_PORT: "" };
  const dataset = await datasets.folder(data);
  const before = { ...process.env };
  try {
    Object.assign(process.env, env);
    await assert.rejects(
      new Trainer(tinier).fit(dataset),
      failure("INVALID_OPTION", "2 processes", "MASTER_PORT is not set"),
    );
    Object.assign(process.env, { MASTER_PORT: "29500", RANK: "2" });
    await assert.rejects(new Trainer(tinier).fit(dataset), failure("INVALID_OPTION", "RANK", "0 to 1"));
    await assert.rejects(
      new Trainer({ ...tinier, distributed: { rank: 5 } }).fit(dataset),
      failure("INVALID_OPTION", "distributed.rank", "0 to 1"),
    );
    await new Trainer({ ...tinier, distributed: false }).fit(dataset);
  } finally {
    process.env = before;
  }
});
