import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { promises } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { before, test } from "node:test";

import { sha256 } from "../../lib/images/identity.js";
import { answerTo } from "../../lib/server/errors.js";
import { receiveFile } from "../../lib/server/receive.js";
import { scratchFolder } from "../training/support.js";
import { ask, HeldDetections, HeldOutput, metric, modelFile, pngImage, served } from "./support.js";
import { diskSteps, isSafeOrder } from "../support/disk.js";
import { until } from "../support/until.js";

const folder = scratchFolder();
const token = "0123456789abcdef-token";
const headers = { authorization: `Bearer ${token}` };
let low: string;
let high: string;
let image: Buffer;
before(async () => {
  low = await modelFile(folder, "low", 64, 0.25);
  high = await modelFile(folder, "high", 64, 0.75);
  image = await pngImage();
});

/** As model.save and a careful copy do it: the file is there as a whole. */
function replace(file: string, by: string): void {
  copyFileSync(by, `${file}.new`);
  renameSync(`${file}.new`, file);
}
const thresholdAt = async (url: string, name = "part"): Promise<number> =>
  (await ask(`${url}/api/v1/models/${name}/detect`, { body: image, headers })).json.threshold as number;
const about = (value: number, expected: number): void => assert.ok(Math.abs(value - expected) < 1e-9, `${value}`);

test("a file that changes is loaded, and requests in flight end on the model before", async (t) => {
  const file = path.join(folder, "part.safetensors");
  copyFileSync(low, file);
  const held = new HeldDetections(t);
  const output = new HeldOutput();
  const { server, url } = await served({ models: { part: file } }, output);
  const running = thresholdAt(url);
  await until(() => held.images === 1);
  replace(file, high);
  await server.reload();
  const { json } = await ask(`${url}/api/v1/models/part`);
  assert.equal(json.checksum, await sha256(readFileSync(high)));
  held.release();
  about(await running, 0.25);
  about(await thresholdAt(url), 0.75);
  assert.equal(output.results[0]!.model.checksum, await sha256(readFileSync(low)));
  assert.equal(output.results[1]!.model.checksum, json.checksum);
});

test("requests without a pause see one model or the other, and none fails while the file changes", async () => {
  const file = path.join(folder, "busy.safetensors");
  copyFileSync(low, file);
  const { server, url } = await served({ models: { part: file } });
  let stop = false;
  const seen = new Set<string>();
  const clients = Array.from({ length: 3 }, async () => {
    while (!stop) seen.add((await thresholdAt(url)).toFixed(2));
  });
  for (const next of [high, low, high]) {
    await thresholdAt(url);
    replace(file, next);
    await server.reload();
  }
  await thresholdAt(url);
  stop = true;
  await Promise.all(clients);
  assert.deepEqual([...seen].sort(), ["0.25", "0.75"]);
});

test("a broken file leaves the model before serving, and the log, the card and the metrics say so", async () => {
  const file = path.join(folder, "broken.safetensors");
  copyFileSync(low, file);
  const { server, url, log } = await served({ models: { part: file } });
  writeFileSync(file, readFileSync(high).subarray(0, 100_000));
  await server.reload();
  about(await thresholdAt(url), 0.25);
  const { failure, state } = (await ask(`${url}/api/v1/models/part`)).json;
  assert.deepEqual([state, failure.code], ["ready", "FILE_CORRUPT"]);
  assert.equal(await metric(url, 'supersimplenet_model_reload_failed{model="part"}'), 1);
  assert.equal(await metric(url, 'supersimplenet_model_loads_total{model="part",outcome="refused"}'), 1);
  const errors = () => log.filter(({ level }) => level === 50).length;
  assert.equal(errors(), 1);
  await server.reload(); // the same file is not tried again
  assert.equal(errors(), 1);
  assert.equal((await ask(`${url}/readyz`)).status, 200);
  replace(file, high);
  await server.reload();
  about(await thresholdAt(url), 0.75);
  assert.equal((await ask(`${url}/api/v1/models/part`)).json.failure, null);
  assert.equal(await metric(url, 'supersimplenet_model_reload_failed{model="part"}'), 0);
});

test("a file that is removed leaves the model serving", async () => {
  const file = path.join(folder, "gone.safetensors");
  copyFileSync(low, file);
  const { server, url } = await served({ models: { part: file } });
  renameSync(file, `${file}.away`);
  await server.reload();
  about(await thresholdAt(url), 0.25);
  assert.equal((await ask(`${url}/api/v1/models/part`)).json.failure.code, "FILE_NOT_FOUND");
});

