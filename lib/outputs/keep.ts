import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { invalid, SuperSimpleNetError } from "../errors.js";
import { LineWriter } from "../files/lines.js";
import { isImageFile } from "../images/formats.js";
import { extensionOf, readHeader } from "../images/header.js";
import { imageId } from "../images/identity.js";
import { pngOf } from "../images/png.js";
import { type RawImage, readImageFile } from "../images/source.js";
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

/** Of images in memory that wait for the disk. */
const mostWaitingBytes = 64 * 2 ** 20;

/** A folder that was full is measured again so often: somebody may have taken images out. */
const measureMs = 60_000;

const patienceMs = 3000;

type Rule = (result: Result, drawn: string) => boolean;

function ruleOf(written: string): Rule {
  const [kind, number] = written.split(":");
  const limit = Number(number);
  if (kind === "near") return ({ margin }) => Math.abs(margin) <= limit;
  if (kind === "random") return (_, drawn) => hash32(drawn) < limit * 2 ** 32;
  return ({ verdict }) => verdict === kind;
}

/** Keeps images that teach: in folders as `train` reads them, once somebody has looked at them. */
export interface Keeper {
  /**
   * Keeps the image if a rule says so and there is room. `source`: its file; its bytes as a file of images has them, which
   * are kept as they are; or raw pixels, which become a PNG. Bytes and pixels must stay as they are until it resolves.
   * Rejects where that fails, also because more images wait for the disk than 64 MiB hold. `isStill` is asked when the file
   * was read: another image may have its name by then, which is not kept.
   */
  offer(result: Result, source: string | Uint8Array | RawImage, isStill?: () => Promise<boolean>): Promise<boolean>;
  /** How many images were kept, and whether the folder is full. */
  status(): { kept: number; full: boolean };
  /** Ends the list, once what was offered is kept, within a few seconds. */
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
  const folder = path.resolve(keepDir);
  await makeFolder(folder);
  const writer = new LineWriter();
  await writer.prepare(path.join(folder, manifest));
  return new FolderKeeper(folder, keep, keepMiB * 2 ** 20, writer, await bytesBelow(folder));
}

class FolderKeeper implements Keeper {
  readonly #rules: readonly { written: string; rule: Rule }[];
  #kept = 0;
  #full = false;
  #measured = performance.now();
  #waitingBytes = 0;
  /** One image after another: each finds the room that those before have left. */
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(
    private readonly folder: string,
    keep: readonly string[],
    private readonly most: number,
    private readonly list: LineWriter,
    private bytes: number,
  ) {
    this.#rules = keep.map((written) => ({ written, rule: ruleOf(written) }));
  }

  async offer(
    result: Result,
    source: string | Uint8Array | RawImage,
    isStill?: () => Promise<boolean>,
  ): Promise<boolean> {
    // So that a file which is judged again is drawn again; cameras and clients may call all of their images the same.
    const drawn = typeof source === "string" ? `${source} ${await changedAt(source)}` : `${result.id} ${result.time}`;
    const because = this.#rules.filter(({ rule }) => rule(result, drawn)).map(({ written }) => written);
    if (because.length === 0 || this.#closing) return false;
    const file = await this.#inTurn(heldBytes(source), () => this.#keep(result, source, isStill));
    if (file === undefined) return false;
    this.#kept++;
    // Returned, not awaited: the image need not stay in memory until the line is on the disk.
    return this.list.append(path.join(this.folder, manifest), JSON.stringify({ file, because, ...result }));
  }

  status(): { kept: number; full: boolean } {
    return { kept: this.#kept, full: this.#full };
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      await Promise.race([this.#turn, sleep(patienceMs, undefined, { ref: false })]);
      await this.list.close();
    })());
  }

  async #inTurn<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > mostWaitingBytes)
      throw new SuperSimpleNetError("FILE_ERROR", `Images come faster than ${this.folder} can take them.`, {
        path: this.folder,
      });
    this.#waitingBytes += bytes;
    const done = this.#turn.then(work).finally(() => (this.#waitingBytes -= bytes));
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** The file below the folder; undefined where there is no room, or the image is another one. */
  async #keep(
    result: Result,
    source: string | Uint8Array | RawImage,
    isStill: () => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<string | undefined> {
    const image = await imageFile(source);
    if (!(await this.#hasRoom(image.length)) || !(await isStill())) return undefined;
    const stem = result.id ?? (typeof source === "string" ? path.parse(source).name : result.time);
    const extension =
      typeof source === "string" && isImageFile(source)
        ? path.extname(source)
        : extensionOf(await readHeader(image, `'${stem}'`));
    const name = `${result.time.slice(0, 10)}-${safe(stem)}-${await imageId(image)}${extension}`;
    const folder = path.join(this.folder, folders[result.verdict]);
    await makeFolder(folder);
    // One that has the name is this image, kept before.
    if ((await sizeOf(path.join(folder, name))) === undefined) {
      await replaceFile(path.join(folder, name), image);
      this.bytes += image.length;
    }
    return `${folders[result.verdict]}/${name}`;
  }

  async #hasRoom(bytes: number): Promise<boolean> {
    const fits = (): boolean => this.bytes + bytes <= this.most;
    if (!fits() && performance.now() - this.#measured > measureMs) {
      this.bytes = await bytesBelow(this.folder);
      this.#measured = performance.now();
    }
    this.#full = !fits();
    return !this.#full;
  }
}

const heldBytes = (source: string | Uint8Array | RawImage): number =>
  typeof source === "string" ? 0 : "data" in source ? source.data.length : source.length;

/** The image as a file has it. */
async function imageFile(source: string | Uint8Array | RawImage): Promise<Uint8Array> {
  if (typeof source === "string") return readImageFile(source);
  return "data" in source ? pngOf(source) : source;
}

/** A client's name for an image, as a part of a file's name: no folder, nothing that a system forbids. */
const safe = (stem: string): string => stem.replace(/[^\w.-]+/g, "_").slice(0, 80);

const changedAt = (file: string): Promise<number | undefined> =>
  stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );

const sizeOf = (file: string): Promise<number | undefined> =>
  stat(file).then(
    ({ size }) => size,
    () => undefined,
  );

async function bytesBelow(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) sum += (await sizeOf(path.join(entry.parentPath, entry.name))) ?? 0;
  return sum;
}
