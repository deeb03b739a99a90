import { turns } from "../turns.js";
import { notRead, unreadable } from "./unreadable.js";

/** What the first directory of a TIFF says of its pixels. A tag may claim to have as many numbers as the file has bytes. */
interface Directory {
  /** How many numbers a tag has; 0 where it is absent or they lie outside the file. */
  count(tag: number): number;
  /** One of them. */
  number(tag: number, place: number): number;
  /** The first one. */
  first(tag: number): number | undefined;
}

const Tag = {
  width: 256,
  height: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  stripOffsets: 273,
  samplesPerPixel: 277,
  stripByteCounts: 279,
  planarConfiguration: 284,
  tileWidth: 322,
  tileHeight: 323,
  tileOffsets: 324,
  tileByteCounts: 325,
  ycbcrSubsampling: 530,
} as const;

/** Compressions that sharp's libtiff is built without. */
const UNREAD_COMPRESSIONS: Readonly<Record<number, string>> = {
  33003: "JPEG 2000",
  33005: "JPEG 2000",
  34661: "JBIG",
  34712: "JPEG 2000",
  34887: "LERC",
  34925: "LZMA",
  34933: "PNG",
  50000: "ZSTD",
  50002: "JPEG XL",
  52546: "JPEG XL",
};
const JPEG = 7;

/** Kinds of colour that are not read, or come out wrong. */
const UNREAD_COLOURS: Readonly<Record<number, string>> = {
  8: "CIELAB",
  9: "ICCLab",
  10: "ITULab",
  32803: "those of a colour filter array (raw data of a camera)",
  34892: "linear raw data of a camera",
};
const YCBCR = 6;

const CONVERT_COMPRESSION = "Save it with LZW, Deflate or no compression, or as PNG.";
const CONVERT_COLOURS = "Convert it to grey or RGB.";

/** Bytes of a number of each of TIFF's types that counts and offsets have; other types have no numbers here. */
const NUMBER_BYTES: Readonly<Record<number, 1 | 2 | 4 | 8>> = { 1: 1, 3: 2, 4: 4, 16: 8 };

export function isTiff(bytes: Uint8Array): boolean {
  const start = String.fromCharCode(...bytes.subarray(0, 4));
  return ["II*\0", "MM\0*", "II+\0", "MM\0+"].includes(start);
}

/**
 * Looks for what libvips reads wrong without an error, and for valid TIFFs that it calls damaged. Throws IMAGE_UNREADABLE.
 * Resolves to whether the image is tiled: libvips passes over the errors of tiles unless warnings count too, while strips'
 * errors count anyway, and warnings about the file's tags would refuse readable ones.
 */
export async function checkTiff(bytes: Uint8Array, name: string): Promise<{ tiled: boolean }> {
  const directory = readDirectory(bytes);
  if (!directory) return { tiled: false }; // libtiff's own error says what is wrong
  const { first } = directory;
  const compression = first(Tag.compression) ?? 1;
  const samples = first(Tag.samplesPerPixel) ?? 1;
  const tiled = first(Tag.tileWidth) !== undefined;

  const codec = UNREAD_COMPRESSIONS[compression];
  if (codec !== undefined) throw notRead(name, `its compression is ${codec}`, CONVERT_COMPRESSION);
  checkBits(directory, name);
  if (tiled && samples > 1 && (first(Tag.planarConfiguration) ?? 1) === 2)
    throw notRead(name, "it has tiles with a plane for each channel", "Save it with interleaved channels.");
  checkColours(directory, compression, name);
  await (tiled ? checkTiles(bytes, directory, compression, name) : checkStrips(bytes, directory, compression, name));
  return { tiled };
}

/** More channels than any camera has. */
const MOST_CHANNELS = 1024;

function checkBits({ count, number, first }: Directory, name: string): void {
  const channels = count(Tag.bitsPerSample);
  if (channels > MOST_CHANNELS) throw unreadable(name, `it is damaged: it claims ${channels} channels.`);
  const bits = Array.from({ length: channels }, (_, i) => number(Tag.bitsPerSample, i));
  const odd = bits.find((each) => ![1, 2, 4, 8, 16, 32, 64].includes(each));
  if (odd !== undefined)
    throw notRead(name, `its samples are packed with ${odd} bits each`, "Unpack them to 16 bits per channel.");
  if (bits.some((each) => each !== first(Tag.bitsPerSample)))
    throw notRead(
      name,
      `its channels have different numbers of bits (${bits.slice(0, 8).join(", ")})`,
      CONVERT_COLOURS,
    );
}

function checkColours({ count, number, first }: Directory, compression: number, name: string): void {
  const photometric = first(Tag.photometric);
  if (photometric === undefined) return;
  const colours = UNREAD_COLOURS[photometric];
  if (colours !== undefined) throw notRead(name, `its colours are ${colours}`, CONVERT_COLOURS);
  // libvips takes these for RGB. With JPEG inside, or with subsampled colours, it converts them.
  const plain = count(Tag.ycbcrSubsampling) >= 2 && [0, 1].every((place) => number(Tag.ycbcrSubsampling, place) === 1);
  if (photometric === YCBCR && compression !== JPEG && plain)
    throw notRead(name, "its colours are YCbCr without subsampling", CONVERT_COLOURS);
}

