import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import { supersimplenet } from "./run.js";

test(
  "the quickstart as a newcomer runs it finds its defects and rejects no good part",
  { timeout: 600_000 },
  async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "supersimplenet-quickstart-"));
    try {
      const { code, stderr } = await supersimplenet(["quickstart", "--out", path.join(folder, "run")]);
      assert.equal(code, 0, stderr);
      const { metrics, decisions } = JSON.parse(await readFile(path.join(folder, "run", "metrics.json"), "utf8")) as {
        metrics: Record<string, number>;
        decisions: Record<"truePositive" | "trueNegative" | "falsePositive" | "falseNegative", number>;
      };
      assert.ok(metrics["I-AUROC"]! >= 0.99, `I-AUROC ${metrics["I-AUROC"]}`);
      // One of 48 may fall on the other side on another processor.
      assert.ok(decisions.falseNegative + decisions.falsePositive <= 1, JSON.stringify(decisions));
      assert.equal(decisions.truePositive + decisions.falseNegative, 24);
      assert.ok(metrics["AUPRO"]! >= 0.95, `AUPRO ${metrics["AUPRO"]}`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
