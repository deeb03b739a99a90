import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { encodePng } from "../../lib/report/canvas.js";
import { crc32c, eventType, EventWriter, hasEvents, record } from "../../lib/tensorboard/events.js";
import { scratchFolder } from "../training/support.js";
import { eventsIn } from "./read.js";

const folder = scratchFolder();

test("the checksum is CRC-32C", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283);
  assert.equal(crc32c(Buffer.alloc(0)), 0);
  // RFC 3720, B.4.
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
});

test("records and messages are those of TensorBoard's own writer, byte for byte", () => {
  // Written by TensorBoard 2.21.0: RecordWriter, and SerializeToString of these events.
  const theirs =
    "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c" +
    "3800000000000000a3797d5709000000000000004010072a2b0a110a0a6c6f73732f746f74616c1500000000" +
    "0a160a066d6170732f61220c080210031803220489504e4710c8a5b4";
  const image = { height: 2, width: 3, colorspace: 3, encodedImageString: Buffer.from("89504e47", "hex") };
  const value = [
    { tag: "loss/total", simpleValue: 0 },
    { tag: "maps/a", image },
  ];
  const ours = [
    { wallTime: 1.5, fileVersion: "brain.Event:2" },
    { wallTime: 2, step: 7, summary: { value } },
  ].map((event) => record(eventType().encode(event).finish()).toString("hex"));
  assert.equal(ours.join(""), theirs);
});

test("what is written comes back; nothing is there before it is flushed", async () => {
  const writer = new EventWriter(folder);
  const png = await encodePng({ pixels: new Uint8Array(5 * 4 * 3), width: 5, height: 4 });
  writer.restart(3);
  writer.scalars(3, { "loss/total": 0.5, "loss/focalMap": 0 });
  assert.ok(!(await hasEvents(folder)));
  await writer.flush();
  assert.ok(await hasEvents(folder));
  writer.image(3, "maps/a", png);
  await writer.flush();
  const events = eventsIn(writer.file);
  assert.deepEqual(
    events.map(({ wallTime: _, ...event }) => event),
    [
      { fileVersion: "brain.Event:2" },
      { step: 3, sessionLog: { status: 1 } },
      {
        step: 3,
        summary: {
          value: [
            { tag: "loss/total", simpleValue: 0.5 },
            { tag: "loss/focalMap", simpleValue: 0 },
          ],
        },
      },
      {
        step: 3,
        summary: { value: [{ tag: "maps/a", image: { height: 4, width: 5, colorspace: 3, encodedImageString: png } }] },
      },
    ],
  );
  for (const { wallTime } of events) assert.ok(Math.abs(wallTime - Date.now() / 1000) < 600);
});

test("two writers have two files, in the order of their names", () => {
  const [first, second] = [new EventWriter(folder).file, new EventWriter(folder).file];
  assert.match(path.basename(first), /^events\.out\.tfevents\.\d{10}\.[\w.-]+$/);
  assert.ok(first < second);
});

test("a file that is there is never written over", async () => {
  const writer = new EventWriter(folder);
  writeFileSync(writer.file, "mine");
  await assert.rejects(writer.flush(), { name: "SuperSimpleNetError" });
  assert.equal(readFileSync(writer.file, "utf8"), "mine");
});

test("a folder without events", async () => {
  const other = path.join(folder, "other");
  assert.equal(await hasEvents(other), false);
  mkdirSync(other);
  assert.equal(await hasEvents(other), false);
});