async function checkTiles(bytes: Uint8Array, directory: Directory, compression: number, name: string): Promise<void> {
  const one = (tag: number): number => directory.first(tag) ?? 0;
  const [across, down] = [one(Tag.width) / one(Tag.tileWidth), one(Tag.height) / one(Tag.tileHeight)].map(Math.ceil);
  const tiles = across! * down!;
  if (!Number.isFinite(tiles)) throw unreadable(name, "it is damaged: its tiles have no size.");
  const listed = Math.min(directory.count(Tag.tileOffsets), directory.count(Tag.tileByteCounts));
  if (listed < tiles) throw truncated(name, `it has ${tiles} tiles, but a list of only ${listed}`);
  await checkPieces(bytes, directory, compression, name, { what: "tile", count: tiles, ...TILES });
}

/** Old files have no lengths of their strips; libtiff finds them. */
async function checkStrips(bytes: Uint8Array, directory: Directory, compression: number, name: string): Promise<void> {
  const count = directory.count(Tag.stripOffsets);
  if (directory.count(Tag.stripByteCounts) === count)
    await checkPieces(bytes, directory, compression, name, { what: "strip", count, ...STRIPS });
}

const TILES = { offsets: Tag.tileOffsets, counts: Tag.tileByteCounts };
const STRIPS = { offsets: Tag.stripOffsets, counts: Tag.stripByteCounts };

const truncated = (name: string, problem: string): Error => unreadable(name, `it is damaged or truncated: ${problem}.`);

/** Throws for a tile or strip that is missing, that ends behind the end of the file, or that is half of a JPEG image. */
async function checkPieces(
  bytes: Uint8Array,
  { number }: Directory,
  compression: number,
  name: string,
  { what, count, offsets, counts }: { what: string; count: number; offsets: number; counts: number },
): Promise<void> {
  const breathe = turns();
  for (let i = 0; i < count; i++) {
    const [offset, length] = [number(offsets, i), number(counts, i)];
    const which = `${what} ${i + 1} of ${count}`;
    if (offset === 0 || length === 0) throw truncated(name, `${which} is missing`);
    if (offset + length > bytes.length)
      throw truncated(name, `${which} ends at byte ${offset + length}, but the file has ${bytes.length} bytes`);
    if (compression === JPEG && !endsLikeJpeg(bytes, offset, length))
      throw truncated(name, `${which} is no whole JPEG image`);
    await breathe(64);
  }
}

/** Whether there is an end-of-image marker in the last bytes, which may be padding. libvips paints what is missing grey. */
function endsLikeJpeg(bytes: Uint8Array, offset: number, count: number): boolean {
  let end = offset + count;
  while (end > offset && bytes[end - 1] === 0) end--;
  return end - offset >= 4 && bytes[offset] === 0xff && bytes[end - 2] === 0xff && bytes[end - 1] === 0xd9;
}

/** As libtiff has it. */
const MOST_TAGS = 65535;

/** Reads the first directory of a TIFF or BigTIFF in either byte order. Undefined where it is not inside the file. */
function readDirectory(bytes: Uint8Array): Directory | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[0] === 0x49;
  const number = (at: number, size: 1 | 2 | 4 | 8): number => {
    if (size === 1) return view.getUint8(at);
    if (size === 2) return view.getUint16(at, little);
    return size === 4 ? view.getUint32(at, little) : Number(view.getBigUint64(at, little));
  };
  const within = (at: number, size: number): boolean => at + size <= bytes.length;
  if (!within(0, 16)) return undefined;
  const big = number(2, 2) === 43;
  const [word, head, entry] = big ? ([8, 8, 20] as const) : ([4, 2, 12] as const);
  const start = number(big ? 8 : 4, word);
  if (!within(start, head)) return undefined;
  const entries = number(start, head);
  if (entries > MOST_TAGS) return undefined;
  const tags = new Map<number, { size: 1 | 2 | 4 | 8; count: number; at: number }>();
  for (let i = 0; i < entries; i++) {
    const at = start + head + i * entry;
    if (!within(at, entry)) return undefined;
    const size = NUMBER_BYTES[number(at + 2, 2)];
    if (size === undefined) continue;
    const count = number(at + 4, word);
    const inline = at + 4 + word;
    const from = size * count <= word ? inline : number(inline, word);
    if (within(from, size * count)) tags.set(number(at, 2), { size, count, at: from });
  }
  const directory: Directory = {
    count: (tag) => tags.get(tag)?.count ?? 0,
    number(tag, place) {
      const { size, at } = tags.get(tag)!;
      return number(at + place * size, size);
    },
    first: (tag) => (directory.count(tag) > 0 ? directory.number(tag, 0) : undefined),
  };
  return directory;
}
