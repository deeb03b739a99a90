import { checkedRuns, Damaged, numberOf, type Runs } from "./shapes.js";

/** The most pixels of an image that is read. */
const MOST_PIXELS = 2 ** 29;

/** Throws Damaged for a mask of more pixels than an image may have: what follows counts on it. */
export function checkSize(width: number, height: number): void {
  if (width * height > MOST_PIXELS)
    throw new Damaged(`its mask is ${width} x ${height}; at most ${MOST_PIXELS} pixels are read`);
}

/**
 * COCO's compressed runs. A number is written in groups of 5 bits, the lowest first, each in one character from '0'; 32 says
 * that another group follows, and 16 in the last group that the number is negative. From the fourth number on it is the
 * difference to the one two before. Throws Damaged.
 */
export function cocoCounts(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length;) {
    let value = 0;
    for (let group = 0, more = true; more; group++) {
      const code = text.charCodeAt(at++) - 48;
      if (!(code >= 0 && code < 64) || group > 7) throw new Damaged("the text of its runs is damaged");
      value += (code & 31) * 32 ** group;
      more = (code & 32) !== 0;
      if (!more && (code & 16) !== 0) value -= 32 ** (group + 1);
    }
    counts.push(counts.length > 2 ? value + counts.at(-2)! : value);
  }
  return counts;
}

/** Bits of bytes, the highest first. */
class Bits {
  #at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  read(count: number): number {
    if (this.#at + count > 8 * this.bytes.length) throw new Damaged("the bytes of its brush end too early");
    let value = 0;
    for (let left = count; left > 0;) {
      const free = 8 - (this.#at & 7);
      const taken = Math.min(left, free);
      const byte = this.bytes[this.#at >> 3]!;
      value = value * 2 ** taken + ((byte >> (free - taken)) & (2 ** taken - 1));
      this.#at += taken;
      left -= taken;
    }
    return value;
  }
}

/**
 * Label Studio's brush: RGBA values of the whole image, packed as thi.ng's rle-pack does it. After the number of values, the
 * bits of a value and four widths of lengths follow runs of one value and rows of different ones. What has alpha is marked.
 * Throws Damaged.
 */
export function brushRuns(packed: unknown, width: number, height: number): Runs {
  if (!Array.isArray(packed)) throw new Damaged("its brush has no list 'rle'");
  checkSize(width, height);
  if (packed.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 255))
    throw new Damaged("its brush holds something else than bytes");
  const bits = new Bits(Uint8Array.from(packed as number[]));
  const values = bits.read(32);
  if (values !== 4 * width * height)
    throw new Damaged(`its brush holds ${values} values, but ${width} x ${height} pixels have ${4 * width * height}`);
  const valueBits = bits.read(5) + 1;
  const lengthBits = [0, 1, 2, 3].map(() => bits.read(4) + 1);
  const counts: number[] = [];
  let marked = false;
  let since = 0; // the pixel from which on they are marked, or not
  const set = (pixel: number, isMarked: boolean): void => {
    if (isMarked === marked) return;
    counts.push(pixel - since);
    [since, marked] = [pixel, isMarked];
  };
  /** The first pixel whose alpha is at this value or after it. */
  const alphaFrom = (value: number): number => (value - (value & 3)) / 4;
  for (let at = 0; at < values;) {
    const isRun = bits.read(1) === 1;
    const end = at + 1 + bits.read(lengthBits[bits.read(2)]!);
    if (end > values) throw new Damaged("the runs of its brush are longer than the image");
    if (isRun) {
      const value = bits.read(valueBits);
      if (alphaFrom(at) < alphaFrom(end)) set(alphaFrom(at), value > 0);
    } else
      for (let i = at; i < end; i++) {
        const value = bits.read(valueBits);
        if (i % 4 === 3) set((i - 3) / 4, value > 0);
      }
    at = end;
  }
  counts.push(width * height - since);
  return checkedRuns({ left: 0, top: 0, width, height, counts, byColumn: false });
}

/** Runs as numbers in a text, row by row of their box, as CVAT writes them. Throws Damaged. */
export function textRuns(text: string, box: Pick<Runs, "left" | "top" | "width" | "height">): Runs {
  checkSize(box.width, box.height);
  const counts = text.split(",").map((part) => numberOf(part, "a run of its mask"));
  return checkedRuns({ ...box, counts, byColumn: false });
}
