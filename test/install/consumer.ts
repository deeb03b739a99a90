/** What a user's program does, in the module systems a user may have. Written into the folder of the installed package. */
const trained = `const trainer = new Trainer({ backboneWeights: "distilled", imageSize: [32, 32], batchSize: 4, epochs: 1, threads: 1, calibration: { fraction: 0 } });
  const data = await datasets.generated(folder + "/data", { imageSize: [64, 64], trainNormal: 4, trainAnomalous: 2, testNormal: 1, testAnomalous: 1 });
  let steps = 0;
  const model = await trainer.fit(data, { onStep: () => { steps += 1; } });
  await model.save(folder + "/model.safetensors");`;

const detected = `const detector = await Detector.load(folder + "/model.safetensors", { threads: 1 });
  const { score, map } = await detector.detect({ data: new Uint8Array(40 * 40 * 3).fill(128), width: 40, height: 40, channels: 3 });
  detector.dispose();`;

const report = `console.log(JSON.stringify({ steps, score, map: [map.height, map.width] }));`;

export const commonJs = `const { Detector, Trainer, datasets } = require("supersimplenet");
(async (folder) => {
  ${trained}
  ${detected}
  ${report}
})(process.argv[2]);
`;

export const esModule = `import { Detector, Trainer, datasets } from "supersimplenet";
const folder = process.argv[2];
  ${trained}
  ${detected}
  ${report}
`;

export const worker = `import { Worker } from "node:worker_threads";
new Worker(new URL("./app.mjs", import.meta.url), { argv: process.argv.slice(2) }).on("exit", (code) => { process.exitCode = code; });
`;

export const typescript = `import { Detector, SuperSimpleNetError, Trainer, datasets, type Detection, type ErrorCode, type TrainerOptions } from "supersimplenet";

const options: TrainerOptions = { epochs: 2, imageSize: [64, 64] };

export async function run(folder: string): Promise<number> {
  const model = await new Trainer(options).fit(await datasets.open(folder), { onEpoch: ({ epoch, loss }) => console.log(epoch.toFixed(0), loss.toFixed(3)) });
  const detector = await Detector.load(model);
  const found: Detection = await detector.detect("part.png");
  // @ts-expect-error: the types are really there, and not any
  const wrong: string = found.score;
  return found.regions.length + wrong.length;
}

export const codeOf = (error: unknown): ErrorCode | undefined => (error instanceof SuperSimpleNetError ? error.code : undefined);
`;
