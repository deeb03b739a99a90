/** A watch that is killed at random moments: for kill.test.ts and benchmarks/watch_kills.ts. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";

import { parse } from "csv-parse/sync";
import sharp from "sharp";

import type { Model } from "../../lib/index.js";
import { Random } from "../../lib/random.js";

const main = path.resolve(__dirname, "../../lib/cli/main.js");

/** Writes a small image under a temporary name and renames it, as a camera's program does. */
export async function drop(folder: string, name: string, value: number, size = 64): Promise<void> {
  const temporary = path.join(folder, `.${name}.tmp`);
  const image = sharp({ create: { width: size, height: size, channels: 3, background: { r: value, g: 90, b: 90 } } });
  writeFileSync(temporary, await image.png().toBuffer());
  renameSync(temporary, path.join(folder, name));
}

export type Row = Record<string, string>;

/** All rows of a folder of daily files, which must be whole. */
export const rowsIn = (folder: string): Row[] =>
  (existsSync(folder) ? readdirSync(folder) : [])
    .filter((name) => name.endsWith(".csv"))
    .sort()
    .flatMap((name) => parse(readFileSync(path.join(folder, name)), { columns: true }) as Row[]);

interface Ended {
  code: number | null;
  signal: string | null;
  stderr: string;
}

/** Runs watch; `kill`: with SIGKILL, so many ms after so many results. Without: SIGTERM once `isDone`. */
function run(
  args: readonly string[],
  kill: { results: number; delay: number } | undefined,
  isDone: () => boolean,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, "watch", ...args], {
      env: { ...process.env, SUPERSIMPLENET_THREADS: "1", OMP_NUM_THREADS: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [results, stderr] = [0, ""];
    child.stderr.on("data", (text: Buffer) => (stderr += String(text)));
    child.stdout.on("data", (text: Buffer) => {
      const before = results;
      results += String(text).split("\n").length - 1;
      if (kill && before < kill.results && results >= kill.results) setTimeout(() => child.kill("SIGKILL"), kill.delay);
    });
    const look = setInterval(() => {
      if (kill || !isDone()) return;
      clearInterval(look);
      child.kill("SIGTERM");
    }, 50);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearInterval(look);
      resolve({ code, signal, stderr });
    });
  });
}

export interface KilledWatch {
  images: number;
  kills: number;
  /** Rows that say so. */
  repeated: number;
}

/**
 * Watches a folder into which `images` images come, and kills the process `kills` times, each at a random moment of its
 * work. Asserts that the CSV has every image once, or that what is there more than once is marked.
 */
export async function killWatch(
  scratch: string,
  model: Model,
  { images, kills, seed, moved }: { images: number; kills: number; seed: number; moved: boolean },
): Promise<KilledWatch> {
  const random = new Random(seed, "kill-watch");
  const [folder, csv, file, judged] = ["in", "csv", "model.safetensors", "judged"].map((name) =>
    path.join(scratch, name),
  ) as [string, string, string, string];
  mkdirSync(folder, { recursive: true });
  await model.save(file);
  const names = Array.from({ length: images }, (_, i) => `part-${String(i).padStart(4, "0")}.png`);
  const args = [
    "--model",
    file,
    folder,
    "--to",
    `csv:${csv}`,
    "--settle-ms",
    "20",
    ...(moved ? ["--move-to", judged] : []),
  ];
  const per = Math.floor(images / (kills + 1));
  for (let kill = 0; kill <= kills; kill++) {
    const [from, to] = [kill * per, kill < kills ? (kill + 1) * per : images];
    const dropping = (async () => {
      for (let i = from; i < to; i++) await drop(folder, names[i]!, i % 256);
    })();
    const last = kill === kills;
    const done = (): boolean => new Set(rowsIn(csv).map((row) => row["path"])).size === images;
    const moment = last ? undefined : { results: 1 + random.integer(Math.max(1, per - 1)), delay: random.integer(8) };
    const { code, signal, stderr } = await run(args, moment, done);
    await dropping;
    if (last) assert.equal(code, 0, stderr);
    else assert.equal(signal, "SIGKILL", stderr);
  }
  const rows = rowsIn(csv);
  const unmarked = rows.filter((row) => row["repeated"] === "0").map((row) => row["path"]!);
  assert.equal(new Set(unmarked).size, unmarked.length, "no image is there twice without a mark");
  assert.deepEqual([...new Set(rows.map((row) => path.basename(row["path"]!)))].sort(), names, "no image is missing");
  const repeated = rows.length - unmarked.length;
  assert.ok(repeated <= kills, `${repeated} are marked after ${kills} kills`);
  if (moved) {
    const kept = ["good", "unsure", "defect"].flatMap((verdict) =>
      existsSync(path.join(judged, verdict)) ? readdirSync(path.join(judged, verdict)) : [],
    );
    assert.deepEqual([...kept, ...readdirSync(folder).filter((name) => name.endsWith(".png"))].sort(), names);
  }
  return { images, kills, repeated };
}