test("files are looked at without being asked", async () => {
  const file = path.join(folder, "watched.safetensors");
  copyFileSync(low, file);
  const { url } = await served({ models: { part: file }, reloadSeconds: 0.05 });
  replace(file, high);
  await until(async () => (await thresholdAt(url)) > 0.5);
});

test("models of a folder; PUT loads a file there, DELETE unloads it, PUT without a file loads it again", async () => {
  const modelsDir = path.join(folder, "models");
  mkdirSync(modelsDir);
  copyFileSync(low, path.join(modelsDir, "first.safetensors"));
  writeFileSync(path.join(modelsDir, ".x.0123.upload"), "left by a server that was killed");
  writeFileSync(path.join(modelsDir, "notes.txt"), "");
  const { server, url } = await served({ modelsDir, token, models: { fixed: low } });
  assert.deepEqual(server.modelNames, ["first", "fixed"]);
  assert.ok(!readdirSync(modelsDir).includes(".x.0123.upload"));

  const at = (name: string) => `${url}/api/v1/models/${name}`;
  const put = (name: string, body?: Buffer) => ask(at(name), { method: "PUT", headers, ...(body && { body }) });
  const made = await put("second", readFileSync(high));
  assert.deepEqual([made.status, made.json.state], [200, "ready"]);
  about(await thresholdAt(url, "second"), 0.75);

  const broken = await put("second", readFileSync(low).subarray(0, 1000));
  assert.deepEqual([broken.status, broken.json.error.code], [422, "FILE_CORRUPT"]);
  about(await thresholdAt(url, "second"), 0.75);
  assert.deepEqual(readFileSync(path.join(modelsDir, "second.safetensors")), readFileSync(high));
  assert.equal((await put("third", image)).status, 422);
  assert.equal((await ask(at("third"), { headers })).status, 404);

  assert.equal((await ask(at("second"), { method: "DELETE", headers })).status, 204);
  const unloaded = await ask(`${at("second")}/detect`, { body: image, headers });
  assert.deepEqual([unloaded.status, unloaded.json.error.code], [503, "MODEL_UNLOADED"]);
  assert.equal((await ask(at("second"), { headers })).json.state, "unloaded");
  await server.reload();
  assert.equal((await ask(at("second"), { headers })).json.state, "unloaded");
  assert.equal((await put("second")).json.state, "ready");
  about(await thresholdAt(url, "second"), 0.75);

  assert.equal((await put("none")).status, 404);
  assert.equal((await ask(at("none"), { method: "DELETE", headers })).status, 404);
  assert.deepEqual([(await put("fixed", readFileSync(high))).status, await thresholdAt(url, "fixed")], [409, 0.25]);
  assert.deepEqual(readdirSync(modelsDir).sort(), ["first.safetensors", "notes.txt", "second.safetensors"]);
});

test("a models folder that is named by a relative path takes files too", async () => {
  const modelsDir = path.join(folder, "relative");
  mkdirSync(modelsDir);
  copyFileSync(low, path.join(modelsDir, "part.safetensors"));
  const { url } = await served({ modelsDir: path.relative(process.cwd(), modelsDir), token });
  const put = (name: string) =>
    ask(`${url}/api/v1/models/${name}`, { method: "PUT", headers, body: readFileSync(high) });
  for (const name of ["part", "other"]) {
    const { status, text } = await put(name);
    assert.equal(status, 200, text);
    about(await thresholdAt(url, name), 0.75);
  }
});

test(
  "an uploaded model is on the disk before it takes the old one's place, and its name with it",
  { skip: process.platform !== "linux" && "reads /proc" },
  async (t) => {
    const modelsDir = path.join(folder, "flushed");
    mkdirSync(modelsDir);
    const target = path.join(modelsDir, "part.safetensors");
    copyFileSync(low, target);
    const { url } = await served({ modelsDir, token });
    const steps = await diskSteps(t);
    const { status, text } = await ask(`${url}/api/v1/models/part`, {
      method: "PUT",
      headers,
      body: readFileSync(high),
    });
    assert.equal(status, 200, text);
    assert.ok(isSafeOrder(steps, target, modelsDir), steps.join("\n"));
  },
);

test("an uploaded model whose file cannot be looked at afterwards serves, and is loaded again once it can", async (t) => {
  const modelsDir = path.join(folder, "unseen");
  mkdirSync(modelsDir);
  const target = path.join(modelsDir, "part.safetensors");
  copyFileSync(low, target);
  const { server, url } = await served({ modelsDir, token });
  const { stat } = promises;
  const away = t.mock.method(promises, "stat", (file: string, ...rest: []) =>
    file === target ? Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" })) : stat(file, ...rest),
  );
  const { status, text } = await ask(`${url}/api/v1/models/part`, {
    method: "PUT",
    headers,
    body: readFileSync(high),
  });
  assert.equal(status, 200, text);
  about(await thresholdAt(url), 0.75);
  away.mock.restore();
  replace(target, low);
  await server.reload();
  about(await thresholdAt(url), 0.25);
});

