import assert from "node:assert/strict";
import { test } from "node:test";
import vm from "node:vm";

import { SuperSimpleNetError } from "../../lib/errors.js";
import { check, mergeOptions } from "../../lib/schema/check.js";
import { fitOptions, trainerOptions } from "../../lib/schema/training.js";

function failure(
  options: unknown,
  schema: typeof trainerOptions | typeof fitOptions = trainerOptions,
): SuperSimpleNetError {
  try {
    check("new Trainer", schema, options);
  } catch (error) {
    assert.ok(error instanceof SuperSimpleNetError);
    return error;
  }
  return assert.fail(`accepted: ${JSON.stringify(options)}`);
}

test("what is left out, or undefined, gets its default, in groups too", () => {
  const checked = check("new Trainer", trainerOptions, {
    epochs: undefined,
    batchSize: undefined,
    optimizer: { learningRateFactor: undefined },
  });
  assert.equal(checked.batchSize, 32);
  assert.equal("epochs" in checked, false); // init, the pace and the images decide
  assert.deepEqual(checked.imageSize, [256, 256]);
  assert.equal(checked.optimizer.learningRateFactor, 0.4);
  assert.equal("gradientClip" in checked.optimizer, false); // the regime decides
  assert.equal(checked.cache.memoryMiB, 2048);
});

test("defaults of one call are not those of the next", () => {
  const sizeOf = (): number[] => check("new Trainer", trainerOptions, {}).imageSize as readonly number[] as number[];
  sizeOf().push(1);
  assert.deepEqual(sizeOf(), [256, 256]);
  const layers = ["layer2"];
  const checked = check("new Trainer", trainerOptions, { network: { layers } });
  layers.push("layer3");
  assert.deepEqual(checked.network.layers, ["layer2"]);
});

const wrong: [options: unknown, option: string, expected: RegExp][] = [
  [{ epochs: 0 }, "epochs", /expected an integer at least 1 and at most 1000000 for 'epochs' but received 0\./],
  [{ epochs: "3" }, "epochs", /but received '3'\./],
  [{ epochs: NaN }, "epochs", /but received NaN\./],
  [{ backbone: "resnet19" }, "backbone", /\(did you mean 'resnet18'\?\)/],
  [{ imageSize: [3, 256] }, "imageSize", /expected \[height, width\], each an integer at least 32/],
  [{ optimizer: 3 }, "optimizer", /expected an object for 'optimizer' but received 3\./],
  [{ optimizer: { gradientClip: -1 } }, "optimizer.gradientClip", /expected a number at least 0 for/],
  [{ optimizer: { headsLearningRate: 0 } }, "optimizer.headsLearningRate", /above 0 and at most 1/],
  [{ network: { layers: ["layer2", "layer2"] } }, "network.layers", /a list of different layers/],
  [{ network: { layers: ["layer4"] } }, "network.layers", /but received \['layer4'\]\./],
  [{ anomalies: { noiseStd: { relative: 0 } } }, "anomalies.noiseStd", /\{ relative: a number above 0 \}/],
  [{ masks: { distanceWeight: { w: 1 } } }, "masks.distanceWeight", /\{ w, p \}/],
  [{ distributed: { rank: -1 } }, "distributed.rank", /an integer at least 0 and at most 4095/],
  [{ backboneWeights: "a\0b" }, "backboneWeights", /'auto', 'distilled', 'random' or a path/],
];

test("a wrong value is named by its place, with what was expected", () => {
  for (const [options, option, expected] of wrong) {
    const error = failure(options);
    assert.equal(error.code, "INVALID_OPTION");
    assert.equal(error.option, option);
    assert.match(error.message, expected);
  }
});

test("an unknown name suggests the nearest, in whatever group it stands", () => {
  const suggestion = (options: unknown): string | undefined => {
    const error = failure(options);
    assert.equal(error.code, "UNKNOWN_OPTION");
    assert.ok(error.message.endsWith(error.fix!));
    return error.fix;
  };
  assert.equal(suggestion({ epoch: 3 }), "Did you mean 'epochs'?");
  assert.equal(suggestion({ gradientClip: 1 }), "Did you mean 'optimizer.gradientClip'?");
  assert.equal(suggestion({ optimizer: { gradientClipp: 1 } }), "Did you mean 'optimizer.gradientClip'?");
  assert.equal(suggestion({ distributed: { rang: 1 } }), "Did you mean 'distributed.rank'?");
  const flat = {
    featureCacheMiB: "cache.memoryMiB",
    featureCachePrecision: "cache.precision",
    maskDilation: "masks.dilation",
    cudaGraphs: "cuda.graphs",
    calibrationFraction: "calibration.fraction",
    "lr-factor": "optimizer.learningRateFactor",
    batch: "batchSize",
  };
  for (const [name, option] of Object.entries(flat))
    assert.equal(suggestion({ [name]: 1 }), `Did you mean '${option}'?`);
  assert.match(suggestion({ somethingElse: 1 })!, /^It takes: backbone, /);
});

test("signals and callbacks are checked; options of another realm are taken", () => {
  assert.equal(failure({ signal: 3 }, fitOptions).option, "signal");
  assert.equal(failure({ onEpoch: 3 }, fitOptions).option, "onEpoch");
  check("trainer.fit", fitOptions, { signal: new AbortController().signal, onEpoch: () => undefined });
  check("new Trainer", trainerOptions, vm.runInNewContext("({ optimizer: { gradientClip: 1 } })"));
  for (const none of [null, [], 3, "epochs", new (class {})()]) assert.equal(failure(none).option, "options");
});

test("options over options are merged group by group", () => {
  const merged = mergeOptions<object>(
    { epochs: 3, optimizer: { gradientClip: 1, stopGradient: true } },
    { epochs: undefined, optimizer: { gradientClip: 0 }, masks: { distanceWeight: { w: 3, p: 2 } } },
    { masks: { distanceWeight: false } },
  );
  const expected = { epochs: 3, optimizer: { gradientClip: 0, stopGradient: true }, masks: { distanceWeight: false } };
  assert.deepEqual(merged, expected);
});
