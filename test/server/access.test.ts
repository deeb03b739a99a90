import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { createServer, SuperSimpleNetError } from "../../lib/index.js";
import { checkHost, checkOrigin, tokenCheck } from "../../lib/server/access.js";
import { scratchFolder } from "../training/support.js";
import { type Ask, ask, modelFile, pngImage, rawAsk, served } from "./support.js";

const folder = scratchFolder();
const token = "0123456789abcdef-token";
const authorization = `Bearer ${token}`;
let file: string;
let open: string;
let closed: string;
let image: Buffer;
before(async () => {
  file = await modelFile(folder);
  ({ url: open } = await served({ models: { part: file } }));
  ({ url: closed } = await served({ models: { part: file }, token, allowHosts: ["Camera-PC"] }));
  image = await pngImage();
});

const code = async (address: string, options: Ask = {}): Promise<[number, string | undefined]> => {
  const { status, json } = await ask(address, options);
  return [status, json?.error?.code];
};

test("it listens on this machine only unless told otherwise", () => {
  assert.equal(new URL(open).hostname, "127.0.0.1");
});

test("an address that other machines reach needs a token, or the word that none is needed", async () => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1"])
    await assert.rejects(createServer({ models: { part: file }, host, port: 0 }), (error) => {
      assert.ok(error instanceof SuperSimpleNetError);
      assert.equal(error.code, "INVALID_OPTION");
      assert.equal(error.option, "host");
      return true;
    });
  await served({ models: { part: file }, host: "0.0.0.0", withoutToken: true });
  await served({ models: { part: file }, host: "0.0.0.0", token });
});

test("tokens that are short or no tokens are refused", async () => {
  await assert.rejects(createServer({ models: { part: file }, token: "short" }), /16 or more characters/);
  const tokenFile = path.join(folder, "token");
  writeFileSync(tokenFile, "\n");
  await assert.rejects(createServer({ models: { part: file }, tokenFile }), /holds no token.*openssl rand/s);
  writeFileSync(tokenFile, `${token}\n`);
  const { url } = await served({ models: { part: file }, tokenFile });
  assert.deepEqual(await code(`${url}/api/v1/models`), [401, "UNAUTHORIZED"]);
  assert.deepEqual(await code(`${url}/api/v1/models`, { headers: { authorization } }), [200, undefined]);
});

test("without the token nothing is told and nothing is done", async () => {
  const addresses = ["/api/v1/models", "/api/v1/models/part", "/metrics"];
  for (const address of addresses) {
    assert.deepEqual(await code(closed + address), [401, "UNAUTHORIZED"], address);
    for (const wrong of ["", "Bearer", "Bearer wrong-wrong-wrong-wrong", `Basic ${token}`, `Bearer ${token}x`, token])
      assert.deepEqual(await code(closed + address, { headers: { authorization: wrong } }), [401, "UNAUTHORIZED"]);
    assert.equal((await code(closed + address, { headers: { authorization } }))[0], 200);
  }
  const detect = `${closed}/api/v1/models/part/detect`;
  assert.deepEqual(await code(detect, { body: image }), [401, "UNAUTHORIZED"]);
  assert.deepEqual(await code(`${closed}/api/v1/models/none/detect`, { body: image }), [401, "UNAUTHORIZED"]);
  assert.equal((await code(detect, { body: image, headers: { authorization } }))[0], 200);
  const { headers } = await ask(detect, { body: image });
  assert.equal(headers["www-authenticate"], "Bearer");
});

test("probes, the page and the description need no token, and tell of no model", async () => {
  for (const address of ["/healthz", "/readyz", "/", "/openapi.json"]) {
    const { status, text } = await ask(closed + address);
    assert.equal(status, 200, address);
    assert.ok(!text.includes("model.safetensors") && !text.includes(token));
  }
});

test("the token is compared by digests of one length, whatever is sent", () => {
  const checkToken = tokenCheck(token);
  checkToken(`Bearer ${token}`);
  checkToken(`bearer  ${token}`);
  // timingSafeEqual throws a RangeError for buffers of different lengths: every length must come to UNAUTHORIZED.
  for (const given of [undefined, "Bearer ", "Bearer x", `Bearer ${"x".repeat(100_000)}`, "Bearer \u{1f511}"])
    assert.throws(
      () => checkToken(given),
      (error: { code?: string }) => error.code === "UNAUTHORIZED",
    );
});

