/**
 * Small defects in large images: one model that sees each image whole, and models that see it in tiles. Trains and evaluates
 * each on generated images and prints a line of JSON for each.
 *
 *   node dist/benchmarks/tiles.js --weights FILE [--size 2048] [--defects 8,24] [--normal 24] [--anomalous 8]
 *     [--seeds 0,1,2] [--regimes full,unsupervised] [--views whole,0.5,1] [--side 256] [--steps N] [--tiles-per-image N]
 *     [--fixed] >> benchmarks/results/tiles.jsonl
 */
import path from "node:path";
import { parseArgs } from "node:util";

import { datasets, Detector, evaluate, mergeOptions, Trainer, type TrainerOptions } from "../lib/index.js";
import { availableCores } from "../lib/machine.js";
import { cacheFolder } from "../lib/native/locate.js";
import { machine } from "./measure.js";

const { values } = parseArgs({
  options: {
    weights: { type: "string", default: "distilled" },
    size: { type: "string", default: "2048" },
    defects: { type: "string", default: "8,24" },
    normal: { type: "string", default: "24" },
    anomalous: { type: "string", default: "8" },
    seeds: { type: "string", default: "0,1,2" },
    regimes: { type: "string", default: "full,unsupervised" },
    views: { type: "string", default: "whole,0.5,1" },
    side: { type: "string", default: "256" },
    steps: { type: "string" },
    "tiles-per-image": { type: "string" },
    fixed: { type: "boolean", default: false },
  },
});
const numbers = (text: string): number[] => text.split(",").map(Number);
const [size, side] = [Number(values.size), Number(values.side)];
const [least, most] = numbers(values.defects) as [number, number];
const perImage = values["tiles-per-image"];

const tiling: TrainerOptions["tiling"] = {
  ...(values.fixed && { fixedTiles: true }),
  ...(perImage !== undefined && { tilesPerImage: Number(perImage) }),
};
/** "whole", or the scale of tiles. */
const viewOf = (name: string): TrainerOptions =>
  name === "whole"
    ? { imageSize: [side, side] }
    : { view: { scale: Number(name), tiles: { size: side, overlap: side / 8 } }, tiling };

async function run(): Promise<void> {
  for (const seed of numbers(values.seeds)) {
    const name = `tiles-${size}-${values.defects}-${values.normal}-${values.anomalous}-${seed}`;
    const data = await datasets.generated(path.join(cacheFolder(), "benchmarks", name), {
      imageSize: [size, size],
      defectSize: [least, most],
      trainNormal: Number(values.normal),
      trainAnomalous: Number(values.anomalous),
      testNormal: 12,
      testAnomalous: 12,
      seed,
    });
    for (const regime of values.regimes.split(","))
      for (const view of values.views.split(",")) await one(data, seed, regime as TrainerOptions["regime"], view);
  }
}

async function one(
  data: Awaited<ReturnType<typeof datasets.generated>>,
  seed: number,
  regime: TrainerOptions["regime"],
  view: string,
): Promise<void> {
  const common: TrainerOptions = {
    backbone: "resnet18",
    backboneWeights: values.weights,
    regime,
    seed,
    calibration: { method: "none" },
    ...(values.steps !== undefined && { steps: Number(values.steps) }),
  };
  const began = performance.now();
  const model = await new Trainer(mergeOptions<TrainerOptions>(common, viewOf(view))).fit(data);
  const trained = performance.now();
  const detector = await Detector.load(model);
  const { metrics } = await evaluate(detector, data);
  detector.dispose();
  const images = data.samples.filter(({ split }) => split === "test").length;
  console.log(
    JSON.stringify({
      machine: machine(availableCores()),
      size,
      defects: [least, most],
      trainNormal: Number(values.normal),
      trainAnomalous: regime === "unsupervised" ? 0 : Number(values.anomalous),
      weights: path.basename(values.weights),
      side,
      seed,
      regime,
      view,
      ...(view !== "whole" && { tiling }),
      epochs: model.config.training!.epochs,
      steps: values.steps === undefined ? null : Number(values.steps),
      imageAuroc: metrics.imageAuroc,
      pixelAuroc: metrics.pixelAuroc,
      aupro: metrics.aupro,
      trainingSeconds: Math.round((trained - began) / 1000),
      secondsPerImage: Number(((performance.now() - trained) / 1000 / images).toFixed(2)),
    }),
  );
}

void run();
