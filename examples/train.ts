/** Trains on a folder of images: node dist/examples/train.js data/bottle bottle.safetensors */
import { datasets, Trainer } from "../lib/index.js";

async function main([folder, file]: string[]): Promise<void> {
  if (!folder || !file) throw new Error("usage: train.js DATA MODEL");
  const data = await datasets.open(folder);
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());

  const trainer = new Trainer({ imageSize: [256, 256], epochs: 100, seed: 0 });
  const model = await trainer.fit(data, {
    signal: stop.signal,
    onStart: ({ regime, counts }) => console.log(regime, counts),
    onEpoch: ({ epoch, epochs, loss }) => console.log(`epoch ${epoch}/${epochs}  loss ${loss.toFixed(4)}`),
  });
  await model.save(file);
  console.log("thresholds", model.config.thresholds);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
