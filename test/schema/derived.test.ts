import assert from "node:assert/strict";
import { test } from "node:test";

import { SuperSimpleNetError } from "../../lib/errors.js";
import { defaultText, asWritten } from "../../lib/schema/describe.js";
import { assemble, flagsOf, readFlag } from "../../lib/schema/flags.js";
import { entries } from "../../lib/schema/option.js";
import { recordOf } from "../../lib/schema/record.js";
import { trainerOptions } from "../../lib/schema/training.js";

const flags = new Map(flagsOf(trainerOptions).map((flag) => [flag.name, flag]));

function read(...given: [name: string, written: string][]): Record<string, unknown> {
  return assemble(
    given.map(([name, written]) => [flags.get(name)!.path, readFlag("train", flags.get(name)!, written)]),
  );
}

test("flags become options in their groups", () => {
  assert.deepEqual(read(["epochs", "7"], ["adaptor-lr", "1e-3"], ["gradient-clip", "0"]), {
    epochs: 7,
    optimizer: { adaptorLearningRate: 1e-3, gradientClip: 0 },
  });
  assert.deepEqual(read(["image-size", "128"]), { imageSize: [128, 128] });
  assert.deepEqual(read(["image-size", "96x64"]), { imageSize: [96, 64] });
  assert.deepEqual(read(["noise-std", "relative:1.5"]), { anomalies: { noiseStd: { relative: 1.5 } } });
  assert.deepEqual(read(["distance-weight", "3,2"]), { masks: { distanceWeight: { w: 3, p: 2 } } });
  assert.deepEqual(read(["heads", "direct"], ["align-corners", "false"]), {
    network: { heads: "direct", alignCorners: false },
  });
});

test("what belongs to an option joins it, in any order", () => {
  const timeout = ["rank-timeout", "5"] as [string, string];
  assert.deepEqual(read(timeout, ["distributed", "auto"]), { distributed: { timeoutSeconds: 5 } });
  assert.deepEqual(read(["distributed", "auto"], timeout), { distributed: { timeoutSeconds: 5 } });
  assert.deepEqual(read(["distributed", "off"], timeout), { distributed: false });
  assert.deepEqual(read(timeout, ["distributed", "off"]), { distributed: false });
});

test("a flag that cannot be read says what it takes", () => {
  const message = (name: string, written: string): string => {
    try {
      read([name, written]);
    } catch (error) {
      assert.ok(error instanceof SuperSimpleNetError);
      return error.messageFor({ option: () => `--${name}`, call: (call) => call, command: (line) => line });
    }
    return assert.fail(`accepted: ${written}`);
  };
  assert.equal(
    message("epochs", "x"),
    "train: expected an integer at least 1 and at most 1000000 for --epochs but received 'x'.",
  );
  assert.match(message("epochs", ""), /but received ''/);
  assert.match(message("resize", "bilinera"), /one of bilinear, antialias \(did you mean 'bilinear'\?\)/);
  assert.match(message("image-size", "16x"), /HEIGHTxWIDTH in pixels/);
  assert.match(message("align-corners", "yes"), /true, false/);
  assert.match(message("noise-std", "-1"), /a number above 0, or relative:NUMBER/);
  assert.match(message("lr-milestones", "0.5,2"), /numbers from 0 to 1 separated by commas/);
});

test("defaults by regime come from the presets", () => {
  const entry = entries(trainerOptions).find(({ path }) => path.join(".") === "masks.distanceWeight")!;
  assert.equal(
    defaultText(entry, (value) => asWritten(value, entry.row)),
    "none unsupervised, weak; 3,2 mixed, full",
  );
});

test("texts hold no object where a word should be", () => {
  for (const { path, row } of entries(trainerOptions))
    for (const text of [row.help, row.defaultText, row.expected, row.written])
      assert.ok(!text?.includes("[object"), `${path.join(".")}: ${text}`);
});

test("the record has the options that decide results, by the names of files written before", () => {
  const everything: Record<string, unknown> = {};
  for (const { path } of entries(trainerOptions)) {
    if (path[0] === "distributed") continue;
    const [group, name] = path.length === 1 ? [everything, path[0]!] : [(everything[path[0]!] ??= {}), path[1]!];
    (group as Record<string, unknown>)[name] = path.join(".");
  }
  assert.deepEqual(Object.keys(recordOf(trainerOptions, everything)).sort(), [
    "adaptorLearningRate",
    "adaptorWeightDecay",
    "alignCorners",
    "backbone",
    "balancedSampling",
    "batchSize",
    "bitDepth",
    "calibration",
    "calibrationFolds",
    "calibrationFraction",
    "classificationHead",
    "decision",
    "distanceWeight",
    "epochs",
    "falseRejectRate",
    "featureCachePrecision",
    "gradientClip",
    "heads",
    "headsLearningRate",
    "headsWeightDecay",
    "imageSize",
    "layers",
    "learningRateFactor",
    "learningRateMilestones",
    "loss",
    "mapInput",
    "maskDilation",
    "missRate",
    "noiseSchedule",
    "noiseStd",
    "noiseVectors",
    "objective",
    "overlap",
    "perlinThreshold",
    "precision",
    "regime",
    "resize",
    "seed",
    "segmentedCount",
    "segmentedRatio",
    "steps",
    "stopGradient",
    "syntheticAnomalies",
    "upscale",
    "variant",
  ]);
});
