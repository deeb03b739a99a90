import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import {
  type Dataset,
  type Evaluation,
  openTensorboard,
  type SuperSimpleNetError,
  type Tensorboard,
} from "../../lib/index.js";
import { type Finished, supersimplenet } from "../cli/run.js";
import { bytesOf, labelledFor, scratchFolder, smallDataset, tinier, train } from "../training/support.js";
import { eventsBelow, stepsOf } from "./read.js";

const folder = scratchFolder();
const at = (...names: string[]): string => path.join(folder, ...names);
let data: Dataset;
before(async () => void (data = await smallDataset(folder)));

const losses = ["total", "l1Normal", "l1Anomalous", "focalMap", "focalScore"].map((name) => `loss/${name}`);
const rates = ["learning_rate/adaptor", "learning_rate/heads"];
const perEpoch = [...losses, ...rates, "training/gradientNorm", "training/imagesPerSecond"];

/** 3 epochs with a picture after each of them. */
const watched = (board: Tensorboard, set = data) =>
  train(set, { ...tinier, epochs: 3 }, { ...board.callbacks, snapshotEvery: 1 });

test("scalars of every epoch, pictures of maps in between and at the end, metrics; the model stays the same", async () => {
  const board = await openTensorboard(at("events"), data, { onFailure: assert.ifError });
  const model = await watched(board);
  const metrics = { imageAuroc: 0.75, aupro: null, pixelAuroc: 0 } as unknown as Evaluation["metrics"];
  await board.finish(model, { metrics });
  assert.ok((await bytesOf(model, folder)).equals(await bytesOf(await train(data, { ...tinier, epochs: 3 }), folder)));

  const [events, ...others] = eventsBelow(at("events"));
  assert.deepEqual(others, []);
  const steps = Object.entries(stepsOf(events!));
  const having = (wanted: number[]): string[] =>
    steps.flatMap(([tag, found]) => (JSON.stringify(found) === JSON.stringify(wanted) ? [tag] : [])).sort();
  assert.deepEqual(having([3]), ["test/I-AUROC", "test/P-AUROC"]);
  const each = having([1, 2, 3]);
  assert.deepEqual(
    each.filter((tag) => !tag.startsWith("maps/")),
    [...perEpoch].sort(),
  );
  assert.equal(each.filter((tag) => tag.startsWith("maps/")).length, 5);
  assert.equal(steps.length, each.length + 2);

  const values = events!.flatMap(({ summary }) => summary?.value ?? []);
  for (const { image, simpleValue } of values) {
    if (image) assert.equal(image.encodedImageString.toString("latin1", 1, 4), "PNG");
    else assert.ok(Number.isFinite(simpleValue));
  }
  assert.equal(values.find(({ tag }) => tag === "test/P-AUROC")!.simpleValue, 0);
});

test("without a test split the pictures are of the training split", async () => {
  const { samples } = labelledFor(data, "unsupervised");
  const set = { ...data, samples: samples.filter(({ split }) => split === "train") };
  const board = await openTensorboard(at("train-only"), set, { onFailure: assert.ifError });
  await board.finish(await watched(board, set));
  const tags = Object.keys(stepsOf(eventsBelow(at("train-only"))[0]!)).filter((tag) => tag.startsWith("maps/"));
  assert.deepEqual(tags, ["maps/train/good/000.png", "maps/train/good/005.png"]);
});

test("a folder that is gone does not end the training, and is told of once", async () => {
  const failures: Error[] = [];
  const board = await openTensorboard(at("gone"), data, { onFailure: (error) => failures.push(error) });
  const { onEpoch } = board.callbacks;
  const epochs: number[] = [];
  const callbacks = {
    ...board.callbacks,
    onEpoch: async (event: Parameters<typeof onEpoch>[0]) => {
      if (event.epoch === 2) rmSync(at("gone"), { recursive: true });
      epochs.push(event.epoch);
      await onEpoch(event);
    },
  };
  const model = await train(data, { ...tinier, epochs: 4 }, { ...callbacks, snapshotEvery: 1 });
  await board.finish(model);
  assert.deepEqual(epochs, [1, 2, 3, 4]);
  assert.deepEqual(
    failures.map((error) => (error as SuperSimpleNetError).code),
    ["FILE_NOT_FOUND"],
  );
});

test("an image that is gone ends the pictures only", async () => {
  const samples = data.samples.map((sample) =>
    sample.split === "test" ? { ...sample, image: at("no", path.basename(sample.image)) } : sample,
  );
  const failures: Error[] = [];
  const board = await openTensorboard(
    at("no-images"),
    { ...data, samples },
    { onFailure: (error) => failures.push(error) },
  );
  await board.finish(await watched(board));
  assert.deepEqual(
    failures.map((error) => (error as SuperSimpleNetError).code),
    ["FILE_NOT_FOUND"],
  );
  assert.deepEqual(Object.keys(stepsOf(eventsBelow(at("no-images"))[0]!)), perEpoch);
});

test("what cannot be written, or is no option, is refused at once", async () => {
  writeFileSync(at("file"), "");
  await assert.rejects(openTensorboard(at("file"), data), { code: "FILE_ERROR" });
  await assert.rejects(openTensorboard("", data), { code: "INVALID_OPTION" });
  await assert.rejects(openTensorboard(at("x"), {} as Dataset), { code: "INVALID_OPTION" });
  await assert.rejects(openTensorboard(at("x"), data, { onFail: 1 } as object), { code: "UNKNOWN_OPTION" });
});

