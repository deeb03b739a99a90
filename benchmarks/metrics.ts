/**
 * All pixel metrics (P-AUROC, AP-loc, F1, AUPRO) of maps of 256 x 256, half of them with one defect region: time, and memory
 * beyond that of the maps. With --python beside it, in alternation, AUPRO alone in PyTorch (benchmarks/pytorch/aupro.py),
 * which is given the labelled regions; of ours, the labelling counts. One thread each, processor time: other programs disturb it less.
 *
 *   node dist/benchmarks/metrics.js [--maps 100] [--repetitions 5] [--python PYTHON [--algorithm sort]] > benchmarks/results/metrics-NAME.json
 *
 * The algorithm is "sort" (one sort) or "regions" (anomalib's: one for every region).
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { type EvaluatedMap, evaluateMaps } from "../lib/evaluation/metrics.js";
import { Random } from "../lib/random.js";
import { machine, spread } from "./measure.js";

const side = 256;
const fprLimit = 0.3;

interface Answer {
  ms: number;
  aupro: number;
  peakMiB: number;
}

/** One buffer for all maps: what is measured is the metrics' memory, not the garbage collector's. */
function generated(count: number): { images: EvaluatedMap[]; maps: Float32Array; regions: Int32Array } {
  const random = new Random(0, "benchmark");
  const maps = new Float32Array(count * side * side);
  for (let i = 0; i < maps.length; i++) maps[i] = random.uint32() / 2 ** 32;
  const regions = new Int32Array(maps.length);
  const images = Array.from({ length: count }, (_, n): EvaluatedMap => {
    const map = maps.subarray(n * side * side, (n + 1) * side * side);
    if (n % 2 === 0) return { label: "normal", map };
    const mask = new Uint8Array(side * side);
    for (let y = 80; y < 110; y++) {
      mask.fill(1, y * side + 90, y * side + 130);
      regions.fill((n + 1) / 2, n * side * side + y * side + 90, n * side * side + y * side + 130);
    }
    return { label: "anomalous", map, mask };
  });
  return { images, maps, regions };
}

/** A PyTorch process that holds the maps. */
class Pytorch {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-benchmark-"));
  readonly #process;
  readonly #lines;

  constructor(python: string, maps: Float32Array, regions: Int32Array) {
    const files = [path.join(this.#folder, "maps.f32"), path.join(this.#folder, "regions.i32")] as const;
    writeFileSync(files[0], maps);
    writeFileSync(files[1], regions);
    const script = path.join(__dirname, "../../benchmarks/pytorch/aupro.py");
    this.#process = spawn(python, [script, ...files, String(fprLimit)], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async run(algorithm: string): Promise<Answer> {
    this.#process.stdin.write(`${algorithm}\n`);
    const line = await this.#lines.next();
    if (line.done) throw new Error("the PyTorch process has ended");
    return JSON.parse(line.value) as Answer;
  }

  close(): void {
    this.#process.stdin.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);
const round = (ratio: number): number => Math.round(ratio * 100) / 100;

/** Milliseconds of processor time. */
async function cpuTime(body: () => Promise<unknown>): Promise<number> {
  const start = process.cpuUsage();
  await body();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      maps: { type: "string", default: "100" },
      repetitions: { type: "string", default: "5" },
      python: { type: "string" },
      algorithm: { type: "string", default: "sort" },
    },
  });
  const [count, repetitions] = [Number(values.maps), Number(values.repetitions)];
  const { images, maps, regions } = generated(count);
  const pytorch = values.python === undefined ? undefined : new Pytorch(values.python, maps, regions);
  try {
    await evaluateMaps([{ label: "normal", map: maps.subarray(0, side * side) }], { height: side, width: side }); // loads the engine: not the metrics' memory
    const before = process.memoryUsage.rss();
    let aupro = NaN;
    const ours = (): Promise<number> =>
      cpuTime(async () => void (aupro = (await evaluateMaps(images, { height: side, width: side, fprLimit })).aupro!));
    const theirs = async (): Promise<Answer> => {
      const answer = await pytorch!.run(values.algorithm);
      if (Math.abs(answer.aupro - aupro) > 1e-6)
        throw new Error(`AUPRO ${answer.aupro} from PyTorch, but ours is ${aupro}`);
      return answer;
    };
    await ours();
    const peakMiB = mebibytes(process.resourceUsage().maxRSS * 1024 - before);
    const times: number[] = [];
    const answers: Answer[] = [];
    if (pytorch) await theirs();
    for (let i = 0; i < repetitions; i++) {
      times.push(await ours());
      if (pytorch) answers.push(await theirs());
    }
    const ratios = answers.map(({ ms }, i) => round(ms / times[i]!)).sort((a, b) => a - b);
    const beside = pytorch && {
      algorithm: values.algorithm,
      ...spread(answers.map(({ ms }) => ms)),
      peakMiB: Math.round(answers.at(-1)!.peakMiB),
      ratio: { median: ratios[Math.floor(ratios.length / 2)], min: ratios[0], max: ratios.at(-1) },
    };
    const result = {
      machine: machine(1),
      load: os.loadavg()[0],
      what: `${count} maps of ${side}x${side}, processor time`,
      repetitions,
      aupro,
      allMetrics: { ...spread(times), peakMiB },
      pytorchAupro: beside,
    };
    console.log(JSON.stringify(result, null, 2));
  } finally {
    pytorch?.close();
  }
}

void main();
