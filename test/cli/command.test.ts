import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { datasets } from "../../lib/index.js";
import { packageFolder } from "../../lib/native/locate.js";
import { temporaryFolder } from "../datasets/files.js";

test("a training whose program is gone before it looks ends, and leaves no model", { timeout: 120_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  const data = path.join(folder, "data");
  await datasets.generated(data, { trainNormal: 4, testNormal: 2, testAnomalous: 2, imageSize: [64, 64], seed: 1 });
  const program = path.join(packageFolder, "dist", "lib", "cli", "main.js");
  const out = path.join(folder, "run");
  const options = ["--image-size", "64x64", "--epochs", "4000", "--calibration", "none", "--device", "cpu"];
  const child = fork(program, ["train", "--data", data, "--out", out, ...options], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    // The channel is closed before the program's first line, as by a studio that was killed just now.
    execArgv: ["--import", "data:text/javascript,process.disconnect()"],
  });
  t.after(() => child.kill("SIGKILL"));
  let told = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (told += text));
  const [code] = (await once(child, "close")) as [number | null];
  assert.ok(code !== 0 && code !== null, `${code}: ${told}`);
  assert.ok(!existsSync(path.join(out, "model.safetensors")));
});
