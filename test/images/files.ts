/** Image files by hand, of kinds that sharp does not write. */

export interface TiffOptions {
  width: number;
  height: number;
  /** Of each channel. */
  bits?: readonly number[];
  /** 1 none, 5 LZW, 7 JPEG, 8 Deflate, ... */
  compression?: number;
  /** 1 grey, 2 RGB, 5 CMYK, 6 YCbCr, 8 CIELAB. */
  photometric?: number;
  /** Width and height of a tile; without it the segments are strips of equal height. */
  tile?: readonly [number, number];
  /** The data of the tiles or strips. */
  segments: readonly Uint8Array[];
  bigEndian?: boolean;
  /** Further tags of type SHORT, or an ASCII text. */
  tags?: Readonly<Record<number, readonly number[] | string>>;
}

/** A TIFF whose directory stands in front of the pixels, so that the file can be cut short behind it. */
export function tiffFile(options: TiffOptions): Buffer {
  const { width, height, bits = [8], compression = 1, photometric = 1, tile, segments, bigEndian, tags = {} } = options;
  const count = segments.length;
  const lengths = segments.map(({ length }) => length);
  const [offsetsTag, countsTag] = tile ? [324, 325] : [273, 279];
  const entries: (readonly [tag: number, type: 2 | 3 | 4, values: readonly number[]])[] = [
    [256, 4, [width]],
    [257, 4, [height]],
    [258, 3, bits],
    [259, 3, [compression]],
    [262, 3, [photometric]],
    [277, 3, [bits.length]],
    [offsetsTag, 4, lengths.map(() => 0)],
    [countsTag, 4, lengths],
    ...(tile
      ? ([
          [322, 4, [tile[0]]],
          [323, 4, [tile[1]]],
        ] as const)
      : ([[278, 4, [height / count]]] as const)),
    ...Object.entries(tags).map(([tag, value]) =>
      typeof value === "string"
        ? ([Number(tag), 2, [...Buffer.from(value)]] as const)
        : ([Number(tag), 3, value] as const),
    ),
  ];
  entries.sort(([a], [b]) => a - b);
  const sizes = { 2: 1, 3: 2, 4: 4 } as const;
  const outside = (type: 2 | 3 | 4, values: readonly number[]): number => {
    const bytes = sizes[type] * values.length;
    return bytes > 4 ? bytes + (bytes % 2) : 0;
  };
  const directory = 8 + 2 + 12 * entries.length + 4;
  let end = entries.reduce((sum, [, type, values]) => sum + outside(type, values), directory);
  const starts = lengths.map((length) => (end += length) - length);
  const file = Buffer.alloc(end);
  const short = (value: number, at: number): number =>
    bigEndian ? file.writeUInt16BE(value, at) : file.writeUInt16LE(value, at);
  const long = (value: number, at: number): number =>
    bigEndian ? file.writeUInt32BE(value, at) : file.writeUInt32LE(value, at);
  file.write(bigEndian ? "MM\0*" : "II*\0", "latin1");
  long(8, 4);
  short(entries.length, 8);
  let spare = directory;
  for (const [i, [tag, type, values]] of entries.entries()) {
    const at = 10 + 12 * i;
    short(tag, at);
    short(type, at + 2);
    long(values.length, at + 4);
    const inside = outside(type, values) === 0;
    if (!inside) long(spare, at + 8);
    const from = inside ? at + 8 : spare;
    for (const [k, value] of (tag === offsetsTag ? starts : values).entries()) {
      if (type === 2) file.writeUInt8(value, from + k);
      else if (type === 3) short(value, from + 2 * k);
      else long(value, from + 4 * k);
    }
    spare += outside(type, values);
  }
  for (const [i, segment] of segments.entries()) file.set(segment, starts[i]!);
  return file;
}

export interface BmpOptions {
  width: number;
  /** Negative: the first row is the top. */
  height: number;
  bits: number;
  /** Of the rows as they stand in the file, padded. */
  pixels: Uint8Array;
  /** B, G, R, 0 of each colour. */
  palette?: readonly number[];
  compression?: number;
  /** Red, green and blue. */
  masks?: readonly number[];
}

/** A BMP with the header of Windows 3. */
export function bmpFile({
  width,
  height,
  bits,
  pixels,
  palette = [],
  compression = 0,
  masks = [],
}: BmpOptions): Buffer {
  const offset = 54 + 4 * masks.length + palette.length;
  const file = Buffer.alloc(offset + pixels.length);
  file.write("BM", "latin1");
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(offset, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(width, 18);
  file.writeInt32LE(height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(bits, 28);
  file.writeUInt32LE(compression, 30);
  file.writeUInt32LE(palette.length / 4, 46);
  for (const [i, mask] of masks.entries()) file.writeUInt32LE(mask, 54 + 4 * i);
  file.set(palette, 54 + 4 * masks.length);
  file.set(pixels, offset);
  return file;
}
