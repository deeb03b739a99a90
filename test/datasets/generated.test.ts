import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { partSteps } from "../../lib/datasets/part.js";
import { datasets } from "../../lib/datasets/index.js";
import { inferRegime } from "../../lib/datasets/regime.js";
import { renderScene } from "../../lib/datasets/surface.js";
import { defects as DEFECTS } from "../../lib/schema/datasets.js";
import { isRectangle, liesWithin, type Rectangle, rectangleText } from "../../lib/images/rectangle.js";
import { Random } from "../../lib/random.js";
import { atOnce } from "../../lib/turns.js";
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

test("scenes of the first generator, bit for bit", () => {
  const hash = createHash("sha256");
  for (const defect of [undefined, "scratch", "pits", "missing_print", "stain", "dent"] as const)
    for (const [height, width] of [
      [64, 80],
      [130, 100],
    ] as const)
      // prettier-ignore
      for (const seed of [0, 1, 2]) {
        const { pixels, mask } = renderScene(new Random(seed, "generated", "x"), height, width, defect);
        hash.update(pixels).update(mask);
      }
  assert.equal(hash.digest("hex"), "f753cc87e1e1ced19d697ac855d98d8dfb33adf5adaf05074b5da27428120bf9");
});

test("a recipe without the later options reads as it always did", async (t) => {
  const root = await temporaryFolder(t);
  const recipe = (name: string): Promise<string> => readFile(path.join(root, name, "generated.json"), "utf8");
  await datasets.generated(path.join(root, "a"), { ...SMALL, background: false, ignoreRegion: false });
  assert.deepEqual(Object.keys(JSON.parse(await recipe("a")) as object), [
    ...["generator", "imageSize", "seed", "trainNormal", "trainAnomalous", "trainSegmented"],
    ...["testNormal", "testAnomalous", "defects"],
  ]);
  const later = { ...SMALL, defectSize: [4, 8], background: true, ignoreRegion: true, testAnomalous: 1 } as const;
  await datasets.generated(path.join(root, "b"), { ...later, imageSize: [96, 96] });
  const { defectSize, background, ignoreRegion, generator } = JSON.parse(await recipe("b")) as Record<string, unknown>;
  assert.deepEqual([generator, defectSize, background, ignoreRegion], [1, [4, 8], true, true]);
  assert.equal((await datasets.generated(path.join(root, "b"), { ...later, imageSize: [96, 96] })).samples.length, 6);
  await assert.rejects(
    datasets.generated(path.join(root, "b"), { ...later, imageSize: [96, 96], ignoreRegion: false }),
    failure("FILE_ERROR", "other options"),
  );
});

