import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { readTensors, writeTensors } from "../../lib/files/tensors.js";
import { datasets, type TensorMap } from "../../lib/index.js";
import type { ReportDocument } from "../../lib/report/types.js";
import { type Finished, type RunOptions, supersimplenet, waitingFor } from "./run.js";

/** From images to a model, to metrics, to decisions: every command in a process of its own, on a tiny data set. */
let folder: string;
let data: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);
const small = ["--backbone", "resnet18", "--backbone-weights", "random", "--image-size", "64x64", "--threads", "1"];

interface Document {
  model: { path: string; backbone: { trained: boolean } };
  start: { regime: string };
  evaluation: { metrics: Record<string, number> } | null;
}

before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-run-"));
  data = at("data");
  await datasets.generated(data, { imageSize: [64, 64], trainNormal: 12, testNormal: 3, testAnomalous: 5, seed: 1 });
});
after(() => rmSync(folder, { recursive: true, force: true }));

const train = (out: string, epochs: number, ...more: string[]): ReturnType<typeof supersimplenet> =>
  supersimplenet(["train", "--data", data, "--out", out, "--epochs", String(epochs), ...small, ...more]);

test("train writes model, metrics and log, says that the backbone is random, and prints one JSON document", async () => {
  const { code, stdout, stderr } = await train(at("run"), 3, "--json");
  assert.equal(code, 0, stderr);
  const document = JSON.parse(stdout) as Document;
  assert.equal(document.start.regime, "unsupervised");
  assert.equal(document.model.backbone.trained, false);
  assert.match(stderr, /^warning: .*random weights/m);
  assert.match(stderr, /^epoch 3\/3 {2}loss \d/m);
  assert.deepEqual(readdirSync(at("run")).sort(), ["checkpoint", "log.jsonl", "metrics.json", "model.safetensors"]);
  const log = readFileSync(at("run", "log.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; epoch?: number });
  assert.deepEqual(
    log.map(({ event, epoch }) => epoch ?? event),
    ["start", 1, 2, 3],
  );
  const metrics = JSON.parse(readFileSync(at("run", "metrics.json"), "utf8")) as { metrics: Record<string, number> };
  assert.deepEqual(metrics.metrics, document.evaluation?.metrics);
  assert.ok(metrics.metrics["I-AUROC"]! >= 0 && metrics.metrics["I-AUROC"]! <= 1);
  assert.ok(!readFileSync(at("run", "metrics.json"), "utf8").includes(folder), "no paths of this machine");
});

test("the same run again is refused, and changes nothing", async () => {
  const before = readFileSync(at("run", "model.safetensors"));
  const { code, stderr } = await train(at("run"), 1);
  assert.equal(code, 2);
  assert.match(stderr, /already holds a finished model/);
  assert.deepEqual(readFileSync(at("run", "model.safetensors")), before);
});

test("evaluate gives the metrics that train wrote, and draws overlays", async () => {
  const { code, stdout, stderr } = await supersimplenet([
    "evaluate",
    "--model",
    at("run", "model.safetensors"),
    "--data",
    data,
    "--overlays",
    at("overlays"),
    "--out",
    at("evaluation.json"),
    "--report",
    at("report.html"),
    "--json",
  ]);
  assert.equal(code, 0, stderr);
  assert.match(readFileSync(at("report.html"), "utf8"), /data:image\/webp/);
  const written = JSON.parse(readFileSync(at("run", "metrics.json"), "utf8")) as {
    metrics: unknown;
    decisions: unknown;
    samples: unknown[];
  };
  const document = JSON.parse(stdout) as typeof written;
  assert.deepEqual(document.metrics, written.metrics);
  assert.deepEqual(document.decisions, written.decisions);
  assert.deepEqual(JSON.parse(readFileSync(at("evaluation.json"), "utf8")), document);
  assert.equal(readdirSync(at("overlays")).length, 8);
  assert.ok(
    readdirSync(at("overlays")).every((file) => file.endsWith(".png")),
    "no temporary file is left",
  );
});

test("report: with the images, or with what the training left; never over a file unasked", async () => {
  const run = at("run");
  const plain = await supersimplenet(["report", run]);
  assert.equal(plain.code, 0, plain.stderr);
  const html = readFileSync(path.join(run, "report.html"), "utf8");
  const shown = (text: string) => JSON.parse(/id="document">([^]*?)<\/script>/.exec(text)![1]!) as ReportDocument;
  const { evaluation, training, facts } = shown(html);
  assert.equal(evaluation!.images.length, 8);
  assert.ok(evaluation!.images.every(({ picture }) => picture === undefined));
  assert.equal(training!.length, 3);
  assert.ok(!html.includes(folder), "no paths of this machine");
  assert.match(JSON.stringify(facts), /"SHA-256","[0-9a-f]{64}"/);

  const again = await supersimplenet(["report", run, "--data", data]);
  assert.equal(again.code, 2);
  const full = await supersimplenet(["report", run, "--data", data, "--overwrite"]);
  assert.equal(full.code, 0, full.stderr);
  const after = shown(readFileSync(path.join(run, "report.html"), "utf8")).evaluation!;
  assert.ok(after.images.every(({ picture }) => picture!.image.startsWith("data:image/webp")));
  assert.ok(after.images.some(({ picture }) => picture!.mask));
  assert.deepEqual(
    after.images.map(({ value }) => value),
    evaluation!.images.map(({ value }) => value),
  );
  // Nothing that is there is written over by it.
  const model = readFileSync(path.join(run, "model.safetensors"));
  for (const [name, args] of [
    ["a model", ["report", run, "--out", path.join(run, "model.safetensors"), "--overwrite"]],
    ["a folder", ["report", run, "--out", run, "--overwrite"]],
    ["a data set that is not given", ["report", run, "--kind", "folder", "--overwrite"]],
    [
      "one file twice",
      [
        "evaluate",
        "--model",
        path.join(run, "model.safetensors"),
        "--data",
        data,
        "--out",
        at("two"),
        "--report",
        at("two"),
      ],
    ],
  ] as const)
    assert.equal((await supersimplenet([...args])).code, 2, name);
  for (const name of ["model.safetensors", "metrics.json", "checkpoint/last.safetensors"]) {
    const refused = await train(at("own"), 1, "--report", at("own", name));
    assert.equal(refused.code, 2, refused.stderr);
  }
  assert.ok(!existsSync(at("own")));
  assert.deepEqual(readFileSync(path.join(run, "model.safetensors")), model);
  rmSync(path.join(run, "report.html"));
  const none = await supersimplenet(["report", data]);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /no model\.safetensors/);
});

test("evaluate --threshold decides, and --overwrite replaces what --out wrote", async () => {
  const run = async (threshold: string): Promise<Record<string, number>> => {
    const { code, stdout, stderr } = await supersimplenet([
      "evaluate",
      "--model",
      at("run", "model.safetensors"),
      "--data",
      data,
      "--threshold",
      threshold,
      "--out",
      at("decided.json"),
      "--overwrite",
      "--json",
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(readFileSync(at("decided.json"), "utf8"), stdout);
    return (JSON.parse(stdout) as { decisions: Record<string, number> }).decisions;
  };
  assert.deepEqual(await run("0"), {
    threshold: 0,
    truePositive: 5,
    trueNegative: 0,
    falsePositive: 3,
    falseNegative: 0,
  });
  assert.deepEqual(await run("1"), {
    threshold: 1,
    truePositive: 0,
    trueNegative: 3,
    falsePositive: 0,
    falseNegative: 5,
  });
});

test("evaluate refuses what train refuses", async () => {
  const broken = at("broken-test");
  await datasets.generated(broken, { imageSize: [64, 64], trainNormal: 2, testNormal: 1, testAnomalous: 1 });
  writeFileSync(path.join(broken, "test", "good", "notes.txt"), "");
  const problems = async (args: string[]): Promise<unknown> => {
    const { code, stdout } = await supersimplenet([...args, "--data", broken, "--json"]);
    assert.equal(code, 1);
    return (JSON.parse(stdout) as { error: unknown }).error;
  };
  const trained = await problems(["train", "--out", at("broken-test-run"), ...small]);
  assert.deepEqual(await problems(["evaluate", "--model", at("run", "model.safetensors")]), trained);
  assert.match(JSON.stringify(trained), /DATASET_INVALID.*notes\.txt/);
});

test("evaluate for people: every metric by its name", async () => {
  const { code, stdout } = await supersimplenet([
    "evaluate",
    "--model",
    at("run", "model.safetensors"),
    "--data",
    data,
  ]);
  assert.equal(code, 0);
  for (const name of ["I-AUROC", "AP-det", "P-AUROC", "AP-loc", "AUPRO", "seg-I-AUROC", "seg-AP-det"])
    assert.match(stdout, new RegExp(`^ {2}${name} +[01]\\.\\d{4}$`, "m"));
});

test("predict: bad images are reported, the others go on, exit code 1", async () => {
  const good = path.join(data, "test", "good", readdirSync(path.join(data, "test", "good"))[0]!);
  writeFileSync(at("text.jpg"), "this is not an image");
  writeFileSync(at("empty.png"), "");
  copyFileSync(good, at("cut.png"));
  truncateSync(at("cut.png"), 400);
  const images = [at("text.jpg"), good, at("empty.png"), at("cut.png"), at("missing.png"), good];
  const { code, stdout, stderr } = await supersimplenet([
    "predict",
    "--model",
    at("run", "model.safetensors"),
    ...images,
    "--json",
    "--maps",
    at("maps"),
    "--map-format",
    "npy",
  ]);
  assert.equal(code, 1);
  const document = JSON.parse(stdout) as {
    images: {
      path: string;
      score?: number;
      map?: string;
      timings?: unknown;
      error?: { code: string; message: string };
    }[];
  };
  assert.deepEqual(
    document.images.map((image) => image.path),
    images,
  );
  assert.deepEqual(
    document.images.map((image) => image.error?.code),
    ["IMAGE_UNREADABLE", undefined, "IMAGE_UNREADABLE", "IMAGE_UNREADABLE", "FILE_NOT_FOUND", undefined],
  );
  for (const [i, image] of document.images.entries())
    if (image.error) assert.ok(image.error.message.includes(images[i]!), "the message names the file");
  assert.equal(document.images[1]!.score, document.images[5]!.score);
  assert.match(stderr, /4 could not be read/);
  const npy = readFileSync(document.images[1]!.map!);
  assert.equal(npy.subarray(1, 6).toString("latin1"), "NUMPY");
  assert.equal(npy.length, 128 + 64 * 64 * 4);
  assert.equal(readdirSync(at("maps")).length, 2);
});

test("predict takes folders and draws; --threshold decides", async () => {
  const run = (threshold: string): ReturnType<typeof supersimplenet> =>
    supersimplenet([
      "predict",
      "--model",
      at("run", "model.safetensors"),
      path.join(data, "test"),
      "--threshold",
      threshold,
      "--overlays",
      at("drawn"),
      "--maps",
      at("heat"),
      "--json",
    ]);
  const all = await run("0");
  assert.equal(all.code, 0, all.stderr);
  const { images } = JSON.parse(all.stdout) as { images: { anomalous: boolean; overlay: string; map: string }[] };
  assert.equal(images.length, 8);
  assert.ok(images.every(({ anomalous, overlay, map }) => anomalous && existsSync(overlay) && existsSync(map)));
  const none = JSON.parse((await run("1")).stdout) as typeof all & { images: { anomalous: boolean }[] };
  assert.ok(none.images.every(({ anomalous }) => !anomalous));
});

interface Predicted {
  images: { path: string; overlay?: string; error?: { code: string } }[];
  skipped: { path: string; reason: string }[];
  error?: { code: string; message: string };
}

const predict = (
  args: string[],
  onStderr?: RunOptions["onStderr"],
  env: Record<string, string> = {},
): Promise<Finished> =>
  supersimplenet(["predict", "--model", at("run", "model.safetensors"), ...args], {
    cwd: folder,
    env,
    ...(onStderr && { onStderr }),
  });

/** Images at these paths in the folder of the tests. */
function copies(...names: string[]): void {
  const good = path.join(data, "test", "good", "000.png");
  for (const name of names) {
    mkdirSync(path.dirname(at(name)), { recursive: true });
    copyFileSync(good, at(name));
  }
}

test("predict reads of a folder what data sets read, in their order, and says what it skips", async () => {
  copies(
    "parts/10.png",
    "parts/2.PNG",
    "parts/sub/1.png",
    "parts/._2.png",
    "parts/.thumbs/2.png",
    "parts/3.Overlay.png",
  );
  for (const name of ["scan.tga", "sub/photo.heic", "notes.txt"]) writeFileSync(at("parts", name), "");
  const { code, stdout, stderr } = await predict(["parts", "--json"]);
  assert.equal(code, 0, stderr);
  const { images, skipped } = JSON.parse(stdout) as Predicted;
  assert.deepEqual(
    images.map((image) => image.path),
    ["parts/2.PNG", "parts/10.png", "parts/sub/1.png"],
  );
  assert.deepEqual(skipped, [
    { path: "parts/3.Overlay.png", reason: "picture" },
    { path: "parts/scan.tga", reason: "format" },
    { path: "parts/sub/photo.heic", reason: "format" },
  ]);
  assert.match(
    stderr,
    /^warning: 2 images are skipped \(only \.png .* are read .*\): parts\/scan\.tga, parts\/sub\/photo\.heic\.$/m,
  );
  assert.match(stderr, /^1 image is skipped \(.*\): parts\/3\.Overlay\.png\.$/m);
  assert.match(stderr, /of 3 images anomalous; 2 skipped$/m);
});

test("predict names what there is in a folder without an image", async () => {
  mkdirSync(at("bitmaps"));
  for (const name of ["1.jp2", "2.jp2"]) writeFileSync(at("bitmaps", name), "JP");
  const { code, stdout, stderr } = await predict(["bitmaps"]);
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(
    stderr,
    /^error \[FILE_NOT_FOUND\] There is no image in bitmaps\. 2 images are skipped .*: bitmaps\/1\.jp2, bitmaps\/2\.jp2\.$/m,
  );
});

test("predict does not take its own pictures for parts, unless they are named", async () => {
  copies("line/1.png");
  const parts = async (...args: string[]): Promise<string[]> =>
    (JSON.parse((await predict([...args, "--json"])).stdout) as Predicted).images.map((image) => image.path);
  const draw = ["line", "--overlays", "line/out", "--maps", "line"];
  assert.deepEqual(await parts(...draw), ["line/1.png"]);
  assert.deepEqual(readdirSync(at("line"), { recursive: true }).sort(), [
    "1.png",
    "line_1.map.png",
    "out",
    "out/line_1.overlay.png",
  ]);
  assert.deepEqual(await parts(...draw), ["line/1.png"], "the same command again");
  assert.deepEqual(await parts("line/out/line_1.overlay.png"), ["line/out/line_1.overlay.png"]);
});

test("predict that is stopped keeps what it reported: pictures, and with --json results", async (t) => {
  copies("a.png", "b.png");
  for (const [signal, json] of [
    ["SIGINT", true],
    ["SIGTERM", false],
  ] as const) {
    const out = at(`stopped by ${signal}`);
    // One picture cannot be written: that is a warning, the error is still the interruption.
    if (!json) mkdirSync(path.join(out, "a.overlay.png"), { recursive: true });
    // An image that does not open until the command has ended its work.
    copies(`${signal}.png`);
    const late = at(`${signal}.png`);
    const pipe = at(`${signal}.pipe`);
    const env = waitingFor(late, pipe);
    if (env === undefined) return t.skip("there is no mkfifo");
    let [sent, opened] = [false, false];
    const { code, stdout, stderr } = await predict(
      ["a.png", "b.png", "none.png", late, "a.png", "--batch", "1", "--overlays", out, ...(json ? ["--json"] : [])],
      (soFar, kill) => {
        if (!sent && soFar.includes("none.png") && soFar.includes("waiting")) ((sent = true), kill(signal));
        if (!opened && soFar.includes("[ABORTED]")) ((opened = true), closeSync(openSync(pipe, "w")));
      },
      env,
    );
    assert.equal(code, 130, stderr);
    assert.match(stderr, /^error \[ABORTED\] Interrupted after 3 of 5 images\.$/m);
    assert.ok(readFileSync(path.join(out, "b.overlay.png")).length > 0);
    if (json) {
      const { images, error } = JSON.parse(stdout) as Predicted;
      assert.equal(error?.code, "ABORTED");
      assert.deepEqual(
        images.map((image) => image.error?.code ?? image.path),
        ["a.png", "b.png", "FILE_NOT_FOUND"],
      );
      assert.ok(existsSync(images[0]!.overlay!) && existsSync(images[1]!.overlay!));
    } else {
      assert.match(stderr, /^warning: Cannot write .*a\.overlay\.png/m);
      assert.deepEqual(
        stdout
          .trim()
          .split("\n")
          .map((line) => line.split(/ +/)[2]),
        ["a.png", "b.png"],
      );
    }
  }
});

test("a picture of predict that cannot be written: an error, the others are there, and the results", async () => {
  copies("a.png", "b.png");
  mkdirSync(at("blocked", "a.overlay.png"), { recursive: true });
  const { code, stdout } = await predict(["a.png", "b.png", "--overlays", "blocked", "--json"]);
  assert.equal(code, 1);
  const { images, error } = JSON.parse(stdout) as Predicted;
  assert.equal(error?.code, "FILE_ERROR");
  assert.deepEqual(
    images.map(({ path: file, overlay }) => [file, overlay]),
    [
      ["a.png", undefined],
      ["b.png", path.join("blocked", "b.overlay.png")],
    ],
  );
  assert.ok(existsSync(at("blocked", "b.overlay.png")));
});

test("convert: heads and backbone as a checkpoint come back as the same network", async () => {
  const { tensors } = await readTensors(at("run", "model.safetensors"));
  const part = (backbone: boolean): TensorMap =>
    Object.fromEntries(
      Object.entries(tensors)
        .filter(([name]) => name.startsWith("backbone.") === backbone)
        .map(([name, tensor]) => [name.replace(/^backbone\./, ""), tensor]),
    );
  await writeTensors(at("heads.safetensors"), part(false), {});
  await writeTensors(at("weights.safetensors"), part(true), {});
  const args = [
    "convert",
    "--checkpoint",
    at("heads.safetensors"),
    "--backbone-weights",
    at("weights.safetensors"),
    "--image-size",
    "64x64",
    "--out",
    at("converted", "model.safetensors"),
    "--json",
  ];
  const { code, stdout, stderr } = await supersimplenet([...args, "--backbone", "resnet18"]);
  assert.equal(code, 0, stderr);
  const document = JSON.parse(stdout) as {
    layout: string;
    alignCorners: boolean;
    model: { thresholds: { scoreMethod: string } };
  };
  assert.deepEqual(
    [document.layout, document.alignCorners, document.model.thresholds.scoreMethod],
    ["authors", true, "default"],
  );
  const logits = async (model: string): Promise<number[]> => {
    const { stdout } = await supersimplenet(["predict", "--model", model, path.join(data, "test", "good"), "--json"]);
    return (JSON.parse(stdout) as { images: { logit: number }[] }).images.map(({ logit }) => logit);
  };
  assert.deepEqual(await logits(at("converted", "model.safetensors")), await logits(at("run", "model.safetensors")));
  const wrong = await supersimplenet([...args, "--backbone", "resnet34", "--overwrite"]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /^error \[WEIGHTS_INVALID\] /m);
});

test("convert: a model of this package needs none", async () => {
  const { code, stderr } = await supersimplenet([
    "convert",
    "--checkpoint",
    at("run", "model.safetensors"),
    "--backbone",
    "resnet18",
    "--image-size",
    "64x64",
    "--out",
    at("again.safetensors"),
  ]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /is a model of this package already: use it with 'predict --model'/);
  assert.ok(!existsSync(at("again.safetensors")));
});

test("a model that is not there, is no model, or is cut off: a typed error, exit code 1", async () => {
  const good = path.join(data, "test", "good");
  copyFileSync(at("run", "model.safetensors"), at("cut.safetensors"));
  truncateSync(at("cut.safetensors"), 5000);
  writeFileSync(at("text.safetensors"), "hello");
  for (const [file, code] of [
    ["missing.safetensors", "FILE_NOT_FOUND"],
    ["text.safetensors", "FILE_CORRUPT"],
    ["cut.safetensors", "FILE_CORRUPT"],
  ] as const) {
    const finished = await supersimplenet(["predict", "--model", at(file), good]);
    assert.equal(finished.code, 1);
    assert.match(finished.stderr, new RegExp(`^error \\[${code}\\] .*${file}`, "m"));
    assert.equal(finished.stdout, "");
  }
});

test("a model of a newer format is refused", async () => {
  const { tensors, metadata } = await readTensors(at("run", "model.safetensors"));
  await writeTensors(at("newer.safetensors"), tensors, { ...metadata, format_version: "9" });
  const { code, stderr } = await supersimplenet(["evaluate", "--model", at("newer.safetensors"), "--data", data]);
  assert.equal(code, 1);
  assert.match(stderr, /^error \[MODEL_TOO_NEW\] /m);
});

test("a broken data set: every problem is listed, and no model is left", async () => {
  const broken = at("broken");
  await datasets.generated(broken, { imageSize: [64, 64], trainNormal: 4, testNormal: 1, testAnomalous: 1 });
  const [first, second] = readdirSync(path.join(broken, "train", "good"));
  writeFileSync(path.join(broken, "train", "good", first!), "not an image");
  writeFileSync(path.join(broken, "train", "good", second!), "");
  const { code, stderr, stdout } = await supersimplenet([
    "train",
    "--data",
    broken,
    "--out",
    at("broken-run"),
    "--json",
    ...small,
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /^error \[DATASET_INVALID\] /m);
  assert.ok(stderr.includes(first!) && stderr.includes(second!));
  assert.equal((JSON.parse(stdout) as { error: { problems: string[] } }).error.problems.length, 2);
  assert.ok(!existsSync(at("broken-run", "model.safetensors")));
});

test("Ctrl-C keeps the checkpoint; --resume ends at the weights of an uninterrupted run", async () => {
  const whole = await train(at("whole"), 5);
  assert.equal(whole.code, 0, whole.stderr);
  let sent = false;
  const stopped = await supersimplenet(["train", "--data", data, "--out", at("stopped"), "--epochs", "5", ...small], {
    onStderr(soFar, kill) {
      if (!sent && soFar.includes("epoch 2/5")) ((sent = true), kill("SIGINT"));
    },
  });
  assert.equal(stopped.code, 130, stopped.stderr);
  assert.match(stopped.stderr, /A checkpoint is kept; continue with: .* train .*--resume/);
  assert.ok(!existsSync(at("stopped", "model.safetensors")));
  const again = await train(at("stopped"), 5);
  assert.equal(again.code, 2, "a checkpoint is not overwritten unasked");
  const resumed = await train(at("stopped"), 5, "--resume");
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.deepEqual(readFileSync(at("stopped", "model.safetensors")), readFileSync(at("whole", "model.safetensors")));
  const epochs = readFileSync(at("stopped", "log.jsonl"), "utf8")
    .trim()
    .split("\n")
    .flatMap((line) => (JSON.parse(line) as { epoch?: number }).epoch ?? []);
  assert.deepEqual(epochs, [1, 2, 3, 4, 5]);
});

test(
  "a folder that cannot be written is found out before the training",
  { skip: process.getuid?.() === 0 && "root may write everywhere" },
  async () => {
    const { chmodSync } = await import("node:fs");
    mkdirSync(at("locked"));
    chmodSync(at("locked"), 0o500);
    const { code, stderr } = await train(at("locked", "run"), 1);
    assert.equal(code, 1);
    assert.match(stderr, /^error \[NO_PERMISSION\] /m);
  },
);

test("quickstart leaves a model, metrics and pictures, and can be run again", async () => {
  const args = ["quickstart", "--out", at("quick"), "--epochs", "1", "--image-size", "64x64", "--json"];
  const { code, stdout, stderr } = await supersimplenet(args);
  assert.equal(code, 0, stderr);
  const { contactSheet, report } = JSON.parse(stdout) as { contactSheet: string; report: string };
  assert.ok(existsSync(contactSheet));
  assert.ok(existsSync(report));
  assert.equal(readdirSync(at("quick", "pictures")).length, 8);
  for (const file of ["model.safetensors", "metrics.json", "log.jsonl"]) assert.ok(existsSync(at("quick", file)), file);
  const model = readFileSync(at("quick", "model.safetensors"));
  assert.equal((await supersimplenet(args)).code, 0);
  assert.deepEqual(readFileSync(at("quick", "model.safetensors")), model, "the same seed, the same model");
});

const main = path.resolve(__dirname, "../../lib/cli/main.js");

test("a reader that goes away ends the command quietly", async () => {
  const child = spawn(process.execPath, [main, "train", "--help"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(stderr, "");
  assert.equal(code, 141);
});

test("a training goes on when nobody reads what it says", async () => {
  const child = spawn(
    process.execPath,
    [main, "train", "--data", data, "--out", at("unread"), "--epochs", "2", ...small],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  child.stdout.destroy();
  child.stderr.destroy();
  assert.equal(await new Promise((resolve) => child.on("exit", resolve)), 0);
  assert.deepEqual(readdirSync(at("unread")).sort(), ["checkpoint", "log.jsonl", "metrics.json", "model.safetensors"]);
});

test(
  "results that cannot be written are an error",
  { skip: !existsSync("/dev/full") && "there is no /dev/full" },
  async () => {
    const full = openSync("/dev/full", "w");
    try {
      // With pictures the work goes on, and is an error in the end.
      for (const pictures of [[], ["--overlays", at("unreported")]]) {
        const child = spawn(
          process.execPath,
          [
            main,
            "predict",
            "--model",
            at("run", "model.safetensors"),
            "--threads",
            "1",
            path.join(data, "test", "good"),
            ...pictures,
          ],
          { stdio: ["ignore", full, "pipe"] },
        );
        let stderr = "";
        child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
        assert.equal(await new Promise((resolve) => child.on("close", resolve)), 1);
        assert.match(stderr, /^error \[NO_SPACE\] Cannot write the standard output/m);
      }
      assert.equal(readdirSync(at("unreported")).length, 3);
    } finally {
      closeSync(full);
    }
  },
);

test("by npm in a checkout: paths count from where npm was called, and what stops npm stops the training", async (t) => {
  if (spawnSync("npm", ["--version"]).status !== 0) return t.skip("there is no npm");
  const below = path.resolve(__dirname, "../../../docs");
  const child = spawn(
    "npm",
    [
      "run",
      "-s",
      "supersimplenet",
      "--",
      "train",
      "--data",
      path.relative(below, data),
      "--out",
      path.relative(below, at("by npm")),
      "--epochs",
      "1000",
      ...small,
    ],
    { cwd: below, stdio: ["ignore", "pipe", "pipe"] },
  );
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (!stderr.includes("epoch 1/1000") && (stderr + text).includes("epoch 1/1000")) child.kill("SIGTERM");
    stderr += text;
  });
  // Its output ends when the training does, which npm may do before.
  await new Promise((resolve) => child.on("close", resolve));
  assert.match(stderr, /^Stopping after the current step/m);
  assert.match(stderr, /continue with: npm run -s supersimplenet -- train .*--resume/);
  assert.ok(existsSync(at("by npm", "checkpoint", "last.safetensors")));
});
