import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import type { TestContext } from "node:test";

import { type Dataset, type Sample } from "../../../lib/datasets/dataset.js";
import { decodeMask } from "../../../lib/images/mask.js";
import { engine } from "../../../lib/native/engine.js";
import { temporaryFolder, writeImage } from "../files.js";

export const WIDTH = 40;
export const HEIGHT = 36;

/** A folder with these images, each 40 x 36, and these files; masks go to a cache folder of its own. */
export async function project(
  t: TestContext,
  images: readonly string[],
  files: Readonly<Record<string, string | object>>,
): Promise<string> {
  const root = await temporaryFolder(t);
  engine(); // libtorch may lie in the usual cache folder
  const before = process.env["SUPERSIMPLENET_CACHE"];
  process.env["SUPERSIMPLENET_CACHE"] = path.join(path.dirname(root), "cache");
  t.after(() => {
    if (before === undefined) delete process.env["SUPERSIMPLENET_CACHE"];
    else process.env["SUPERSIMPLENET_CACHE"] = before;
  });
  for (const [i, image] of images.entries()) await writeImage(path.join(root, image), { value: i + 1 });
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return root;
}

/** What is known of each image, without its paths. */
export const summary = ({ samples }: Dataset): string[] =>
  samples.map(({ id, label, split, defect, mask, ignore }) =>
    [id, label, split, defect ?? "-", mask === undefined ? "" : "mask", ignore === undefined ? "" : "ignore"]
      .filter(Boolean)
      .join(" "),
  );

export const sampleOf = ({ samples }: Dataset, id: string): Sample => samples.find((sample) => sample.id === id)!;

export const messages = ({ problems = [] }: Dataset): string[] => problems.map(({ message }) => message);

/** Which of the pixels a mask file marks. */
export async function marked(file: string | undefined): Promise<[x: number, y: number][]> {
  const { pixels, width } = await decodeMask(file!);
  return [...pixels].flatMap((pixel, i): [number, number][] =>
    pixel === 1 ? [[i % width, Math.floor(i / width)]] : [],
  );
}

/** The pixels of an image for which a condition on their centre holds. */
export const where = (holds: (x: number, y: number) => boolean): [x: number, y: number][] =>
  Array.from({ length: WIDTH * HEIGHT }, (_, i): [number, number] => [i % WIDTH, Math.floor(i / WIDTH)]).filter(
    ([x, y]) => holds(x + 0.5, y + 0.5),
  );

/** Pixels of a rectangle, from its first to before its end. */
export const box = (left: number, top: number, right: number, bottom: number): [x: number, y: number][] =>
  where((x, y) => x > left && x < right && y > top && y < bottom);
