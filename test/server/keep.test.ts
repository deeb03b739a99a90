import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import sharp from "sharp";

import { datasets, type Keeper, openKeeper } from "../../lib/index.js";
import { scratchFolder } from "../training/support.js";
import { until } from "../support/until.js";
import { ask, metric, modelFile, multipart, pngImage, served } from "./support.js";

const folder = scratchFolder();
let file: string;
let image: Buffer;
before(async () => {
  file = await modelFile(folder);
  image = await pngImage();
});
const address = (url: string, query = ""): string => `${url}/api/v1/models/part/detect${query}`;

test("images that were asked about are kept as they came, for the next training", async () => {
  const keepDir = path.join(folder, "area", "kept");
  const keeper = await openKeeper({ keep: ["random:1"], keepDir });
  const { server, url } = await served({ models: { part: file } }, undefined, keeper);
  const jpeg = await sharp(image).jpeg().toBuffer();
  const [other, third] = [await pngImage(80, 60, 1), await pngImage(50, 60, 2)];
  const { data } = await sharp(third).raw().toBuffer({ resolveWithObject: true });
  await ask(address(url, "?id=..%2f..%2fx"), { body: image });
  await ask(address(url), { body: jpeg, headers: { "content-type": "image/png" } });
  await ask(address(url), multipart([{ name: "../../../other.bmp", bytes: other }]));
  const raw = "application/x-raw-pixels; width=50; height=60; channels=3";
  const { json } = await ask(address(url), { body: data, headers: { "content-type": raw, "x-request-id": "raw-one" } });
  await until(async () => (await metric(url, "supersimplenet_kept_images")) === 4);
  assert.equal(await metric(url, "supersimplenet_kept_missed"), 0);
  await server.close();

  assert.deepEqual(readdirSync(path.join(folder, "area")), ["kept"]);
  const kept = readFileSync(path.join(keepDir, "kept.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { id: string; file: string; logit: number });
  const bytesOf = (wanted: (id: string) => boolean) =>
    readFileSync(path.join(keepDir, kept.find(({ id }) => wanted(id))!.file));
  assert.deepEqual(
    bytesOf((id) => id === "../../x"),
    image,
  );
  assert.deepEqual(
    bytesOf((id) => id.endsWith("other.bmp")),
    other,
  );
  assert.equal(kept.filter(({ file: name }) => name.endsWith(".jpg")).length, 1);
  const again = await sharp(bytesOf((id) => id === "raw-one"))
    .raw()
    .toBuffer();
  assert.deepEqual(again, data);
  assert.equal(kept.find(({ id }) => id === "raw-one")!.logit, json.logit);
  const { samples } = await datasets.open(keepDir);
  assert.equal(samples.length, 4);
});

test("a keeper that does not get on, or fails, neither delays nor fails an answer, and is told of", async () => {
  let failing = true;
  let closed = 0;
  const keeper: Keeper = {
    offer: (result) =>
      result.id === "stuck"
        ? new Promise(() => undefined)
        : failing
          ? Promise.reject(new Error("the disk is gone"))
          : Promise.resolve(true),
    status: () => ({ kept: 7, full: true }),
    close: async () => void closed++,
  };
  const { server, url, log } = await served({ models: { part: file } }, undefined, keeper);
  const detect = async (id: string) =>
    assert.equal((await ask(address(url, `?id=${id}`), { body: image })).status, 200);
  const told = () => log.map(({ msg }) => String(msg)).filter((msg) => /kept/.test(msg));
  await detect("stuck");
  await detect("a");
  await detect("b");
  await until(async () => (await metric(url, "supersimplenet_kept_missed")) === 2);
  assert.equal(await metric(url, "supersimplenet_kept_failing"), 1);
  assert.equal(await metric(url, "supersimplenet_kept_full"), 1);
  assert.deepEqual(told(), ["an image was not kept: the disk is gone"]);
  failing = false;
  await detect("c");
  await until(async () => (await metric(url, "supersimplenet_kept_failing")) === 0);
  assert.equal(told().length, 2);
  await server.close();
  assert.equal(closed, 1);
});
