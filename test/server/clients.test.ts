// Clients that keep a connection and do not do their part.
import assert from "node:assert/strict";
import dns from "node:dns/promises";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { before, test } from "node:test";
import { connect as connectTls } from "node:tls";

import { maxConnections } from "../../lib/server/connections.js";
import { DetectionQueue } from "../../lib/server/queue.js";
import { scratchFolder } from "../training/support.js";
import { until } from "../support/until.js";
import { ask, HeldDetections, metric, missing, modelFile, multipart, pngImage, served, selfSigned } from "./support.js";

const folder = scratchFolder();
let file: string;
let image: Buffer;
before(async () => {
  file = await modelFile(folder, "model", 256); // its maps are large answers
  image = await pngImage();
});

/** A connection that sends this and then nothing. */
function silent(url: string, sends: string | Uint8Array = ""): { socket: Socket; closed: Promise<unknown> } {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname, () => socket.write(sends));
  socket.on("error", () => undefined).resume();
  return { socket, closed: new Promise((resolve) => socket.on("close", resolve)) };
}

const detectHead = (headers: Record<string, string>, query = ""): string =>
  [
    `POST /api/v1/models/part/detect${query} HTTP/1.1`,
    "Host: localhost",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "\r\n",
  ].join("\r\n");

test("a client that does not take a large answer gives its place back", { timeout: 60_000 }, async (t) => {
  // One detection for all images: the answers are to be there long before the deadline, on a slow machine too.
  const { detect } = DetectionQueue.prototype;
  let one: ReturnType<typeof detect> | undefined;
  t.mock.method(
    DetectionQueue.prototype,
    "detect",
    function (this: DetectionQueue, ...image: Parameters<typeof detect>) {
      return (one ??= detect.apply(this, image));
    },
  );
  const { url, log } = await served({ models: { part: file }, timeoutMs: 4000, batchSize: 4 });
  const files = Array.from({ length: 24 }, (_, i) => ({ name: `${i}.png`, bytes: image }));
  const { body, headers } = multipart(files);
  const sockets = ["application/json", "application/x-ndjson"].map((accept) => {
    const head = detectHead({ ...headers, accept, "content-length": String(body.length) }, "?map=npy");
    return silent(url, Buffer.concat([Buffer.from(head), body])).socket.pause(); // it does not read either
  });
  await until(async () => (await metric(url, "supersimplenet_queue_images")) > 0);
  await until(async () => (await metric(url, "supersimplenet_queue_images")) === 0);
  // Each is logged once. A document may have gone to the system as a whole; the lines come one after another.
  const ended = (): unknown[] => log.filter(({ route }) => /detect$/.test(String(route)));
  await until(() => ended().length >= 2);
  await until(() => log.some(({ status }) => status === 499));
  assert.equal(ended().length, 2);
  assert.equal(await metric(url, "supersimplenet_queue_bytes"), 0);
  for (const socket of sockets) socket.destroy();
});

test("requests behind one another on a connection that is cut give their places back", async () => {
  const { url } = await served({ models: { part: file } });
  const one = detectHead({ "content-length": String(image.length) });
  const { socket } = silent(url, Buffer.concat([one, image, one, image, one, image].map((part) => Buffer.from(part))));
  await until(async () => (await metric(url, "supersimplenet_queue_images")) > 0);
  socket.destroy();
  await until(async () => (await metric(url, "supersimplenet_queue_images")) === 0);
  assert.equal((await ask(`${url}/api/v1/models/part/detect`, { body: image })).status, 200);
});

const noTls = missing("openssl");

