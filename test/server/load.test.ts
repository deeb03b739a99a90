import assert from "node:assert/strict";
import { setMaxListeners } from "node:events";
import { connect } from "node:net";
import { before, test } from "node:test";
import { deflateSync } from "node:zlib";

import sharp from "sharp";

import { Detector } from "../../lib/index.js";
import { Admission } from "../../lib/server/admission.js";
import { inOrder } from "../../lib/server/images.js";
import { DetectionQueue } from "../../lib/server/queue.js";
import { scratchFolder } from "../training/support.js";
import { ask, HeldDetections, HeldOutput, metric, modelFile, multipart, pngImage, rawAsk, served } from "./support.js";
import { until } from "../support/until.js";

const folder = scratchFolder();
let file: string;
let image: Buffer;
before(async () => {
  file = await modelFile(folder);
  image = await pngImage();
});
const never = new AbortController().signal;
setMaxListeners(0, never);

test("admission: never more images and bytes than the limits; who waits enters in order", async () => {
  const admission = new Admission({ images: 2, bytes: 100 });
  const first = admission.take(60, () => 1);
  assert.throws(() => admission.take(41, () => 7), {
    code: "QUEUE_FULL",
    status: 429,
    headers: { "retry-after": "7" },
  });
  const entered: string[] = [];
  const wait = (name: string, bytes: number, signal = never) =>
    admission.takeWhenFree(bytes, signal).then((place) => (entered.push(name), place));
  const gone = new AbortController();
  const left = wait("gone", 50, gone.signal);
  const large = wait("large", 50);
  const small = wait("small", 1);
  assert.throws(() => admission.take(1, () => 1), { code: "QUEUE_FULL" }, "nobody overtakes those who wait");
  gone.abort(new Error("left"));
  await assert.rejects(left, /left/);
  assert.deepEqual([admission.images, admission.bytes], [1, 60]);
  first.shrinkTo(10);
  const place = await large;
  assert.deepEqual(entered, ["large"]);
  first.leave();
  first.leave();
  (await small).leave();
  place.leave();
  assert.deepEqual([admission.images, admission.bytes, entered], [0, 0, ["large", "small"]]);
  admission.take(1000, () => 1).leave(); // alone it has room
});

test("results in the order of the items, each as soon as it is there, no more at a time than allowed", async () => {
  const done: (() => void)[] = [];
  let running = 0;
  let most = 0;
  async function* items() {
    for (let i = 0; i < 5; i++) yield i;
    throw new Error("the items failed");
  }
  const work = async (item: number) => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => done.push(resolve));
    running--;
    return item;
  };
  const results = inOrder(items(), work, 2);
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    const next = results.next();
    await until(() => done.length > 0);
    done.shift()!();
    seen.push((await next).value as number);
  }
  await assert.rejects(results.next(), /the items failed/);
  assert.deepEqual([seen, most], [[0, 1, 2, 3, 4], 2]);
});

test("models take turns, and images of one model go through the network together", async () => {
  const [one, two] = [await Detector.load(file, { threads: 1 }), await Detector.load(file, { threads: 1 })];
  const batches: [detector: string, images: number][] = [];
  const queue = new DetectionQueue({
    batchSize: 4,
    onBatch: (detector, images) => batches.push([detector === one ? "one" : "two", images]),
  });
  const ended: string[] = [];
  const detect = async (name: string, detector: Detector) => {
    const { detection } = await queue.detect(detector, image, {}, never);
    ended.push(name);
    return detection.logit;
  };
  const many = Array.from({ length: 40 }, () => detect("one", one));
  const few = Array.from({ length: 3 }, () => detect("two", two));
  const logits = await Promise.all([...many, ...few]);
  const { logit } = await one.detect(image);
  for (const other of logits) assert.ok(Math.abs(other - logit) < 1e-4);
  // Three of the second model wait for a few batches, not for the forty before them.
  assert.ok(ended.lastIndexOf("two") < 25, ended.join(" "));
  assert.equal(
    batches.reduce((sum, [, images]) => sum + images, 0),
    43,
  );
  assert.ok(batches.length < 43 && batches.every(([, images]) => images <= 4), JSON.stringify(batches));
});

test("an image whose signal fires leaves the queue, and the others go on", async () => {
  const detector = await Detector.load(file, { threads: 1 });
  let images = 0;
  const queue = new DetectionQueue({ batchSize: 1, onBatch: () => images++ });
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const leaving = Array.from({ length: 20 }, () => queue.detect(detector, image, {}, controller.signal));
  const staying = queue.detect(detector, image, {}, never);
  const reason = new Error("gone");
  controller.abort(reason);
  for (const one of leaving) await assert.rejects(one, reason);
  await assert.rejects(queue.detect(detector, image, {}, controller.signal), reason);
  assert.ok(Number.isFinite((await staying).detection.logit));
  assert.ok(images < 20, `${images}`);
});

