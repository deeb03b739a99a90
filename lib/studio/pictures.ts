import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";

import { readRegular } from "../files/input.js";
import { decodeImage } from "../images/decode.js";
import { readHeader } from "../images/header.js";
import { decodeMask } from "../images/mask.js";
import { pngOf } from "../images/png.js";
import { sharp } from "../images/sharp.js";
import { readImageFile } from "../images/source.js";
import { writeWholeFile } from "../write.js";
import type { ProjectImage } from "./project.js";

export interface Picture {
  type: string;
  bytes: Buffer;
}

/** The longer side of a small picture in pixels. */
const side = 256;
const fit = { width: side, height: side, fit: "inside", withoutEnlargement: true } as const;

/** Small pictures of images, made once and kept in a folder. */
export class Thumbnails {
  /** Two at a time: the engine and the page need the processor too. */
  readonly #turns: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
  #next = 0;
  #removing: Promise<void> | undefined;

  constructor(private readonly folder: string) {}

  image(image: ProjectImage): Promise<Picture> {
    return this.#kept(imageName(image), () => smallImage(image.file));
  }

  mask(image: ProjectImage, mask: string): Promise<Picture> {
    return this.#kept(maskName(image), () => smallMask(mask));
  }

  /** Removes the pictures of images and masks that are gone or have changed. Nobody waits for it but `settled`. */
  removeOld(images: readonly ProjectImage[]): void {
    const current = new Set(images.flatMap((image) => [imageName(image), maskName(image)]));
    const remove = async (): Promise<void> => {
      for (const name of await readdir(this.folder))
        if (!current.has(name)) await rm(path.join(this.folder, name), { force: true });
    };
    this.#removing = remove().catch(() => undefined); // there is no folder, or the next start tries again
  }

  async #kept(name: string, make: () => Promise<Buffer>): Promise<Picture> {
    const file = path.join(this.folder, name);
    const type = `image/${path.extname(name).slice(1)}`;
    const found = await readRegular(file).catch(() => undefined);
    if (found) return { type, bytes: found };
    const turn = this.#next++ % this.#turns.length;
    const made = this.#turns[turn]!.then(async () => {
      const bytes = await make();
      // Without room for it, it is made again next time.
      await writeWholeFile(file, bytes).catch(() => undefined);
      return { type, bytes };
    });
    this.#turns[turn] = made.catch(() => undefined);
    return made;
  }

  /** Waits for what is being made or removed. */
  async settled(): Promise<void> {
    await Promise.all([...this.#turns, this.#removing]);
  }
}

const named = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 24);
const imageName = ({ file, shown: { version } }: ProjectImage): string => `${named(`image ${file} ${version}`)}.webp`;
const maskName = ({ file, shown: { mask } }: ProjectImage): string => `${named(`mask ${file} ${mask}`)}.png`;

async function smallImage(file: string): Promise<Buffer> {
  const bytes = await readImageFile(file);
  const { bits, colours, bmp, input } = await readHeader(bytes, file);
  // What sharp scales while it decodes takes little time and memory; the rest is decoded as for the network.
  if (bits === 8 && colours !== "cmyk" && !bmp)
    return sharp(bytes, input).resize(fit).removeAlpha().webp({ quality: 75 }).toBuffer();
  const { pixels, width, height } = await decodeImage(bytes, { name: file });
  const raw = { raw: { width, height, channels: 3 }, limitInputPixels: false } as const;
  return sharp(pixels, raw).resize(fit).webp({ quality: 75 }).toBuffer();
}

async function smallMask(file: string): Promise<Buffer> {
  const { pixels, width, height } = await decodeMask(file);
  const raw = { raw: { width, height, channels: 1 }, limitInputPixels: false } as const;
  const white = pixels.map((value) => (value ? 255 : 0));
  return sharp(white, raw).resize(fit).threshold(1).toColourspace("b-w").png({ colours: 2 }).toBuffer();
}

/** What browsers show as it is. */
const shown: Readonly<Record<string, string>> = {
  png: "image/png",
  jpeg: "image/jpeg",
  webp: "image/webp",
  gif: "image/gif",
  heif: "image/avif",
};

/** The whole image, as a file that browsers show. */
export async function wholePicture(file: string): Promise<Picture> {
  const bytes = await readImageFile(file);
  const { format, bits, colours } = await readHeader(bytes, file);
  const type = shown[format];
  if (type !== undefined && bits === 8 && colours !== "cmyk") return { type, bytes };
  const { pixels, width, height } = await decodeImage(bytes, { name: file });
  return { type: "image/png", bytes: await pngOf({ data: pixels, width, height, channels: 3 }) };
}
