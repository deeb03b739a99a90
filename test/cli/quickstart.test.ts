import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import { supersimplenet } from "./run.js";

test("the quickstart as a newcomer runs it finds its defects: I-AUROC at least 0.9", { timeout: 600_000 }, async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "supersimplenet-quickstart-"));
  try {
    const { code, stderr } = await supersimplenet(["quickstart", "--out", path.join(folder, "run")]);
    assert.equal(code, 0, stderr);
    const { metrics } = JSON.parse(await readFile(path.join(folder, "run", "metrics.json"), "utf8")) as {
      metrics: Record<string, number>;
    };
    assert.ok(metrics["I-AUROC"]! >= 0.9, `I-AUROC ${metrics["I-AUROC"]}`);
    assert.ok(metrics["AUPRO"]! >= 0.9, `AUPRO ${metrics["AUPRO"]}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
