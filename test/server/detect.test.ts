import assert from "node:assert/strict";
import { before, test } from "node:test";

import sharp from "sharp";

import { recordOf } from "../../lib/detection/record.js";
import { Detector } from "../../lib/index.js";
import { npyFile } from "../../lib/report/npy.js";
import { failedImage, imageAnswer } from "../../lib/server/answers.js";
import { scratchFolder } from "../training/support.js";
import { ask, HeldOutput, metric, modelFile, multipart, pngImage, served } from "./support.js";

const folder = scratchFolder();
const output = new HeldOutput();
let url: string;
let image: Buffer;
let detector: Detector;
before(async () => {
  const file = await modelFile(folder);
  ({ url } = await served({ models: { part: file, other: file }, maxParts: 5 }, output));
  image = await pngImage(90, 70);
  detector = await Detector.load(file, { threads: 1, device: "cpu" });
});
const detectAt = (query = "", model = "part"): string => `${url}/api/v1/models/${model}/detect${query}`;
const withoutTimes = ({ timings: _, ...record }: { timings?: unknown; [name: string]: unknown }) => record;

test("an image gets what predict tells of it", async () => {
  const { status, json } = await ask(detectAt("?id=part%207"), { body: image });
  assert.equal(status, 200);
  const expected = JSON.parse(JSON.stringify(recordOf(await detector.detect(image), { id: "part 7" }))) as object;
  assert.deepEqual(withoutTimes(json), withoutTimes({ ...expected }));
  imageAnswer.parse(json);
});

test("every format that is read, whatever its content type says", async () => {
  const pixels = sharp(image);
  for (const format of ["jpeg", "webp", "tiff", "gif", "avif"] as const) {
    const body = await pixels.clone().toFormat(format).toBuffer();
    const { status, json } = await ask(detectAt(), { body, headers: { "content-type": "text/plain" } });
    assert.equal(status, 200, format);
    assert.deepEqual([json.width, json.height], [90, 70]);
  }
});

test("raw pixels, and what is wrong with them", async () => {
  const { data } = await sharp(image).raw().toBuffer({ resolveWithObject: true });
  const raw = (type: string, body = data) => ask(detectAt(), { body, headers: { "content-type": type } });
  const answer = await raw("application/x-raw-pixels; width=90; height=70; channels=3");
  const { logit } = await detector.detect(image);
  assert.equal(answer.json.logit, logit);
  for (const [type, option] of [
    ["application/x-raw-pixels; width=90; height=70", "channels"],
    ["application/x-raw-pixels; width=90; height=70; channels=2", "channels"],
    ["application/x-raw-pixels; width=0; height=70; channels=3", "width"],
    ["application/x-raw-pixels; width=91; height=70; channels=3", "data"],
    ["application/x-raw-pixels; width=999999999; height=999999999; channels=4", "data"],
  ]) {
    const { status, json } = await raw(type!);
    assert.equal(status, 400, type);
    assert.equal(json.error.code, "INVALID_OPTION");
    assert.match(json.error.message, new RegExp(`'${option}'`));
  }
});

test("maps and overlays", async () => {
  const { json } = await ask(detectAt("?map=npy&overlay=1"), { body: image });
  imageAnswer.parse(json);
  const { data, height, width } = (await detector.detect(image)).map;
  assert.deepEqual(Buffer.from(json.map.base64, "base64"), npyFile(data, [height, width]));
  const overlay = await sharp(Buffer.from(json.overlay.base64, "base64")).metadata();
  assert.equal(overlay.format, "png");
  const { json: png } = await ask(detectAt("?map=png"), { body: image });
  const map = await sharp(Buffer.from(png.map.base64, "base64")).metadata();
  assert.deepEqual([map.width, map.height, png.map.mediaType], [64, 64, "image/png"]);
  assert.ok(!("overlay" in png));
});

test("several images: one document, and lines as they are done; a damaged one does not harm the others", async () => {
  const files = [
    { name: "a.png", bytes: image },
    { name: "damaged.png", bytes: image.subarray(0, 300) },
    { name: "b.png", bytes: await pngImage(64, 64, 1) },
  ];
  const { body, headers } = multipart(files);
  const whole = await ask(detectAt(), { body, headers });
  assert.equal(whole.status, 200);
  const lines = await ask(detectAt(), { body, headers: { ...headers, accept: "application/x-ndjson" } });
  assert.equal(lines.headers["content-type"], "application/x-ndjson");
  const read = lines.text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const images of [whole.json.images, read]) {
    assert.deepEqual(
      images.map(({ id }: { id: string }) => id),
      ["a.png", "damaged.png", "b.png"],
    );
    imageAnswer.parse(images[0]);
    failedImage.parse(images[1]);
    assert.equal(images[1].error.code, "IMAGE_UNREADABLE");
    imageAnswer.parse(images[2]);
    assert.equal(images[0].logit, (await detector.detect(image)).logit);
  }
});

test("more parts than allowed: those before have their lines, then the error", async () => {
  const { body, headers } = multipart(Array.from({ length: 8 }, (_, i) => ({ name: `${i}.png`, bytes: image })));
  const whole = await ask(detectAt(), { body, headers });
  assert.deepEqual([whole.status, whole.json.error.code], [413, "TOO_LARGE"]);
  const { text } = await ask(detectAt(), { body, headers: { ...headers, accept: "application/x-ndjson" } });
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { id?: string; error?: { code: string } });
  assert.equal(lines.at(-1)!.error?.code, "TOO_LARGE");
  assert.deepEqual(
    lines.slice(0, -1).map(({ id }) => id),
    lines.slice(0, -1).map((_, i) => `${i}.png`),
  );
});