/** The smallest rectangle around the pixels of a mask. */
function around(mask: Uint8Array, width: number): Rectangle {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  mask.forEach((pixel, i) => {
    if (pixel === 0) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
  });
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

const PART = {
  seed: 0,
  key: "a",
  height: 320,
  width: 280,
  defectSize: undefined,
  background: false,
  ignoreRegion: false,
};

test("defects are as large as asked for, visible, and nothing else changes", () => {
  for (const size of [
    [8, 24],
    [30, 60],
    [12, 12],
  ] as const)
    // prettier-ignore
    for (const defect of DEFECTS) {
      const sides: number[] = [];
      for (let seed = 0; seed < 5; seed++) {
        const clean = atOnce(partSteps({ ...PART, seed, defect: undefined }));
        const { pixels, mask } = atOnce(partSteps({ ...PART, seed, defect, defectSize: size }));
        const { width, height } = around(mask, PART.width);
        sides.push(Math.max(width, height));
        let [inside, outside, area] = [0, 0, 0];
        mask.forEach((marked, i) => {
          const difference = Math.abs(pixels[3 * i + 2]! - clean.pixels[3 * i + 2]!);
          if (marked) [area, inside] = [area + 1, inside + difference];
          else outside += difference;
        });
        assert.ok(inside / area > 8, `${defect} ${seed}: mean difference ${inside / area}`);
        assert.ok(outside / (mask.length - area) < 0.1, `${defect} ${seed}: outside`);
      }
      assert.ok(Math.min(...sides) >= size[0] && Math.max(...sides) <= size[1], `${defect}: ${sides.join()}`);
      if (size[0] < size[1]) assert.ok(new Set(sides).size > 2, `${defect}: ${sides.join()}`);
    }
});

test("a part on a background: varying places and sizes, the same part, its rectangle as roi", async (t) => {
  const places = new Set<string>();
  for (let seed = 0; seed < 6; seed++) {
    const { pixels, mask, roi } = atOnce(partSteps({ ...PART, seed, defect: "stain", background: true }));
    assert.ok(roi !== undefined && liesWithin(roi, PART));
    places.add(rectangleText(roi));
    const brightness = { inside: [0, 0], outside: [0, 0] };
    for (let i = 0; i < mask.length; i++) {
      const [x, y] = [i % PART.width, Math.floor(i / PART.width)];
      const inside = x >= roi.x && x < roi.x + roi.width && y >= roi.y && y < roi.y + roi.height;
      const sum = brightness[inside ? "inside" : "outside"];
      sum[0]! += pixels[3 * i]!;
      sum[1]!++;
      if (!inside) assert.equal(mask[i], 0);
    }
    const [inner, outer] = [brightness.inside, brightness.outside].map(([sum, count]) => sum! / count!);
    assert.ok(inner! > 90 && outer! < 45, `${inner} on ${outer}`);
    assert.ok(mask.includes(1));
  }
  assert.equal(places.size, 6);

  const root = path.join(await temporaryFolder(t), "parts");
  const options = { ...SMALL, imageSize: [128, 128], background: true, trainAnomalous: 2, trainSegmented: 1 } as const;
  const data = await datasets.generated(root, options);
  assert.equal(data.kind, "generated");
  assert.ok(data.samples.every(({ roi }) => isRectangle(roi)));
  const { counts, warnings, regime } = await datasets.validate(data);
  assert.deepEqual([counts.trainSegmented, counts.testSegmented, regime, warnings], [1, 6, "mixed", []]);
  assert.deepEqual((await datasets.open(root)).samples, data.samples);
  assert.deepEqual((await datasets.generated(root, options)).samples, data.samples);
});

test("a region that varies from part to part: on the part, beside the defect, with a mask for every image", async (t) => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 8; seed++)
    for (const background of [false, true]) {
      const options = { ...PART, seed, defect: "dent", background } as const;
      const plain = atOnce(partSteps(options));
      const { pixels, mask, ignore, roi } = atOnce(partSteps({ ...options, ignoreRegion: true }));
      const box = around(ignore!, PART.width);
      seen.add(rectangleText(box));
      assert.deepEqual([mask, roi], [plain.mask, plain.roi]);
      const area = ignore!.reduce((sum, pixel) => sum + pixel, 0);
      assert.equal(area, box.width * box.height);
      assert.ok(area < 0.1 * PART.width * PART.height);
      let changed = 0;
      for (let i = 0; i < mask.length; i++) {
        const same = pixels[3 * i] === plain.pixels[3 * i];
        if (ignore![i] === 0) assert.ok(same, "only the region changes");
        else if (!same) changed++;
        assert.ok(!(ignore![i] === 1 && mask[i] === 1));
      }
      assert.ok(changed > 0.15 * area, `${changed} of ${area}`);
      if (roi !== undefined)
        assert.ok(box.x >= roi.x && box.y >= roi.y && box.x + box.width <= roi.x + roi.width && box.y + box.height <= roi.y + roi.height); // prettier-ignore
    }
  assert.equal(seen.size, 16);

  const root = await temporaryFolder(t);
  for (const background of [false, true]) {
    const options = { ...SMALL, imageSize: [128, 128], trainAnomalous: 2, ignoreRegion: true, background } as const;
    const data = await datasets.generated(path.join(root, String(background)), options);
    assert.ok(data.samples.every(({ ignore }) => ignore !== undefined));
    assert.deepEqual((await datasets.validate(data)).warnings, []);
  }
});

test("bad sizes of defects, before anything is drawn", async (t) => {
  const root = path.join(await temporaryFolder(t), "x");
  for (const defectSize of [[3, 9], [9, 8], [8, 2049], [8], 8, "8,9", [8, 9.5], [8, 9, 10], null, [NaN, 9]])
    // prettier-ignore
    await assert.rejects(
      datasets.generated(root, { defectSize } as object),
      failure("INVALID_OPTION", "[least, most]", "defectSize"),
    );
  await assert.rejects(
    datasets.generated(root, { defectSize: [8, 129] }),
    failure("INVALID_OPTION", "here 128 pixels"),
  );
  await assert.rejects(
    datasets.generated(root, { defectSize: [8, 65], background: true }),
    failure("INVALID_OPTION", "here 64 pixels"),
  );
  for (const name of ["background", "ignoreRegion"])
    for (const value of [1, "true", null])
      await assert.rejects(datasets.generated(root, { [name]: value }), failure("INVALID_OPTION", name));
  await assert.rejects(datasets.generated(root, { imageSize: [64, 4097] }), failure("INVALID_OPTION", "at most 4096"));
});

test("other work goes on while a large image is drawn, which stops when it is cancelled", async (t) => {
  const root = path.join(await temporaryFolder(t), "x");
  const controller = new AbortController();
  let turns = 0;
  const timer = setInterval(() => {
    if (++turns === 3) controller.abort();
  }, 0);
  const drawing = datasets.generated(root, { imageSize: [4096, 4096], trainNormal: 1, testNormal: 0, testAnomalous: 0, signal: controller.signal }); // prettier-ignore
  await assert.rejects(drawing, failure("ABORTED"));
  clearInterval(timer);
  assert.ok(turns >= 3);
});