test("a full queue answers 429 with Retry-After at once, and takes images again when there is room", async (t) => {
  const held = new HeldDetections(t);
  const { url } = await served({ models: { part: file }, queueSize: 2 });
  const detect = (options = {}) => ask(`${url}/api/v1/models/part/detect`, { body: image, ...options });
  const running = [detect(), detect()];
  await until(() => held.images === 2);
  assert.equal(await metric(url, "supersimplenet_queue_images"), 2);
  const refused = await detect();
  assert.deepEqual([refused.status, refused.json.error.code], [429, "QUEUE_FULL"]);
  assert.match(String(refused.headers["retry-after"]), /^[1-9]\d*$/);
  assert.equal((await ask(`${url}/readyz`)).status, 200);
  // A request of several images waits for room instead: it has begun.
  const several = ask(`${url}/api/v1/models/part/detect`, multipart([{ name: "a", bytes: image }]));
  held.release();
  for (const { status } of await Promise.all([...running, several, detect()])) assert.equal(status, 200);
  assert.equal(await metric(url, "supersimplenet_queue_images"), 0);
  assert.equal(await metric(url, "supersimplenet_queue_bytes"), 0);
});

test("at its deadline a request is answered; what its work holds stays counted until it ends", async (t) => {
  const held = new HeldDetections(t);
  const { url } = await served({ models: { part: file }, queueSize: 1 });
  const detect = () =>
    ask(`${url}/api/v1/models/part/detect`, { body: image, headers: { "request-timeout-ms": "1500" } });
  const { status, json } = await detect();
  assert.deepEqual([status, json.error.code], [504, "DEADLINE_EXCEEDED"]);
  assert.match(json.error.message, /1500 ms/);
  assert.equal(held.images, 1);
  assert.equal((await detect()).status, 429);
  held.release();
  await until(async () => (await metric(url, "supersimplenet_queue_images")) === 0);
  assert.equal((await detect()).status, 200);
});

test("a client that goes away takes its image with it", async (t) => {
  const held = new HeldDetections(t);
  const { url, log } = await served({ models: { part: file }, queueSize: 1 });
  const controller = new AbortController();
  const address = `${url}/api/v1/models/part/detect`;
  const leaving = ask(address, { body: image, signal: controller.signal });
  await until(() => held.images === 1);
  controller.abort();
  await assert.rejects(leaving);
  await until(() => log.some(({ status }) => status === 499));
  held.release();
  await until(async () => (await metric(url, "supersimplenet_queue_images")) === 0);
  assert.equal((await ask(address, { body: image })).status, 200);
});

const head = (length: number, more = ""): string =>
  `POST /api/v1/models/part/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n${more}\r\n`;

test("a slow client holds up nobody and is given up at its deadline", async () => {
  const { url } = await served({ models: { part: file }, timeoutMs: 1500 });
  const { hostname, port } = new URL(url);
  const slow = connect(Number(port), hostname, () => slow.write(head(image.length)));
  let text = "";
  let sent = 0;
  slow.setEncoding("utf8").on("data", (part: string) => (text += part));
  slow.on("error", () => undefined);
  const ended = new Promise((resolve) => slow.on("close", resolve));
  const drip = setInterval(() => slow.writable && slow.write(image.subarray(sent, ++sent)), 50);
  for (let i = 0; i < 3; i++)
    assert.equal((await ask(`${url}/api/v1/models/part/detect`, { body: image })).status, 200);
  await ended;
  clearInterval(drip);
  assert.match(text, /^HTTP\/1\.1 408 [^]*REQUEST_TIMEOUT/);
  await until(async () => (await metric(url, "supersimplenet_queue_images")) === 0);
});

test("a client that stops within several images: its deadline ends it, and what was done has its line", async () => {
  const { url } = await served({ models: { part: file }, timeoutMs: 1000 });
  const { body, headers } = multipart([{ name: "a.png", bytes: image }]);
  for (const accept of ["application/json", "application/x-ndjson"]) {
    const more = `Content-Type: ${headers["content-type"]}\r\nAccept: ${accept}\r\n`;
    const unfinished = Buffer.concat([Buffer.from(head(body.length + 1000, more)), body.subarray(0, -8)]);
    const text = await rawAsk(url, unfinished);
    assert.match(text, /REQUEST_TIMEOUT/);
    if (accept.endsWith("ndjson")) assert.match(text, /^HTTP\/1\.1 200 /);
    else assert.match(text, /^HTTP\/1\.1 408 /);
  }
  await until(async () => (await metric(url, "supersimplenet_queue_images")) === 0);
});

test("a client that is slow with the head of its request is given up", async () => {
  const { url } = await served({ models: { part: file }, headerTimeoutMs: 300 });
  assert.match(
    await rawAsk(url, "POST /api/v1/models/part/detect HTTP/1.1\r\nHost: localhost\r\nX: "),
    /^HTTP\/1\.1 408 /,
  );
});

