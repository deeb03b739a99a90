import type { Bitmap } from "./raster.js";

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** Compressed between two pauses, so that a page goes on. */
const chunkBytes = 2 ** 19;

/** A greyscale PNG of one bit: defects white, all else black. Works on a copy that is made before the first pause. */
export async function encodePng({ width, height, stride, data }: Bitmap): Promise<Blob> {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 1; // bit depth; what follows is 0: greyscale, deflate, filters by row, not interlaced
  const pixels = await deflate(data.slice(), stride);
  return new Blob([signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", new Uint8Array(0))], {
    type: "image/png",
  });
}

/** Each row behind the byte of its filter: none. */
async function deflate(rows: Uint8Array<ArrayBuffer>, stride: number): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new CompressionStream("deflate");
  const compressed = new Response(stream.readable).arrayBuffer();
  compressed.catch(() => undefined); // told by the writer
  const writer = stream.writable.getWriter();
  const atOnce = Math.max(1, Math.floor(chunkBytes / (stride + 1))) * stride;
  for (let from = 0; from < rows.length; from += atOnce) {
    const part = rows.subarray(from, from + atOnce);
    const filtered = new Uint8Array(part.length + part.length / stride);
    for (let at = 0, to = 1; at < part.length; at += stride, to += stride + 1)
      filtered.set(part.subarray(at, at + stride), to);
    await writer.write(filtered);
    await new Promise((resume) => setTimeout(resume));
  }
  await writer.close();
  return new Uint8Array(await compressed);
}

function chunk(name: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let value = -1;
  for (const byte of bytes) value = table[(value ^ byte) & 255]! ^ (value >>> 8);
  return ~value >>> 0;
}