test("a damaged file in the models folder is reported, and the other models serve; a named one ends the start", async () => {
  const modelsDir = path.join(folder, "partly");
  mkdirSync(modelsDir);
  copyFileSync(low, path.join(modelsDir, "sound.safetensors"));
  const bad = path.join(modelsDir, "bad.safetensors");
  writeFileSync(bad, readFileSync(low).subarray(0, 50_000));
  const { server, url, log } = await served({ modelsDir, token });
  assert.deepEqual(server.modelNames, ["sound"]);
  about(await thresholdAt(url, "sound"), 0.25);
  assert.deepEqual(
    log.filter(({ level }) => level === 50).map(({ model }) => model),
    ["bad"],
  );
  const { models } = (await ask(`${url}/api/v1/models`, { headers })).json;
  assert.deepEqual(
    models.map(({ name, state, failure }: Record<string, any>) => [name, state, failure?.code]),
    [
      ["bad", "failed", "FILE_CORRUPT"],
      ["sound", "ready", undefined],
    ],
  );
  assert.equal(await metric(url, 'supersimplenet_model_reload_failed{model="bad"}', headers), 1);
  assert.equal((await ask(`${url}/readyz`)).status, 200);
  const asked = await ask(`${url}/api/v1/models/bad/detect`, { body: image, headers });
  assert.deepEqual([asked.status, asked.json.error.code], [503, "MODEL_UNLOADED"]);
  assert.match(asked.json.error.message, /could not be loaded/);
  await server.reload(); // the same file is not tried again
  assert.equal(log.filter(({ level }) => level === 50).length, 1);
  replace(bad, high);
  await server.reload();
  about(await thresholdAt(url, "bad"), 0.75);

  writeFileSync(bad, "no model");
  await assert.rejects(served({ models: { bad }, modelsDir, token }), { code: "FILE_CORRUPT" });
  const nothing = path.join(folder, "nothing");
  mkdirSync(nothing);
  writeFileSync(path.join(nothing, "bad.safetensors"), "no model");
  const useless = await served({ modelsDir: nothing, token });
  assert.equal((await ask(`${useless.url}/readyz`)).status, 503);
});

test("no answer names a folder of the server", async () => {
  const modelsDir = path.join(folder, "secret");
  mkdirSync(modelsDir);
  const part = path.join(modelsDir, "part.safetensors");
  copyFileSync(low, part);
  const { server, url, log } = await served({ modelsDir, token });
  const at = `${url}/api/v1/models/part`;
  const broken = await ask(at, { method: "PUT", headers, body: readFileSync(high).subarray(0, 1000) });
  assert.equal(broken.status, 422);
  assert.match(broken.text, /part\.safetensors is damaged/);
  writeFileSync(part, "no model");
  await server.reload();
  const again = await ask(at, { method: "PUT", headers });
  rmSync(part);
  const gone = await ask(at, { method: "PUT", headers });
  for (const { text } of [broken, again, gone, await ask(at, { headers })])
    assert.ok(!text.includes(folder) && !text.includes("upload"), text);
  assert.ok(JSON.stringify(log).includes(part), "the log has it");
});

test("a model that is too large, and one for which there is no room, are answered, without a path", async () => {
  const most = 100_000;
  const file = path.join(folder, "received");
  const server = createServer((request, response) => {
    void receiveFile(request, request.url === "/large" ? file : path.join(folder, "none", "x"), most).catch((error) => {
      const { status, error: told, headers: more } = answerTo(error);
      response.writeHead(status, { "content-type": "application/json", connection: "close", ...more });
      response.end(JSON.stringify({ error: told }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const chunked = { "transfer-encoding": "chunked" };
  const large = await ask(`${url}/large`, { body: Buffer.alloc(3 * most), headers: chunked });
  assert.deepEqual([large.status, large.json.error.code], [413, "TOO_LARGE"]);
  const nowhere = await ask(`${url}/nowhere`, { body: Buffer.alloc(10), headers: chunked });
  assert.deepEqual([nowhere.status, nowhere.json.error.code], [500, "FILE_NOT_FOUND"]);
  for (const { text } of [large, nowhere]) assert.ok(!text.includes(folder), text);
  await new Promise((resolve) => server.close(resolve));
});