test("a name that is not this machine's is refused: a web page could have made it point here", async () => {
  const get = (host: string, headers = {}) => code(`${closed}/healthz`, { headers: { host, ...headers } });
  for (const host of ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "a@b"])
    assert.deepEqual(await get(host), [403, "HOST_REFUSED"], host);
  for (const host of ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "192.0.2.1", "camera-pc:8080"])
    assert.equal((await get(host))[0], 200, host);
  assert.throws(() => checkHost(undefined, []), /no usable Host/);
  assert.match(await rawAsk(closed, "GET /healthz HTTP/1.0\r\n\r\n"), /403[^]*HOST_REFUSED/);
});

test("what a page of another origin sends is refused, with and without the token", async () => {
  const detect = (url: string, headers: Record<string, string>) =>
    code(`${url}/api/v1/models/part/detect`, { body: image, headers: { authorization, ...headers } });
  for (const url of [open, closed]) {
    for (const origin of ["https://evil.example", "null", url.replace("http", "https"), `${url}1`])
      assert.deepEqual(await detect(url, { origin }), [403, "ORIGIN_REFUSED"], origin);
    assert.equal((await detect(url, { origin: url }))[0], 200);
    for (const site of ["cross-site", "same-site"])
      assert.deepEqual(await detect(url, { "sec-fetch-site": site }), [403, "ORIGIN_REFUSED"]);
    assert.equal((await detect(url, { "sec-fetch-site": "same-origin" }))[0], 200);
  }
  // A link is followed to the page; a frame or a picture is not shown.
  const link = { host: "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
  checkOrigin({ ...link, "sec-fetch-dest": "document" }, "http");
  assert.throws(() => checkOrigin({ ...link, "sec-fetch-dest": "iframe" }, "http"));
});

test("no answer lets a page of another origin read it", async () => {
  const { headers } = await ask(`${open}/api/v1/models`);
  assert.ok(!Object.keys(headers).some((name) => name.startsWith("access-control")));
  const preflight = { origin: "https://evil.example", "access-control-request-method": "POST" };
  const { status, headers: sent } = await ask(`${open}/api/v1/models`, { method: "OPTIONS", headers: preflight });
  assert.equal(status, 403);
  assert.ok(!Object.keys(sent).some((name) => name.startsWith("access-control")));
  assert.equal(sent["x-content-type-options"], "nosniff");
});

test("models are changed only where there is a token", async () => {
  for (const method of ["PUT", "DELETE"]) {
    assert.deepEqual(await code(`${open}/api/v1/models/part`, { method }), [403, "TOKEN_NEEDED"]);
    assert.deepEqual(await code(`${closed}/api/v1/models/part`, { method }), [401, "UNAUTHORIZED"]);
  }
});

test("no path is taken from a request", async () => {
  for (const name of [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "..",
    "/etc/passwd",
    "%00",
    "a%2fb",
    "__proto__",
    "constructor",
  ]) {
    const [status] = await code(`${closed}/api/v1/models/${name}`, { headers: { authorization } });
    assert.ok(status === 404 || status === 400, `${name}: ${status}`);
  }
  const evil = "..%2fevil";
  const put = { method: "PUT", body: await pngImage(), headers: { authorization } };
  assert.deepEqual(await code(`${closed}/api/v1/models/${evil}`, put), [400, "BAD_REQUEST"]);
  assert.deepEqual(await code(`${closed}/api/v1/models/good`, put), [409, "MODELS_READ_ONLY"]);
});

test("a wrong pair of TLS files, an address that is taken, and no model", async () => {
  await assert.rejects(
    createServer({ models: { part: file }, tlsCert: file, port: 0 }),
    /'tlsCert' and 'tlsKey' belong/,
  );
  const taken = Number(new URL(open).port);
  await assert.rejects(createServer({ models: { part: file }, port: taken }), /another program listens there/);
  await assert.rejects(createServer({ port: 0 }), /at least one model/);
  await assert.rejects(createServer({ models: { "a/b": file }, port: 0 }), /model files by name/);
  await assert.rejects(createServer({ models: { part: path.join(folder, "none") }, port: 0 }), {
    code: "FILE_NOT_FOUND",
  });
});
