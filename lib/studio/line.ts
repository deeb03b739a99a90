import { open, readdir, stat } from "node:fs/promises";
import path from "node:path";

import type { LineResult } from "./types.js";

/** Results that are shown. */
const most = 100;
/** Of the newest file, at its end: far more than so many results take. */
const tailBytes = 2 ** 18;

/** The last results of a line, as `serve` and `watch` write them with `--to jsonl:results`, the newest first. */
export async function lastResults(folder: string): Promise<LineResult[]> {
  const files = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".jsonl")).sort();
  const results: LineResult[] = [];
  for (const name of files.reverse()) {
    results.push(...(await tail(path.join(folder, name))).flatMap(resultIn).reverse());
    if (results.length >= most) break;
  }
  return results.slice(0, most);
}

/** Tells when the newest file has changed. */
export async function stateOf(folder: string): Promise<string> {
  const files = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".jsonl")).sort();
  const last = files.at(-1);
  const found = last === undefined ? undefined : await stat(path.join(folder, last)).catch(() => undefined);
  return found ? `${last} ${found.size} ${found.mtimeMs}` : "";
}

async function tail(file: string): Promise<string[]> {
  const handle = await open(file, "r").catch(() => undefined);
  if (!handle) return [];
  try {
    const { size } = await handle.stat();
    const start = Math.max(0, size - tailBytes);
    const bytes = Buffer.alloc(size - start);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
    const lines = bytes.subarray(0, bytesRead).toString().split("\n");
    return start === 0 ? lines : lines.slice(1); // the first one may have lost its beginning
  } finally {
    await handle.close();
  }
}

function resultIn(line: string): LineResult[] {
  try {
    const { id, path: file, verdict, score, time, model } = JSON.parse(line) as Record<string, unknown>;
    const name = id ?? file;
    if (typeof name !== "string" || typeof score !== "number" || typeof time !== "string") return [];
    if (verdict !== "good" && verdict !== "unsure" && verdict !== "defect") return [];
    const told = (model as { name?: unknown } | undefined)?.name;
    return [{ id: path.basename(name), verdict, score, time, model: typeof told === "string" ? told : "" }];
  } catch {
    return [];
  }
}
