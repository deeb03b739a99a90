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
  assert.deepEqual(read(["tiles", "64"], ["tile-overlap", "16"], ["tile-scales", "whole,1,0.5"], ["scale", "0.5"]), {
    view: { tiles: { size: 64, overlap: 16, scales: ["whole", 1, 0.5] }, scale: 0.5 },
  });
  assert.deepEqual(read(["roi", "10,20,300,40"], ["ignore", "0%, 50%,100%,12.5%"]), {
    view: {
      roi: { x: 10, y: 20, width: 300, height: 40 },
      ignore: { x: 0, y: 0.5, width: 1, height: 0.125, unit: "fractions" },
    },
  });
  assert.deepEqual(read(["roi", "masks/1,2.png"]), { view: { roi: "masks/1,2.png" } });
  assert.deepEqual(read(["tiles-per-image", "12"], ["fixed-tiles", "true"]), {
    tiling: { tilesPerImage: 12, fixedTiles: true },
  });
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
  for (const written of ["1,2,3", "1,2,3,4,5", "1,2,,4", "10%,10,5,5", "-1,0,4,4", "0,0,0,4", ""])
    assert.match(message("roi", written), /X,Y,W,H in pixels or each with a % sign, or the path of a mask/, written);
  for (const written of ["", "1,", "0", "2", "1,1", "half"])
    assert.match(message("tile-scales", written), /different shares, each above 0 and at most 1, or whole/, written);
  assert.match(message("fit", "padd"), /one of stretch, pad, crop \(did you mean 'pad'\?\)/);
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
  const paths = entries(trainerOptions).map(({ path }) => path);
  const own = paths.filter(([first]) => first !== "distributed");
  const everything = assemble(own.map((path) => [path, path.join(".")]));
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
    "fit",
    "fixedTiles",
    "gradientClip",
    "heads",
    "headsLearningRate",
    "headsWeightDecay",
    "ignore",
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
    "roi",
    "scale",
    "seed",
    "segmentedCount",
    "segmentedRatio",
    "steps",
    "stopGradient",
    "syntheticAnomalies",
    "tileOverlap",
    "tileScales",
    "tiles",
    "tilesPerImage",
    "upscale",
    "variant",
  ]);
});