const small = ["--backbone", "resnet18", "--backbone-weights", "random", "--image-size", "32x32", "--threads", "1"];
const trainArguments = (run: string): string[] => ["train", "--data", at("data"), "--out", at(run), ...small];
const command = (run: string, ...more: string[]): Promise<Finished> =>
  supersimplenet([...trainArguments(run), "--calibration", "none", ...more]);

test("train --tensorboard: a file beside the same model, another one when it goes on", async () => {
  const flags = ["--epochs", "2", "--batch", "4"];
  const { code, stderr } = await command(
    "run",
    ...flags,
    "--tensorboard",
    at("run", "events"),
    "--snapshot-every",
    "1",
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^watch it: tensorboard --logdir .*run\/events$/m);
  const [events] = eventsBelow(at("run", "events"));
  const steps = stepsOf(events!);
  for (const tag of [...perEpoch, "maps/test/good/000.png"]) assert.deepEqual(steps[tag], [1, 2], tag);
  assert.deepEqual(steps["test/I-AUROC"], [2]);
  assert.equal((await command("plain", ...flags)).code, 0);
  assert.deepEqual(readFileSync(at("run", "model.safetensors")), readFileSync(at("plain", "model.safetensors")));

  const again = await command("other", ...flags, "--tensorboard", at("run", "events"));
  assert.equal(again.code, 2);
  assert.match(again.stderr, /holds the events of another training/);
  const resumed = await command("run", ...flags, "--tensorboard", at("run", "events"), "--resume");
  assert.equal(resumed.code, 0, resumed.stderr);
  const [, second] = eventsBelow(at("run", "events"));
  assert.deepEqual(second!.find(({ sessionLog }) => sessionLog)!.step, 3);
});

test("train --tensorboard warns once where the folder is gone, and ends well", async () => {
  const events = at("lost", "events");
  const args = [...trainArguments("lost"), "--calibration", "none", "--epochs", "20", "--tensorboard", events];
  const { code, stderr } = await supersimplenet(args, {
    onStderr: (soFar) => void (soFar.includes("epoch 1/20") && rmSync(events, { recursive: true, force: true })),
  });
  assert.equal(code, 0, stderr);
  assert.equal(stderr.match(/^warning: TensorBoard: .*The training goes on without\.$/gm)?.length, 1, stderr);
});

test("train --tensorboard refuses, before any work, places that are needed or read otherwise", async () => {
  mkdirSync(at("unused"));
  const cases: [place: string, message: RegExp, code: number][] = [
    [at("data", "train", "good"), /--tensorboard .* lies among the images of a data set/, 2],
    [at("new", "checkpoint"), /is for the training's own files/, 2],
    [at("new", "model.safetensors", "x"), /is for the training's own files/, 2],
    [at("file"), /Cannot create folder/, 1],
  ];
  for (const [place, message, code] of cases) {
    const refused = await command("new", "--epochs", "1", "--tensorboard", place);
    assert.equal(refused.code, code, refused.stderr);
    assert.match(refused.stderr, message);
  }
  const alone = await command("new", "--epochs", "1", "--snapshot-every", "2");
  assert.equal(alone.code, 2);
  assert.match(alone.stderr, /--snapshot-every is for --tensorboard, which is missing/);
  assert.ok(!readdirSync(folder).includes("new"));
});

/** With tensorboard installed. */
const python = process.env["SUPERSIMPLENET_TENSORBOARD_PYTHON"] ?? "python3";
const skip =
  spawnSync(python, ["-c", "import tensorboard"]).status === 0
    ? false
    : `${python} has no tensorboard: CONTRIBUTING.md, Test, says how`;

test(
  "TensorBoard itself reads it; what was written before a training went on or began anew no longer counts",
  { skip },
  async () => {
    const events = at("read");
    for (const epochs of [3, 2]) {
      const board = await openTensorboard(events, data, { onFailure: assert.ifError });
      const callbacks = { ...board.callbacks, snapshotEvery: 1 };
      await board.finish(await train(data, { ...tinier, epochs }, callbacks), {
        metrics: { imageAuroc: 0.5 } as Evaluation["metrics"],
      });
    }
    const script = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0}).Reload()
tags = events.Tags()
print(json.dumps({
  "scalars": {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]},
  "images": {tag: [[e.step, e.width, e.height, e.encoded_image_string.hex()] for e in events.Images(tag)] for tag in tags["images"]},
}))`;
    const { stdout, stderr } = spawnSync(python, ["-c", script, events], { encoding: "utf8", maxBuffer: 2 ** 28 });
    const read = JSON.parse(stdout || assert.fail(stderr)) as {
      scalars: Record<string, [step: number, value: number][]>;
      images: Record<string, [step: number, width: number, height: number, png: string][]>;
    };
    assert.deepEqual(Object.keys(read.scalars), [...perEpoch, "test/I-AUROC"]);
    const written = eventsBelow(events)[1]!;
    for (const [tag, points] of Object.entries(read.scalars)) {
      const ours = written.flatMap(({ step, summary }) =>
        (summary?.value ?? []).flatMap((value) => (value.tag === tag ? [[step, value.simpleValue]] : [])),
      );
      assert.deepEqual(points, ours, tag);
    }
    assert.equal(Object.keys(read.images).length, 5);
    for (const pictures of Object.values(read.images)) {
      assert.deepEqual(
        pictures.map(([step]) => step),
        [1, 2],
      );
      for (const [, width, height, png] of pictures) {
        assert.ok(png.startsWith("89504e470d0a1a0a"));
        assert.deepEqual([parseInt(png.slice(32, 40), 16), parseInt(png.slice(40, 48), 16)], [width, height]);
      }
    }
  },
);
