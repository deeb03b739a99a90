/**
 * Regions and pixel metrics of an image of 50 megapixels (8192 x 6144) whose map comes in strips of 256 rows: processor time,
 * time by the clock, and peak memory beyond that of the strips. "parts": one pixel in 50 is in a region or a defect, in
 * blobs. "noise": random maps with random masks of a pixel in 50, the hardest for both.
 *
 *   node dist/benchmarks/strips.js [--repetitions 5] > benchmarks/results/strips.json
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";

import { engine } from "../lib/native/engine.js";
import { Random } from "../lib/random.js";
import { machine, memory, resetPeakMemory, spread } from "./measure.js";

const [width, height, rows] = [8192, 6144, 256];

type Kind = "parts" | "noise";
type Part = "regions" | "pixelMetrics";

interface Strip {
  map: Float32Array;
  mask: Uint8Array;
}

/** Four strips that take turns. */
function generated(kind: Kind): Strip[] {
  const random = new Random(0, `benchmark-${kind}`);
  return Array.from({ length: 4 }, () => {
    // Squares of the map that hold a blob in their middle, of some 330 pixels each.
    const side = 128;
    const blob = (i: number): number => {
      const [x, y] = [(i % width) % side, Math.floor(i / width) % side];
      return kind === "parts" ? 10 - Math.hypot(x - side / 2, y - side / 2) : -Infinity;
    };
    const map = new Float32Array(width * rows);
    const mask = new Uint8Array(width * rows);
    for (let i = 0; i < map.length; i++) {
      const noise = random.uint32() / 2 ** 32;
      map[i] = Math.max(noise - 5, blob(i) / 2 + noise);
      mask[i] = Number(kind === "parts" ? blob(i) > 0 : random.uint32() < 2 ** 32 / 50);
    }
    return { map, mask };
  });
}

/** Milliseconds, and MiB at the peak of the first repetition. */
async function measured(repetitions: number, body: () => Promise<unknown>): Promise<object> {
  engine(); // its libraries are not what is measured
  resetPeakMemory();
  const before = memory().resident;
  await body();
  const peakMiB = Math.round((memory().peak - before) / 2 ** 20);
  const [processor, clock]: [number[], number[]] = [[], []];
  for (let i = 0; i < repetitions; i++) {
    const [start, used] = [performance.now(), process.cpuUsage()];
    await body();
    const { user, system } = process.cpuUsage(used);
    clock.push(performance.now() - start);
    processor.push((user + system) / 1000);
  }
  return { processor: spread(processor), clock: spread(clock), peakMiB };
}

async function regions(strips: Strip[], thresholds: number[]): Promise<number[]> {
  const finder = engine().createRegionFinder({ width, thresholds, minArea: 20 });
  for (let y = 0; y < height; y += rows) await finder.addRows(strips[(y / rows) % strips.length]!.map, rows);
  return (await finder.finish()).map((found) => found.regions.length);
}

async function pixelMetrics(strips: Strip[]): Promise<object> {
  const statistics = engine().createPixelStatistics();
  for (let y = 0; y < height; y += rows) {
    const { map, mask } = strips[(y / rows) % strips.length]!;
    await statistics.addRows(map, width, rows, mask);
  }
  await statistics.endImage();
  const metrics = await statistics.metrics(0.3);
  statistics.dispose();
  return metrics;
}

const thresholds: Record<Kind, number[]> = { parts: [0.5, -1], noise: [-4.02, -4.5] };

/** One measurement: each has a process of its own, whose memory nothing else has used. */
async function measure(kind: Kind, part: Part, repetitions: number): Promise<object> {
  const strips = generated(kind);
  let found: unknown;
  const work = part === "regions" ? () => regions(strips, thresholds[kind]) : () => pixelMetrics(strips);
  const times = await measured(repetitions, async () => (found = await work()));
  return { kind, part, ...times, found };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: "string", default: "5" },
      kind: { type: "string" },
      part: { type: "string" },
    },
  });
  const repetitions = Number(values.repetitions);
  if (values.kind !== undefined) {
    console.log(JSON.stringify(await measure(values.kind as Kind, values.part as Part, repetitions)));
    return;
  }
  const results = (["parts", "noise"] as const).flatMap((kind) =>
    (["regions", "pixelMetrics"] as const).map((part): unknown => {
      const own = [__filename, "--kind", kind, "--part", part, "--repetitions", String(repetitions)];
      return JSON.parse(execFileSync(process.execPath, own, { encoding: "utf8" }));
    }),
  );
  const what = `an image of ${width}x${height} in strips of ${rows} rows; regions at two thresholds`;
  console.log(JSON.stringify({ machine: machine(1), what, repetitions, results }, null, 2));
}

void main();
