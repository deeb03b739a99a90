import assert from "node:assert/strict";
import { test } from "node:test";

import { inFlags, textInFlags } from "../../lib/cli/flags.js";
import { train } from "../../lib/cli/train.js";
import { SuperSimpleNetError } from "../../lib/index.js";

test("names of options become flags where they can be nothing else", () => {
  const cases: [string, string][] = [
    ["Raise featureCacheFileMiB, or", "Raise --feature-cache-file-mib, or"],
    ["a smaller batchSize.", "a smaller --batch."],
    ["'imageSize' is wrong", "--image-size is wrong"],
    ["in /data/batchSize/imageSize.png and batchSize-2", "in /data/batchSize/imageSize.png and batchSize-2"],
    ["label is 'seed', split is 'batch'", "label is 'seed', split is 'batch'"],
    ["fooBar stays", "fooBar stays"],
  ];
  for (const [text, expected] of cases) assert.equal(textInFlags(text, train), expected);
  const message = (code: "INVALID_OPTION" | "DATASET_INVALID"): string =>
    (
      inFlags(
        new SuperSimpleNetError(code, "new Trainer: expected an integer for 'epochs' but received 'seed'"),
        train,
      ) as Error
    ).message;
  assert.equal(message("INVALID_OPTION"), "train: expected an integer for --epochs but received 'seed'");
  assert.equal(message("DATASET_INVALID"), "train: expected an integer for 'epochs' but received 'seed'");
});

test("a long word of capitals takes no time", { timeout: 10_000 }, () => {
  const text = `no part${"A".repeat(20_000)}.d/m`;
  assert.equal(textInFlags(text, train), text);
});
