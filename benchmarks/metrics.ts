/**
 * All pixel metrics (P-AUROC, AP-loc, F1, AUPRO) of 100 maps of 256 x 256.
 *
 *   node dist/benchmarks/metrics.js > benchmarks/results/metrics-NAME.json
 */
import { evaluateMaps } from "../lib/evaluation/metrics.js";
import { Random } from "../lib/random.js";
import { machine, spread, timed } from "./measure.js";

const side = 256;
const count = 100;

async function main(): Promise<void> {
  const random = new Random(0, "benchmark");
  const images = Array.from({ length: count }, (_, n) => {
    const map = Float32Array.from({ length: side * side }, () => random.uint32() / 2 ** 32);
    const mask = new Uint8Array(side * side);
    if (n % 2) for (let y = 80; y < 110; y++) mask.fill(1, y * side + 90, y * side + 130);
    return { label: n % 2 ? ("anomalous" as const) : ("normal" as const), map, mask: n % 2 ? mask : undefined };
  });
  const times = await timed(5, () => evaluateMaps(images, { height: side, width: side }));
  console.log(JSON.stringify({ machine: machine(1), what: `${count} maps of ${side}x${side}`, ...spread(times) }, null, 2));
}

void main();
