import { notRead, unreadable } from "./unreadable.js";

/** What the first directory of a TIFF says of its pixels. */
interface Directory {
  /** The numbers of a tag; undefined where it is absent or lies outside the file. */
  numbers(tag: number): readonly number[] | undefined;
}

const Tag = {
  width: 256,
  height: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  samplesPerPixel: 277,
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
export function checkTiff(bytes: Uint8Array, name: string): { tiled: boolean } {
  const directory = readDirectory(bytes);
  if (!directory) return { tiled: false }; // libtiff's own error says what is wrong
  const { numbers } = directory;
  const one = (tag: number, otherwise: number): number => numbers(tag)?.[0] ?? otherwise;
  const compression = one(Tag.compression, 1);
  const samples = one(Tag.samplesPerPixel, 1);
  const tiled = numbers(Tag.tileWidth) !== undefined;

  const codec = UNREAD_COMPRESSIONS[compression];
  if (codec !== undefined) throw notRead(name, `its compression is ${codec}`, CONVERT_COMPRESSION);
  const bits = numbers(Tag.bitsPerSample) ?? [1];
  const odd = bits.find((count) => ![1, 2, 4, 8, 16, 32, 64].includes(count));
  if (odd !== undefined)
    throw notRead(name, `its samples are packed with ${odd} bits each`, "Unpack them to 16 bits per channel.");
  if (bits.some((count) => count !== bits[0]))
    throw notRead(name, `its channels have different numbers of bits (${bits.join(", ")})`, CONVERT_COLOURS);
  if (tiled && samples > 1 && one(Tag.planarConfiguration, 1) === 2)
    throw notRead(name, "it has tiles with a plane for each channel", "Save it with interleaved channels.");
  checkColours(directory, compression, name);
  if (tiled) checkTiles(bytes, directory, { compression, samples }, name);
  return { tiled };
}

function checkColours({ numbers }: Directory, compression: number, name: string): void {
  const photometric = numbers(Tag.photometric)?.[0];
  if (photometric === undefined) return;
  const colours = UNREAD_COLOURS[photometric];
  if (colours !== undefined) throw notRead(name, `its colours are ${colours}`, CONVERT_COLOURS);
  // libvips takes these for RGB. With JPEG inside, or with subsampled colours, it converts them.
  const subsampling = numbers(Tag.ycbcrSubsampling) ?? [2, 2];
  if (photometric === YCBCR && compression !== JPEG && subsampling.every((step) => step === 1))
    throw notRead(name, "its colours are YCbCr without subsampling", CONVERT_COLOURS);
}

/** Throws for a tile that is missing, or that ends behind the end of the file. */
function checkTiles(
  bytes: Uint8Array,
  { numbers }: Directory,
  { compression, samples }: { compression: number; samples: number },
  name: string,
): void {
  const one = (tag: number): number => numbers(tag)?.[0] ?? 0;
  const [across, down] = [one(Tag.width) / one(Tag.tileWidth), one(Tag.height) / one(Tag.tileHeight)].map(Math.ceil);
  const tiles = across! * down!;
  if (!Number.isFinite(tiles) || samples < 1) throw unreadable(name, "it is damaged: its tiles have no size.");
  const offsets = numbers(Tag.tileOffsets) ?? [];
  const counts = numbers(Tag.tileByteCounts) ?? [];
  const truncated = (problem: string): Error => unreadable(name, `it is damaged or truncated: ${problem}.`);
  if (offsets.length < tiles || counts.length < tiles)
    throw truncated(`it has ${tiles} tiles, but a list of only ${Math.min(offsets.length, counts.length)}`);
  for (let tile = 0; tile < tiles; tile++) {
    const [offset, count] = [offsets[tile]!, counts[tile]!];
    if (offset === 0 || count === 0) throw truncated(`tile ${tile + 1} of ${tiles} is missing`);
    if (offset + count > bytes.length)
      throw truncated(
        `tile ${tile + 1} of ${tiles} ends at byte ${offset + count}, but the file has ${bytes.length} bytes`,
      );
    if (compression === JPEG && !endsLikeJpeg(bytes, offset, count))
      throw truncated(`tile ${tile + 1} of ${tiles} is no whole JPEG image`);
  }
}

/** Whether there is an end-of-image marker in the last bytes, which may be padding. libvips paints what is missing grey. */
function endsLikeJpeg(bytes: Uint8Array, offset: number, count: number): boolean {
  let end = offset + count;
  while (end > offset && bytes[end - 1] === 0) end--;
  return end - offset >= 4 && bytes[offset] === 0xff && bytes[end - 2] === 0xff && bytes[end - 1] === 0xd9;
}

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
  const tags = new Map<number, number>();
  for (let i = 0; i < entries; i++) {
    const at = start + head + i * entry;
    if (!within(at, entry)) return undefined;
    tags.set(number(at, 2), at);
  }
  return {
    numbers(tag) {
      const at = tags.get(tag);
      if (at === undefined) return undefined;
      const size = NUMBER_BYTES[number(at + 2, 2)];
      const count = number(at + 4, word);
      if (size === undefined || count === 0) return undefined;
      const inline = at + 4 + word;
      const from = size * count <= word ? inline : number(inline, word);
      if (!within(from, size * count)) return undefined;
      return Array.from({ length: count }, (_, i) => number(from + i * size, size));
    },
  };
}
