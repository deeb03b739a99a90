import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";

import { scratchFolder } from "../training/support.js";
import { modelFile, pngImage } from "./support.js";

const library = path.resolve(__dirname, "../../lib/index.js");
const packages =
  /node_modules.(fastify|@fastify|pino|prom-client|@opentelemetry|ajv|find-my-way|avvio|tdigest|mqtt|protobufjs)/;

/** How many files of the server's packages, and of the server itself, a program has loaded at its end. */
function loadedBy(body: string): { packages: number; server: number } {
  const program = `
    const library = require(${JSON.stringify(library)});
    (async () => {
      ${body}
      const files = Object.keys(require.cache);
      const server = files.filter((file) => /lib.server/.test(file) && !/server.create\\.js$/.test(file));
      console.log(JSON.stringify({ packages: files.filter((file) => ${packages}.test(file)).length, server: server.length }));
    })();`;
  return JSON.parse(execFileSync(process.execPath, ["-e", program], { encoding: "utf8" })) as ReturnType<
    typeof loadedBy
  >;
}

test("who detects without a server and an export loads nothing of them", async () => {
  assert.deepEqual(loadedBy(""), { packages: 0, server: 0 });
  const folder = scratchFolder();
  const file = JSON.stringify(await modelFile(folder));
  const image = (await pngImage()).toString("base64");
  const detect = `
    const detector = await library.Detector.load(${file}, { threads: 1, device: "cpu" });
    await detector.detect(Buffer.from("${image}", "base64"));`;
  assert.deepEqual(loadedBy(detect), { packages: 0, server: 0 });
  // The test itself would see them.
  const serve = `
    const running = await library.createServer({ models: { part: ${file} }, port: 0, threads: 1, device: "cpu" });
    await running.close();`;
  const loaded = loadedBy(serve);
  assert.ok(loaded.packages > 50 && loaded.server > 8, JSON.stringify(loaded));
});
