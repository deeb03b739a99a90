import type { BmpLayout } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { notRead, unreadable } from "./unreadable.js";

const CONVERT = "Save it without compression, or as PNG.";
/** Sizes of the second header: OS/2 1, Windows 3, with 3 and 4 masks, OS/2 2, Windows 4 and 5. */
const HEADER_SIZES: readonly number[] = [12, 40, 52, 56, 64, 108, 124];
const COMPRESSIONS: Readonly<Record<number, string>> = { 1: "RLE8", 2: "RLE4", 4: "JPEG", 5: "PNG" };
const BITFIELDS: readonly number[] = [3, 6];
/** Bytes of the masks 0xff, 0xff00, ... in a little-endian pixel. */
const BYTE_OF_MASK: Readonly<Record<number, number>> = { 0xff: 0, 0xff00: 1, 0xff0000: 2, 0xff000000: 3 };

export const isBmp = (bytes: Uint8Array): boolean => bytes[0] === 0x42 && bytes[1] === 0x4d;

/** Reads the headers of a BMP. Throws IMAGE_UNREADABLE for damaged and truncated files, and for kinds that are not read. */
export function readBmpHeader(bytes: Uint8Array, name: string): BmpLayout {
  const damaged = (problem: string): Error => unreadable(name, `it is damaged or truncated: ${problem}.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 26) throw damaged(`it has ${bytes.length} bytes`);
  const size = view.getUint32(14, true);
  if (!HEADER_SIZES.includes(size)) throw damaged(`its header has ${size} bytes, which no BMP has`);
  if (bytes.length < 14 + size) throw damaged("its header is cut off");
  const old = size === 12;
  const width = old ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = old ? view.getUint16(20, true) : view.getInt32(22, true);
  const height = Math.abs(signedHeight);
  const planes = view.getUint16(old ? 22 : 26, true);
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  if (width < 1 || height < 1 || planes > 1) throw damaged(`it claims ${width} x ${height} pixels in ${planes} planes`);
  if (compression !== 0 && !(BITFIELDS.includes(compression) && (bits === 32 || bits === 16))) {
    const codec = COMPRESSIONS[compression];
    if (codec === undefined) throw damaged(`its compression is number ${compression}, which does not exist`);
    throw notRead(name, `its compression is ${codec}`, CONVERT);
  }
  if (bits === 2 || bits === 16)
    throw notRead(name, `it has ${bits} bits per pixel`, "Save it with 24 bits, or as PNG.");
  if (bits !== 1 && bits !== 4 && bits !== 8 && bits !== 24 && bits !== 32)
    throw damaged(`it claims ${bits} bits per pixel`);

  const hasMasks = BITFIELDS.includes(compression);
  const order = hasMasks ? channelOrder(view, name) : ([2, 1, 0] as const);
  // Masks that belong to the header of 40 bytes stand behind it.
  const behind = 14 + size + (hasMasks && size === 40 ? (compression === 6 ? 16 : 12) : 0);
  const colours = bits > 8 ? 0 : coloursOf(old ? 0 : view.getUint32(46, true), bits, damaged);
  const colourBytes = old ? 3 : 4;
  const offset = view.getUint32(10, true);
  const paletteEnd = behind + colours * colourBytes;
  if (offset < paletteEnd) throw damaged(`its pixels begin at byte ${offset}, inside its headers`);
  const stride = 4 * Math.ceil((width * bits) / 32);
  const end = offset + stride * (height - 1) + Math.ceil((width * bits) / 8); // the last row may lack its padding
  if (end > bytes.length) throw damaged(`its pixels end at byte ${end}, but it has ${bytes.length} bytes`);
  const palette = new Uint8Array(colours * 3);
  for (let i = 0; i < colours; i++)
    for (let c = 0; c < 3; c++) palette[3 * i + c] = bytes[behind + i * colourBytes + 2 - c]!;
  return { width, height, bits, topDown: signedHeight < 0, offset, stride, palette, order };
}

function coloursOf(stated: number, bits: number, damaged: (problem: string) => Error): number {
  if (stated > 2 ** bits) throw damaged(`it claims ${stated} colours with ${bits} bits per pixel`);
  return stated === 0 ? 2 ** bits : stated;
}

/** Where red, green and blue lie, by the masks, which are at one place in every header that has them. */
function channelOrder(view: DataView, name: string): readonly [number, number, number] {
  if (view.byteLength < 66) throw unreadable(name, "it is damaged or truncated: its header is cut off.");
  const order = [54, 58, 62].map((at) => BYTE_OF_MASK[view.getUint32(at, true)]);
  const [red, green, blue] = order;
  if (red === undefined || green === undefined || blue === undefined || new Set(order).size !== 3)
    throw notRead(name, "its channels have other than 8 bits each", "Save it with 24 bits, or as PNG.");
  return [red, green, blue];
}

/** The pixels of a BMP as RGB, row by row from the top. A fourth byte, which may be alpha, is dropped. Throws IMAGE_UNREADABLE. */
export async function bmpPixels(bytes: Uint8Array, layout: BmpLayout, name: string): Promise<Uint8Array> {
  const { pixels, highestIndex } = await engine().bmpPixels(bytes, layout);
  const colours = layout.palette.length / 3;
  if (layout.bits <= 8 && highestIndex >= colours)
    throw unreadable(name, `it is damaged: a pixel has colour ${highestIndex}, but its palette has ${colours}.`);
  return pixels;
}
