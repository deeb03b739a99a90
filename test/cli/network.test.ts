// No command uses the network that was not asked to: each runs with every way out replaced by one that is written down.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { untrainedModel } from "../../lib/benchmark/benchmark.js";
import { writeTree } from "../datasets/files.js";
import { supersimplenet } from "./run.js";

const here = mkdtempSync(path.join(os.tmpdir(), "ssn-network-"));
after(() => rmSync(here, { recursive: true, force: true }));
const at = (...names: string[]): string => path.join(here, ...names);
const model = at("model.safetensors");
const trace = at("attempts");

/** Loaded before the program, and by the processes of Node that it starts. */
const trap = `
  const fs = require("node:fs");
  const refuse = (what) => function () {
    fs.appendFileSync(${JSON.stringify(trace)}, what + "\\n");
    throw new Error("the network was used: " + what);
  };
  const net = require("node:net"), dns = require("node:dns"), dgram = require("node:dgram");
  net.Socket.prototype.connect = refuse("net.connect");
  net.Server.prototype.listen = refuse("net.listen");
  for (const name of Object.keys(dns.promises)) if (/^(lookup|resolve)/.test(name)) dns.promises[name] = refuse("dns." + name);
  for (const name of Object.keys(dns)) if (/^(lookup|resolve)/.test(name)) dns[name] = refuse("dns." + name);
  dgram.Socket.prototype.send = refuse("dgram.send");
  globalThis.fetch = refuse("fetch");`;

before(async () => {
  writeFileSync(at("trap.cjs"), trap);
  await (await untrainedModel("resnet18", [64, 64], "distilled")).save(model);
  await writeTree(at("data"), ["train/good/1.png", "train/good/2.png", "test/good/1.png", "test/cut/1.png"]);
});

const trapped = { NODE_OPTIONS: `--require ${at("trap.cjs")}` };
const used = (): string => (existsSync(trace) ? readFileSync(trace, "utf8") : "");

test("the trap catches a download", () => {
  const module = JSON.stringify(path.resolve(__dirname, "../../lib/backbones/pull.js"));
  const options = `{ attempts: 1, baseUrl: "http://example.org/" }`;
  const script = `require(${module}).pullWeights("resnet101", ${options}).catch((error) => console.log(error.code))`;
  const env = { ...process.env, ...trapped, SUPERSIMPLENET_CACHE: at("cache") };
  const { stdout } = spawnSync(process.execPath, ["-e", script], { encoding: "utf8", env });
  assert.equal(stdout, "DOWNLOAD_FAILED\n");
  assert.match(used(), /net\.connect/);
});

for (const [name, ...args] of [
  ["predict", "--model", model, at("data", "test", "good")],
  ["evaluate", "--model", model, "--data", at("data")],
  ["train", "--data", at("data"), "--out", at("run"), "--image-size", "64", "--epochs", "1"],
  ["doctor"],
  ["weights", "list"],
] as [string, ...string[]][])
  test(`${name} does not use the network`, async () => {
    rmSync(trace, { force: true });
    const { code, stderr } = await supersimplenet([name, ...args], { env: trapped });
    assert.equal(code, 0, stderr);
    assert.equal(used(), "");
  });
