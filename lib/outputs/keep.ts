import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import path from "node:path";

import { invalid } from "../errors.js";
import { LineWriter } from "../files/lines.js";
import { readImageFile } from "../images/source.js";
import { hash32 } from "../random.js";
import { check } from "../schema/check.js";
import { keepOptions, type KeepSettings } from "../schema/watch.js";
import { makeFolder, replaceFile } from "../write.js";
import type { Result } from "./output.js";

/** The verdict's folder: `train` reads what is in train/; what is unsure has to be looked at first. */
const folders: Readonly<Record<Result["verdict"], string>> = {
  good: "train/good",
  defect: "train/defect",
  unsure: "unsure",
};

const manifest = "kept.jsonl";

type Rule = (result: Result, name: string) => boolean;

function ruleOf(written: string): Rule {
  const [kind, number] = written.split(":");
  const limit = Number(number);
  if (kind === "near") return ({ margin }) => Math.abs(margin) <= limit;
  // By the name, so that an image that is judged again is drawn again.
  if (kind === "random") return (_, name) => hash32(name) < limit * 2 ** 32;
  return ({ verdict }) => verdict === kind;
}

/** Keeps images that teach: in folders as `train` reads them, once somebody has looked at them. */
export interface Keeper {
  /** Keeps the image if a rule says so and there is room. `source`: its file, or its bytes as a file of images has them. */
  offer(result: Result, source: string | Uint8Array): Promise<boolean>;
  /** How many images were kept, and whether the folder is full. */
  status(): { kept: number; full: boolean };
  /** Ends the list. */
  close(): Promise<void>;
}

/**
 * Opens a folder for images that are kept: train/good, train/defect and unsure by verdict, and kept.jsonl with a line for
 * each: file, why, and the result. Undefined without rules. Errors: INVALID_OPTION, NO_PERMISSION, NO_SPACE, FILE_ERROR.
 */
export async function openKeeper(options: KeepSettings): Promise<Keeper | undefined> {
  const where = "openKeeper";
  const { keep, keepDir, keepMiB } = check(where, keepOptions, options);
  if (keep === undefined && keepDir === undefined) return undefined;
  if (keep === undefined) throw invalid(where, "keep", "rules beside keepDir", keep);
  if (keepDir === undefined) throw invalid(where, "keepDir", "a folder beside keep", keepDir);
  await makeFolder(keepDir);
  const list = path.join(keepDir, manifest);
  const writer = new LineWriter();
  await writer.prepare(list);
  const rules = keep.map((written) => ({ written, rule: ruleOf(written) }));
  const most = keepMiB * 2 ** 20;
  let bytes = await bytesBelow(keepDir);
  let [kept, full] = [0, false];
  return {
    async offer(result, source) {
      const name = typeof source === "string" ? source : (result.id ?? result.time);
      const because = rules.filter(({ rule }) => rule(result, name)).map(({ written }) => written);
      if (because.length === 0) return false;
      const image = typeof source === "string" ? await readImageFile(source) : source;
      full = bytes + image.length > most;
      if (full) return false;
      const file = `${folders[result.verdict]}/${nameOf(result, name, image)}`;
      await makeFolder(path.join(keepDir, folders[result.verdict]));
      await replaceFile(path.join(keepDir, file), image);
      bytes += image.length;
      kept++;
      return writer.append(list, JSON.stringify({ file, because, ...result }));
    },
    status: () => ({ kept, full }),
    close: () => writer.close(),
  };
}

/** One name for one image, however often it is kept. */
function nameOf(result: Result, source: string, image: Uint8Array): string {
  const { name, ext } = path.parse(source);
  const hash = createHash("sha1").update(image).digest("hex").slice(0, 8);
  const stem = (result.id ?? name).replace(/[^\w.-]+/g, "_").slice(0, 80);
  return `${result.time.slice(0, 10)}-${stem}-${hash}${ext || ".png"}`;
}

async function bytesBelow(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) sum += (await stat(path.join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }))).size;
  return sum;
}
