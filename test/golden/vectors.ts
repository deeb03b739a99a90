import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** Golden vectors lie beside the checkout, not in it (shared/golden/README.md there says how they were made). */
const folder = path.resolve(__dirname, "../../../../shared/golden");

/** For node:test's `skip` option: false where the golden vectors are present, else the reason. */
export const skip: string | false = existsSync(path.join(folder, "golden.safetensors"))
  ? false
  : `golden vectors are absent (${folder})`;

export interface GoldenTensor {
  shape: number[];
  data: Float32Array;
}

let file:
  | { header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>; data: Buffer }
  | undefined;

function open(): NonNullable<typeof file> {
  if (file) return file;
  const bytes = readFileSync(path.join(folder, "golden.safetensors"));
  const headerLength = Number(bytes.readBigUInt64LE(0));
  file = { header: JSON.parse(bytes.toString("utf8", 8, 8 + headerLength)), data: bytes.subarray(8 + headerLength) };
  return file;
}

/** The names of all golden tensors. */
export function goldenNames(): string[] {
  return Object.keys(open().header).filter((name) => name !== "__metadata__");
}

/** A tensor of golden.safetensors (all are float32). */
export function golden(name: string): GoldenTensor {
  const { header, data } = open();
  const entry = header[name];
  if (!entry || entry.dtype !== "F32") throw new Error(`golden.safetensors has no float32 tensor '${name}'`);
  return { shape: entry.shape, data: new Float32Array(new Uint8Array(data.subarray(...entry.data_offsets)).buffer) };
}

/** A value of golden.json, e.g. goldenJson("metrics", "AUPRO"). */
export function goldenJson(...keys: string[]): unknown {
  let value: unknown = JSON.parse(readFileSync(path.join(folder, "golden.json"), "utf8"));
  for (const key of keys) value = (value as Record<string, unknown>)[key];
  return value;
}
