import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { datasets } from "../../lib/datasets/index.js";
import { inferRegime } from "../../lib/datasets/regime.js";
import { renderScene } from "../../lib/datasets/surface.js";
import { defects as DEFECTS } from "../../lib/schema/datasets.js";
import { Random } from "../../lib/random.js";
import { failure, temporaryFolder } from "./files.js";

const SMALL = { imageSize: [64, 80], trainNormal: 3, testNormal: 2, testAnomalous: 6 } as const;

async function hashes(root: string): Promise<string[]> {
  const names = (await readdir(root, { recursive: true })).filter((name) => name.endsWith(".png")).sort();
  return Promise.all(
    names.map(
      async (name) =>
        `${name} ${createHash("sha256")
          .update(await readFile(path.join(root, name)))
          .digest("hex")}`,
    ),
  );
}

test("writes the folder layout, which validates", async (t) => {
  const root = path.join(await temporaryFolder(t), "new", "plates");
  const progress: number[] = [];
  const data = await datasets.generated(root, {
    ...SMALL,
    trainAnomalous: 3,
    trainSegmented: 2,
    onProgress: ({ written }) => progress.push(written),
  });
  assert.equal(data.kind, "generated");
  assert.equal(inferRegime(data), "mixed");
  assert.deepEqual((await datasets.validate(data)).counts, {
    trainNormal: 3,
    trainAnomalous: 3,
    trainSegmented: 2,
    testNormal: 2,
    testAnomalous: 6,
    testSegmented: 6,
  });
  assert.equal(progress.at(-1), 14);
  assert.deepEqual(new Set(data.samples.flatMap(({ defect }) => defect ?? [])), new Set(DEFECTS));
  assert.deepEqual(await readdir(path.dirname(root)), ["plates"], "temporary folder left behind");
  if (process.platform !== "win32")
    assert.equal((await stat(root)).mode & 0o777, 0o777 & ~process.umask(), "others may read it as any other folder");
});

test("the seed fixes every byte; more images leave the first as they were", async (t) => {
  const root = await temporaryFolder(t);
  await datasets.generated(path.join(root, "a"), SMALL);
  await datasets.generated(path.join(root, "b"), SMALL);
  await datasets.generated(path.join(root, "c"), { ...SMALL, seed: 1 });
  await datasets.generated(path.join(root, "d"), { ...SMALL, trainNormal: 5 });
  const [a, b, c, d] = await Promise.all(["a", "b", "c", "d"].map((name) => hashes(path.join(root, name))));
  assert.deepEqual(a, b);
  assert.ok(a!.every((line) => !c!.includes(line)));
  assert.ok(a!.every((line) => d!.includes(line)));
  assert.equal(new Set(a!.map((line) => line.split(" ")[1])).size, a!.length);
});

test("a folder of the same options is opened again, any other that has something in it refused", async (t) => {
  const root = await temporaryFolder(t);
  await mkdir(path.join(root, "empty"));
  assert.equal((await datasets.generated(path.join(root, "empty"), SMALL)).samples.length, 11);
  assert.equal((await datasets.generated(path.join(root, "empty"), SMALL)).samples.length, 11);
  await assert.rejects(
    datasets.generated(path.join(root, "empty"), { ...SMALL, seed: 9 }),
    failure("FILE_ERROR", "other options"),
  );
  await writeFile(path.join(root, "mine.txt"), "x");
  await assert.rejects(datasets.generated(root, SMALL), failure("FILE_ERROR", "not empty"));
});

test("cancelled or failed, it leaves nothing behind", async (t) => {
  const root = await temporaryFolder(t);
  const controller = new AbortController();
  await assert.rejects(
    datasets.generated(path.join(root, "plates"), {
      ...SMALL,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    }),
    failure("ABORTED"),
  );
  await writeFile(path.join(root, "file"), "x");
  await assert.rejects(datasets.generated(path.join(root, "file", "plates"), SMALL), failure("FILE_ERROR", "plates"));
  assert.deepEqual(await readdir(root), ["file"]);
});

test("bad options", async (t) => {
  const root = path.join(await temporaryFolder(t), "x");
  await assert.rejects(
    datasets.generated(root, { trainNormals: 3 } as object),
    failure("UNKNOWN_OPTION", "Did you mean 'trainNormal'"),
  );
  await assert.rejects(datasets.generated(root, { imageSize: [16, 64] }), failure("INVALID_OPTION", "imageSize"));
  await assert.rejects(
    datasets.generated(root, { imageSize: 64 as unknown as [number, number] }),
    failure("INVALID_OPTION", "[height, width]"),
  );
  await assert.rejects(
    datasets.generated(root, { trainAnomalous: 2, trainSegmented: 3 }),
    failure("INVALID_OPTION", "trainSegmented"),
  );
  await assert.rejects(
    datasets.generated(root, { defects: ["scratches" as "scratch"] }),
    failure("INVALID_OPTION", "did you mean 'scratch'"),
  );
});

test("every defect shows inside its mask and nowhere else", () => {
  const [height, width] = [128, 128];
  for (const defect of DEFECTS) {
    for (let seed = 0; seed < 4; seed++) {
      // Both draw the same scene and then the same camera noise: the defect has its own stream.
      const clean = renderScene(new Random(seed), height, width);
      const broken = renderScene(new Random(seed), height, width, defect);
      let inside = 0;
      let outside = 0;
      let area = 0;
      for (let i = 0; i < broken.mask.length; i++) {
        const difference = Math.abs(broken.pixels[3 * i + 2]! - clean.pixels[3 * i + 2]!);
        if (broken.mask[i]) [area, inside] = [area + 1, inside + difference];
        else outside += difference;
      }
      const share = area / broken.mask.length;
      assert.ok(share > 0.0008 && share < 0.12, `${defect} ${seed}: area ${share}`);
      assert.ok(inside / area > 12, `${defect} ${seed}: mean difference ${inside / area}`);
      assert.ok(
        outside / (broken.mask.length - area) < 0.5,
        `${defect} ${seed}: outside ${outside / (broken.mask.length - area)}`,
      );
    }
  }
});

test("anomalous training images without masks stay without, though test images have the same names", async (t) => {
  const data = await datasets.generated(path.join(await temporaryFolder(t), "weak"), {
    imageSize: [64, 64],
    trainNormal: 2,
    trainAnomalous: 5,
    trainSegmented: 0,
    testNormal: 1,
    testAnomalous: 5,
  });
  const { regime, counts } = await datasets.validate(data);
  assert.deepEqual([regime, counts.trainAnomalous, counts.trainSegmented, counts.testSegmented], ["weak", 5, 0, 5]);
});
