import { readFileSync, writeFileSync } from "node:fs";
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

/** The middle one; of an even number the upper of both. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

export interface Spread {
  medianMs: number;
  minMs: number;
  maxMs: number;
}

export function spread(times: readonly number[]): Spread {
  const sorted = [...times].sort((a, b) => a - b);
  const round = (ms: number) => Number(ms.toPrecision(4));
  return {
    medianMs: round(median(times)),
    minMs: round(sorted[0]!),
    maxMs: round(sorted.at(-1)!),
  };
}

/** Where the figures were taken; goes into every result. A load average above the threads of the benchmark: others were at work. */
export function machine(threads: number): Record<string, unknown> {
  const { libtorch, cpuCapability } = engine().versions();
  const gpus = engine()
    .cudaStatus()
    ?.devices.map(({ name }) => name);
  return {
    processor: os.cpus()[0]?.model ?? "unknown",
    cores: os.availableParallelism(),
    threads,
    loadAverage: os.loadavg(),
    node: process.version,
    libtorch,
    cpuCapability,
    ...(gpus?.length && { gpus }),
  };
}

/** Bytes of this process: resident now, and the most since resetPeakMemory. Linux only. */
export function memory(): { resident: number; peak: number } {
  const status = readFileSync("/proc/self/status", "utf8");
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
  return { resident: bytes("VmRSS"), peak: bytes("VmHWM") };
}

export function resetPeakMemory(): void {
  writeFileSync("/proc/self/clear_refs", "5");
}

/** Widths and heights of images as a long run meets them. */
export const mixedSizes = [
  [16, 16],
  [64, 64],
  [97, 61],
  [320, 240],
  [640, 480],
] as const;
