import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { eventType } from "../../lib/tensorboard/events.js";

export interface ReadEvent {
  wallTime: number;
  step?: number;
  fileVersion?: string;
  sessionLog?: { status: number };
  summary?: { value: { tag: string; simpleValue?: number; image?: { encodedImageString: Buffer } }[] };
}

/** CRC-32C bit by bit, most significant first: nothing of the table in lib. */
function checksum(bytes: Uint8Array): number {
  const reversed = (value: number, bits: number): number =>
    parseInt(value.toString(2).padStart(bits, "0").split("").reverse().join(""), 2);
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= reversed(byte, 8) << 24;
    for (let bit = 0; bit < 8; bit++) crc = crc < 0 || crc >= 2 ** 31 ? (crc << 1) ^ 0x1edc6f41 : crc << 1;
  }
  return reversed(~crc >>> 0, 32);
}

function masked(bytes: Uint8Array): number {
  const crc = BigInt(checksum(bytes));
  return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
}

/** The events of a file, whose checksums must hold. Those of pictures are left to TensorBoard: they take seconds here. */
export function eventsIn(file: string): ReadEvent[] {
  const bytes = readFileSync(file);
  const events: ReadEvent[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at));
    assert.equal(bytes.readUInt32LE(at + 8), masked(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    if (length < 10_000) assert.equal(bytes.readUInt32LE(at + 12 + length), masked(data));
    events.push(eventType().toObject(eventType().decode(data), { longs: Number }) as ReadEvent);
    at += length + 16;
  }
  return events;
}

/** Of every file in the folder, in the order in which TensorBoard reads them. */
export const eventsBelow = (folder: string): ReadEvent[][] =>
  readdirSync(folder)
    .sort()
    .map((name) => eventsIn(path.join(folder, name)));

/** The steps by tag. */
export function stepsOf(events: readonly ReadEvent[]): Record<string, number[]> {
  const steps: Record<string, number[]> = {};
  for (const { step, summary } of events) for (const { tag } of summary?.value ?? []) (steps[tag] ??= []).push(step!);
  return steps;
}