test("what is wrong with a request is said", async () => {
  const damaged = await ask(detectAt(), { body: image.subarray(0, 300) });
  assert.deepEqual([damaged.status, damaged.json.error.code], [422, "IMAGE_UNREADABLE"]);
  const empty = await ask(detectAt(), { method: "POST" });
  assert.deepEqual([empty.status, empty.json.error.code], [400, "BAD_REQUEST"]);
  const unknown = await ask(detectAt("", "none"), { body: image });
  assert.deepEqual([unknown.status, unknown.json.error.code], [404, "NO_SUCH_MODEL"]);
  const nowhere = await ask(`${url}/api/v2`);
  assert.deepEqual([nowhere.status, nowhere.json.error.code], [404, "NO_SUCH_ADDRESS"]);
  const query = await ask(detectAt("?map=jpg"), { body: image });
  assert.equal(query.status, 400);
  assert.match(query.json.error.message, /one of 'none', 'png', 'npy'.* for 'map'/);
  const misspelt = await ask(detectAt("?overley=1"), { body: image });
  assert.match(misspelt.json.error.message, /overlay/);
  const zipped = await ask(detectAt(), { body: image, headers: { "content-encoding": "gzip" } });
  assert.deepEqual([zipped.status, zipped.json.error.code], [415, "UNSUPPORTED_TYPE"]);
  const noParts = await ask(detectAt(), multipart([]));
  assert.deepEqual([noParts.status, noParts.json.error.code], [400, "BAD_REQUEST"]);
  const notMultipart = await ask(detectAt(), { body: image, headers: { "content-type": "multipart/form-data" } });
  assert.equal(notMultipart.status, 400);
  const deadline = await ask(detectAt(), { body: image, headers: { "request-timeout-ms": "soon" } });
  assert.equal(deadline.status, 400);
});

test("results go to the output, with their model and time, before the answer", async () => {
  output.results.length = 0;
  const { json } = await ask(detectAt("?id=7&map=png"), { body: image });
  const { map: _, ...record } = json;
  const [{ time, model, ...result }] = output.results as [(typeof output.results)[0]];
  assert.deepEqual(JSON.parse(JSON.stringify(result)), record);
  assert.equal(new Date(time).toISOString(), time);
  assert.equal(model.name, "part");
  assert.equal(await metric(url, 'supersimplenet_output_written{output="test"}'), output.results.length);
});

test("a model's card, and the list", async () => {
  const { json } = await ask(`${url}/api/v1/models`);
  assert.deepEqual(
    json.models.map(({ name }: { name: string }) => name),
    ["other", "part"],
  );
  const card = (await ask(`${url}/api/v1/models/part`)).json;
  assert.deepEqual(card, { ...json.models[1], drift: card.drift });
  assert.equal(card.state, "ready");
  assert.match(card.checksum, /^[0-9a-f]{64}$/);
  assert.equal(card.model.path, "model.safetensors"); // no more of the server's disk than the name
  assert.equal(card.model.thresholds.decision, "score");
  assert.equal(card.failure, null);
});

test("metrics count what was asked for", async () => {
  const before = await metric(url, 'supersimplenet_verdicts_total{model="other",verdict="good"}');
  const { json } = await ask(detectAt("", "other"), { body: image });
  await ask(detectAt("", "other"), { body: image.subarray(0, 100) });
  const verdict = `supersimplenet_verdicts_total{model="other",verdict="${json.verdict}"}`;
  assert.equal(await metric(url, verdict), before + 1);
  assert.equal(await metric(url, 'supersimplenet_image_errors_total{model="other",code="IMAGE_UNREADABLE"}'), 1);
  assert.equal(await metric(url, 'supersimplenet_stage_seconds_count{model="other",stage="engine"}'), 1);
  assert.equal(await metric(url, "supersimplenet_queue_images"), 0);
  assert.ok((await metric(url, "supersimplenet_resident_memory_bytes")) > 1e6);
  assert.equal(await metric(url, 'supersimplenet_drift_images{model="other"}'), 1);
});

test("the OpenAPI description names every address and holds the query's options", async () => {
  const { json } = await ask(`${url}/openapi.json`);
  assert.equal(json.openapi, "3.1.0");
  const detect = json.paths["/api/v1/models/{name}/detect"].post;
  const names = detect.parameters.map(({ name }: { name: string }) => name);
  assert.deepEqual(names, ["name", "map", "overlay", "id", "Request-Timeout-Ms"]);
  for (const [reference] of JSON.stringify(json).matchAll(/#\/components\/schemas\/\w+/g))
    assert.ok(reference.split("/").at(-1)! in json.components.schemas, reference);
  for (const address of Object.keys(json.paths as object)) {
    const { status } = await ask(url + address.replace("{name}", "part"), { method: "HEAD" });
    assert.equal(status, address.endsWith("/detect") ? 404 : 200, address);
  }
});

test("the page to try it loads nothing from elsewhere and may run nothing else", async () => {
  const { text, headers } = await ask(`${url}/`);
  assert.match(text, /<title>supersimplenet/);
  assert.ok(![...text.matchAll(/(?:src|href)="([^"]*)"/g)].some(([, to]) => /^\w+:|^\/\//.test(to!)));
  assert.match(String(headers["content-security-policy"]), /default-src 'none'; script-src 'sha256-/);
});