test("half a body, from a client that then leaves, is forgotten", async () => {
  const { url, log } = await served({ models: { part: file } });
  const { hostname, port } = new URL(url);
  for (const more of ["", "Content-Type: multipart/form-data; boundary=b\r\n"]) {
    const before = log.length;
    const socket = connect(Number(port), hostname, () => {
      socket.write(head(100_000, more));
      socket.write('--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n');
      socket.write(image);
      setTimeout(() => socket.destroy(), 100);
    });
    await until(() => log.slice(before).some(({ status }) => status === 499));
  }
  await until(async () => (await metric(url, "supersimplenet_queue_images")) === 0);
  assert.equal((await ask(`${url}/api/v1/models/part/detect`, { body: image })).status, 200);
  assert.ok(
    !log.some(({ level }) => Number(level) >= 50),
    JSON.stringify(log.filter(({ level }) => Number(level) >= 50)),
  );
});

/** A PNG of one colour: some kilobytes for any number of pixels. */
function bomb(width: number, height: number): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: "black" }, limitInputPixels: false })
    .png({ compressionLevel: 9 })
    .toBuffer();
}

test("a decompression bomb is refused by its header", async () => {
  const { url } = await served({ models: { part: file }, maxMegapixels: 4 });
  const detect = (body: Buffer, type = "image/png") =>
    ask(`${url}/api/v1/models/part/detect`, { body, headers: { "content-type": type } });
  const large = await bomb(3000, 2000);
  assert.ok(large.length < 50_000);
  const { status, json } = await detect(large);
  assert.deepEqual([status, json.error.code], [422, "IMAGE_UNREADABLE"]);
  assert.match(json.error.message, /6000000 pixels. At most 4000000/);
  assert.equal((await detect(await bomb(2000, 2000))).status, 200);
  const raw = await detect(Buffer.alloc(3000 * 2000), "application/x-raw-pixels; width=3000; height=2000; channels=1");
  assert.equal(raw.status, 422);
  // A header that claims far more than there is.
  const png = Buffer.from(await bomb(64, 64));
  png.writeUInt32BE(2_000_000_000, 16);
  assert.equal((await detect(png)).status, 422);
  assert.equal((await detect(deflateSync(Buffer.alloc(10_000_000)))).status, 422);
});

test("10,000 headers, a long address and what is no HTTP are refused, and the server goes on", async () => {
  const { url } = await served({ models: { part: file } });
  const headers = Array.from({ length: 10_000 }, (_, i) => `X-${i}: ${i}\r\n`).join("");
  const refused = await rawAsk(url, `GET /healthz HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`);
  assert.match(refused, /^HTTP\/1\.1 431 [^]*HEADERS_TOO_LARGE/);
  assert.match(await rawAsk(url, `GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`), /^HTTP\/1\.1 431 /);
  assert.match(await rawAsk(url, "\x16\x03\x01 hello\r\n\r\n"), /^HTTP\/1\.1 400 [^]*BAD_REQUEST/);
  assert.match(
    await rawAsk(url, "GET /%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    /^HTTP\/1\.1 400 /,
  );
  assert.equal((await ask(`${url}/healthz`)).status, 200);
});

test("a body that is too large is refused by its length, and while it comes without one", async () => {
  const { url } = await served({ models: { part: file }, maxBodyMiB: 1 });
  const address = `${url}/api/v1/models/part/detect`;
  const stated = await rawAsk(url, head(2 ** 21));
  assert.match(stated, /^HTTP\/1\.1 413 [^]*TOO_LARGE/);
  const chunk = Buffer.concat([Buffer.from("80000\r\n"), Buffer.alloc(2 ** 19), Buffer.from("\r\n")]);
  const chunked = Buffer.concat([
    Buffer.from("POST /api/v1/models/part/detect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ...Array.from({ length: 4 }, () => chunk),
  ]);
  assert.match(await rawAsk(url, chunked), /^HTTP\/1\.1 413 [^]*TOO_LARGE/);
  const part = await ask(address, multipart([{ name: "a", bytes: Buffer.alloc(2 ** 20 + 1) }]));
  assert.deepEqual([part.status, part.json.error.code], [413, "TOO_LARGE"]);
  await until(async () => (await metric(url, "supersimplenet_queue_bytes")) === 0);
});

test("an image that alone needs more than all the room is detected on", async () => {
  const { url } = await served({ models: { part: file }, queueMiB: 1, maxBodyMiB: 8 });
  const large = await sharp({ create: { width: 900, height: 800, channels: 3, background: "grey" } })
    .tiff({ compression: "none" })
    .toBuffer();
  assert.ok(large.length > 2 ** 20);
  assert.equal((await ask(`${url}/api/v1/models/part/detect`, { body: large })).status, 200);
});

test("an output that does not get on stops no answer, and gets every result once", async () => {
  const output = new HeldOutput(true);
  const { url } = await served({ models: { part: file }, queueSize: 4, timeoutMs: 20_000 }, output);
  const ids = Array.from({ length: 12 }, (_, i) => `part-${i}`);
  for (const id of ids) {
    const { status } = await ask(`${url}/api/v1/models/part/detect?id=${id}`, { body: image });
    assert.equal(status, 200);
  }
  assert.equal(await metric(url, "supersimplenet_queue_images"), 0);
  output.release();
  assert.deepEqual(
    output.results.map(({ id }) => id),
    ids,
  );
});
