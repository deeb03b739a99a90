/**
 * Files of events as TensorBoard reads them: https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto
 * (event.proto, summary.proto: names, field numbers) in the records of TFRecord. Loads protobufjs.
 */
import { appendFile, readdir } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { Root, type Type } from "protobufjs/light";

import { fileError } from "../errors.js";

interface Image {
  height: number;
  width: number;
  /** 3: RGB. */
  colorspace: number;
  /** A PNG. */
  encodedImageString: Uint8Array;
}

type Value = { tag: string } & ({ simpleValue: number } | { image: Image });

interface Event {
  /** In seconds since 1970. */
  wallTime: number;
  step?: number;
  fileVersion?: string;
  summary?: { value: readonly Value[] };
  sessionLog?: { status: number };
}

const messages = {
  Event: {
    fields: {
      wallTime: { id: 1, type: "double" },
      step: { id: 2, type: "int64" },
      fileVersion: { id: 3, type: "string" },
      summary: { id: 5, type: "Summary" },
      sessionLog: { id: 7, type: "SessionLog" },
    },
  },
  SessionLog: { fields: { status: { id: 1, type: "int32" } } },
  Summary: { fields: { value: { id: 1, type: "Value", rule: "repeated" } } },
  Value: {
    oneofs: { value: { oneof: ["simpleValue", "image"] } }, // else a value of 0 is not written
    fields: {
      tag: { id: 1, type: "string" },
      simpleValue: { id: 2, type: "float" },
      image: { id: 4, type: "Image" },
    },
  },
  Image: {
    fields: {
      height: { id: 1, type: "int32" },
      width: { id: 2, type: "int32" },
      colorspace: { id: 3, type: "int32" },
      encodedImageString: { id: 4, type: "bytes" },
    },
  },
};

/** SessionLog.START. */
const start = 1;

let type: Type | undefined;
export const eventType = (): Type => (type ??= Root.fromJSON({ nested: messages }).resolveAll().lookupType("Event"));

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli); zlib has the other one. */
export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** TFRecord stores it so, because the checksum of data that hold their own checksum says little. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Length (8 bytes), its checksum (4), the data, their checksum (4); all little-endian. */
export function record(data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(data.length + 16);
  bytes.writeBigUInt64LE(BigInt(data.length));
  bytes.writeUInt32LE(maskedCrc(bytes.subarray(0, 8)), 8);
  bytes.set(data, 12);
  bytes.writeUInt32LE(maskedCrc(data), data.length + 12);
  return bytes;
}

/** By this TensorBoard knows its files. */
const filePrefix = "events.out.tfevents.";

/** Whether the folder, which need not exist, has files of events. */
export async function hasEvents(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => []); // who writes there says why
  return names.some((name) => name.startsWith(filePrefix));
}

/** A name that no other writer has, and later ones follow in the alphabet: TensorBoard reads them in this order. */
function fileName(seconds: number): string {
  const host = os.hostname().replace(/[^\w.-]/g, "_");
  return `${filePrefix}${seconds}.${host}.${process.pid}.${writers++}`;
}
let writers = 0;

/** Writes one new file into a folder that exists. Nothing is on the disk before `flush`. */
export class EventWriter {
  readonly file: string;
  #waiting: Buffer[] = [];
  #begun = false;

  constructor(folder: string) {
    this.file = path.join(folder, fileName(Math.floor(Date.now() / 1000)));
    this.#add({ fileVersion: "brain.Event:2" });
  }

  #add(event: Omit<Event, "wallTime">): void {
    this.#waiting.push(
      record(
        eventType()
          .encode({ wallTime: Date.now() / 1000, ...event })
          .finish(),
      ),
    );
  }

  /** What earlier files in the folder have of this step and of later ones no longer counts. */
  restart(step: number): void {
    this.#add({ step, sessionLog: { status: start } });
  }

  scalars(step: number, values: Readonly<Record<string, number>>): void {
    const value = Object.entries(values).map(([tag, simpleValue]) => ({ tag, simpleValue }));
    this.#add({ step, summary: { value } });
  }

  image(step: number, tag: string, png: Buffer): void {
    // The header of a PNG begins with both.
    const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
    this.#add({
      step,
      summary: { value: [{ tag, image: { height, width, colorspace: 3, encodedImageString: png } }] },
    });
  }

  /** Errors: FILE_NOT_FOUND, NO_PERMISSION, NO_SPACE, FILE_ERROR. The file may then end in half a record: write nothing more. */
  async flush(): Promise<void> {
    const waiting = this.#waiting.splice(0);
    try {
      await appendFile(this.file, Buffer.concat(waiting), { flag: this.#begun ? "a" : "wx" });
      this.#begun = true;
    } catch (error) {
      throw fileError(error, "write", this.file);
    }
  }
}
