import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { type Benchmark, benchmark, type Latency, percentile } from "../../lib/benchmark/benchmark.js";
import { datasets, Model, SuperSimpleNetError, Trainer } from "../../lib/index.js";
import { plainView } from "../../lib/schema/view.js";
import { supersimplenet } from "../cli/run.js";

let folder: string;
before(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-benchmark-test-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

test("percentiles by nearest rank", () => {
  const values = Array.from({ length: 200 }, (_, i) => 200 - i);
  assert.deepEqual(
    [50, 95, 99, 100].map((p) => percentile(values, p)),
    [100, 190, 198, 200],
  );
  assert.equal(percentile([3, 1, 2], 99), 3);
  assert.equal(percentile([7], 50), 7);
});

/** That the document is whole and consistent; never how long anything took. */
function checkDocument(document: Benchmark): void {
  for (const key of ["modelOnly", "fileToDecision"] as const) {
    const figures: Latency = document[key];
    assert.deepEqual(Object.keys(figures), ["p50Ms", "p95Ms", "p99Ms", "imagesPerSecond"]);
    assert.ok(
      figures.p50Ms > 0 &&
        figures.p50Ms <= figures.p95Ms &&
        figures.p95Ms <= figures.p99Ms &&
        figures.imagesPerSecond > 0,
      JSON.stringify(figures),
    );
  }
  assert.ok(document.loadMs > 0);
  assert.ok(document.peakMemoryBytes > 2 ** 20);
  assert.ok(document.flopsComputed < document.flops);
}

test("the command prints one document and says that the weights are random", async () => {
  const args = [
    "benchmark",
    "--backbone",
    "resnet18",
    "--backbone-weights",
    "random",
    "--image-size",
    "64x96",
    "--batch",
    "2",
    "--repetitions",
    "3",
    "--warmup",
    "1",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--json",
  ];
  const { code, stdout, stderr } = await supersimplenet(args, { env: { TMPDIR: folder } });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^warning: random heads on a random backbone/m);
  const document = JSON.parse(stdout) as Benchmark;
  checkDocument(document);
  const { model, precision, heads, threads, batchSize, repetitions, warmup, file } = document;
  assert.deepEqual(
    { precision, heads, threads, batchSize, repetitions, warmup },
    { precision: "float32", heads: "lowResolution", threads: 1, batchSize: 2, repetitions: 3, warmup: 1 },
  );
  assert.equal(model.path, null);
  assert.deepEqual(
    [model.backbone.architecture, model.backbone.trained, model.imageSize],
    ["resnet18", false, [64, 96]],
  );
  assert.deepEqual([file.height, file.width], [64, 96]);
  assert.deepEqual(readdirSync(folder), [], "no temporary files are left");

  const lost = await supersimplenet(args, { env: { TMPDIR: path.join(folder, "none") } });
  assert.match(lost.stderr, /\[FILE_NOT_FOUND\] Cannot create temporary folder .* Set TMPDIR to another folder\.$/m);
});

test("a model file brings its own network", async () => {
  const data = await datasets.generated(path.join(folder, "data"), {
    imageSize: [64, 64],
    trainNormal: 4,
    testNormal: 1,
    testAnomalous: 1,
    seed: 0,
  });
  const trainer = new Trainer({
    backbone: "resnet18",
    backboneWeights: "random",
    imageSize: [64, 64],
    network: { variant: "icpr" },
    epochs: 1,
    calibration: { fraction: 0 },
    threads: 1,
    device: "cpu",
  });
  const file = path.join(folder, "model.safetensors");
  await (await trainer.fit(data)).save(file);
  const progress: string[] = [];
  const document = await benchmark({
    model: file,
    device: "cpu",
    heads: "direct",
    repetitions: 2,
    warmup: 0,
    onProgress: (done, total) => progress.push(`${done}/${total}`),
  });
  assert.deepEqual([document.model.path, document.model.variant, document.heads], [file, "icpr", "direct"]);
  assert.equal(document.flopsComputed, document.flops);
  assert.deepEqual(progress, ["1/4", "2/4", "3/4", "4/4"]);

  const viewed = await Model.load(file);
  viewed.config.view = { ...plainView, roi: { x: 100, y: 100, width: 900, height: 900 } };
  await viewed.save(path.join(folder, "viewed.safetensors"));
  const model = path.join(folder, "viewed.safetensors");
  const { file: shown } = await benchmark({ model, device: "cpu", repetitions: 1, warmup: 0 });
  assert.deepEqual([shown.width, shown.height], [64, 64], "one input of the network");
});

const wrong: [name: string, options: Parameters<typeof benchmark>[0], code: string, message: RegExp][] = [
  ["no repetitions", { repetitions: 0 }, "INVALID_OPTION", /'repetitions'/],
  ["half a warm-up", { warmup: 0.5 }, "INVALID_OPTION", /'warmup'/],
  ["unknown backbone", { backbone: "resnet19" as "resnet18" }, "INVALID_OPTION", /did you mean 'resnet18'/],
  ["a size too small", { imageSize: [8, 8] }, "INVALID_OPTION", /imageSize/],
  ["a precision there is not", { precision: "float8" as "float16" }, "INVALID_OPTION", /'precision'/],
  ["float16 on the CPU", { precision: "float16" }, "INVALID_OPTION", /for CUDA/],
  ["unknown device", { device: "tpu" }, "INVALID_OPTION", /'device'/],
  [
    "model and size",
    { model: "x.safetensors", imageSize: [64, 64] },
    "INVALID_OPTION",
    /its own backbone and image size/,
  ],
  [
    "misspelt option",
    { repetition: 3 } as Parameters<typeof benchmark>[0],
    "UNKNOWN_OPTION",
    /Did you mean 'repetitions'/,
  ],
  [
    "cancelled",
    { backbone: "resnet18", backboneWeights: "random", imageSize: [64, 64], signal: AbortSignal.abort() },
    "ABORTED",
    /cancelled/,
  ],
];
for (const [name, options, code, message] of wrong) {
  test(`${name}: ${code}`, async () => {
    await assert.rejects(
      benchmark({ device: "cpu", ...options }),
      (error) => error instanceof SuperSimpleNetError && error.code === code && message.test(error.message),
    );
  });
}