test("a connection that begins no handshake is closed", { skip: noTls, timeout: 30_000 }, async () => {
  const { url } = await served({ models: { part: file }, headerTimeoutMs: 300, ...selfSigned(folder) });
  await silent(url).closed;
  await silent(url, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").closed;
});

test("connections that are silent do not hold up the stop", { skip: noTls, timeout: 30_000 }, async () => {
  for (const tls of [{}, selfSigned(folder)]) {
    const { server, url } = await served({ models: { part: file }, stopTimeoutMs: 300, ...tls });
    const halfHead = Object.keys(tls).length === 0 ? "GET / HTTP/1.1\r\n" : Buffer.from([22, 3, 1, 0, 200]);
    const sockets = [silent(url), silent(url, halfHead)];
    await Promise.all(sockets.map(({ socket }) => new Promise((resolve) => socket.once("connect", resolve))));
    await new Promise((resolve) => setTimeout(resolve, 100)); // the server has what was sent
    await server.close();
    for (const { closed } of sockets) await closed;
  }
});

test(
  "a finished handshake is no request: it does not hold up the stop, and half a request keeps its time",
  { skip: noTls, timeout: 30_000 },
  async () => {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const { server, url } = await served({ models: { part: file }, stopTimeoutMs: 600_000, ...selfSigned(folder) });
      const ended: string[] = [];
      const shakenHands = async (name: string, sends: string): Promise<Socket> => {
        const socket = connectTls({ port: Number(new URL(url).port), rejectUnauthorized: false, maxVersion });
        socket.on("error", () => undefined).resume();
        socket.on("close", () => ended.push(name));
        await new Promise((resolve) => socket.once("secureConnect", resolve));
        socket.write(sends);
        return socket;
      };
      const half = await shakenHands("half", "GET / HTTP/1.1\r\n");
      await shakenHands("silent", "");
      await new Promise((resolve) => setTimeout(resolve, 100)); // the server has what was sent
      const stopped = server.close();
      await until(() => ended.length > 0);
      assert.deepEqual(ended, ["silent"]);
      half.destroy();
      await stopped;
    }
  },
);

test("a connection that is kept after its answer ends when the server stops", { timeout: 30_000 }, async () => {
  const { server, url } = await served({ models: { part: file }, stopTimeoutMs: 600_000 });
  const agent = new Agent({ keepAlive: true });
  await new Promise<void>((resolve, reject) => {
    const asked = request(`${url}/healthz`, { agent }, (response) => response.resume().on("end", resolve));
    asked.on("error", reject).end();
  });
  await until(() => Object.keys(agent.freeSockets).length === 1);
  await server.close();
});

test(
  "all addresses have one limit of connections together",
  { skip: process.platform !== "linux" && "has one IPv4 address of this machine", timeout: 30_000 },
  async (t) => {
    const addresses = ["127.0.0.1", "127.0.0.2"].map((address) => ({ address, family: 4 }));
    t.mock.method(dns, "lookup", () => Promise.resolve(addresses));
    const { url } = await served({ models: { part: file }, host: "localhost", headerTimeoutMs: 600_000 });
    const urls = [url, url.replace("127.0.0.1", "127.0.0.2")];
    for (const one of urls) assert.equal((await ask(`${one}/healthz`)).status, 200);
    const sockets = Array.from({ length: maxConnections + 1 }, (_, i) => silent(urls[i % 2]!));
    t.after(() => sockets.forEach(({ socket }) => socket.destroy()));
    await Promise.all(sockets.map(({ socket }) => new Promise((resolve) => socket.once("connect", resolve))));
    await Promise.race(sockets.map(({ closed }) => closed));
    await new Promise((resolve) => setTimeout(resolve, 100)); // for more that would end
    assert.equal(sockets.filter(({ socket }) => socket.destroyed).length, 1);
  },
);

test("at both addresses of localhost the running requests are answered before the server has stopped", async (t) => {
  const held = new HeldDetections(t);
  const { server, url } = await served({ models: { part: file }, host: "localhost" });
  const { port } = new URL(url);
  const addresses = (await dns.lookup("localhost", { all: true })).map(({ address }) => address);
  const running = addresses.map((address) => {
    const host = address.includes(":") ? `[${address}]` : address;
    return ask(`http://${host}:${port}/api/v1/models/part/detect`, { body: image });
  });
  await until(() => held.images === addresses.length);
  const stopped = server.close().then(() => "stopped");
  held.release();
  const first = await Promise.race([Promise.all(running).then(() => "answered"), stopped]);
  assert.equal(first, "answered");
  for (const { status } of await Promise.all(running)) assert.equal(status, 200);
  await stopped;
});
