import { InputFile } from "../files/input.js";

const png = { head: Buffer.from("89504e470d0a1a0a", "hex"), tail: Buffer.from("0000000049454e44ae426082", "hex") };
const jpeg = { head: Buffer.from("ffd8ff", "hex"), tail: Buffer.from("ffd9", "hex") };

/**
 * Whether a file ends with what its format ends with, and so was written to its end. Other formats have no such end, and a
 * file that has its size before its content ends with zeros.
 */
export const endsWhole = (file: string): Promise<boolean> =>
  InputFile.with(file, async (input) => {
    if (input.size < png.head.length + png.tail.length) return false;
    const head = await input.read(0, png.head.length);
    const tail = await input.read(input.size - png.tail.length, png.tail.length);
    return [png, jpeg].some(
      (format) =>
        head.subarray(0, format.head.length).equals(format.head) &&
        tail.subarray(-format.tail.length).equals(format.tail),
    );
  }).catch(() => false);
