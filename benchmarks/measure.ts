import os from "node:os";

import { engine } from "../lib/native/engine.js";

/** Milliseconds of `repetitions` calls after one that does not count. */
export async function timed(repetitions: number, body: () => Promise<unknown>): Promise<number[]> {
  await body();
  const times: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    const start = performance.now();
    await body();
    times.push(performance.now() - start);
  }
  return times;
}

export interface Spread {
  medianMs: number;
  minMs: number;
  maxMs: number;
}

export function spread(times: readonly number[]): Spread {
  const sorted = [...times].sort((a, b) => a - b);
  const round = (ms: number) => Math.round(ms * 10) / 10;
  return { medianMs: round(sorted[Math.floor(sorted.length / 2)]!), minMs: round(sorted[0]!), maxMs: round(sorted.at(-1)!) };
}

/** Where the figures were taken; goes into every result. */
export function machine(threads: number): Record<string, unknown> {
  const { libtorch, cpuCapability } = engine().versions();
  return { processor: os.cpus()[0]?.model ?? "unknown", cores: os.availableParallelism(), threads, node: process.version, libtorch, cpuCapability };
}
