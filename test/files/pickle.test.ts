import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { engine } from "../../lib/native/engine.js";
import { failsWith, mutate, temporaryFolder } from "./support.js";
import { pickle } from "./torch_save.js";

const file = path.join(temporaryFolder(), "split.pkl");

function read(bytes: Buffer | string): Promise<unknown> {
  writeFileSync(file, typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  return engine().readPickle(file);
}

test("containers, strings and numbers", async () => {
  assert.deepEqual(await read(pickle([{ tuple: [10246, true] }, { tuple: ["a", null] }, -1.5])), [
    [10246, true],
    ["a", null],
    -1.5,
  ]);
  assert.deepEqual(
    await read(
      pickle({
        dict: [
          ["k", [1]],
          [2, { dict: [] }],
        ],
      }),
    ),
    new Map<unknown, unknown>([
      ["k", [1]],
      [2, new Map()],
    ]),
  );
  assert.deepEqual(await read(pickle({ call: "builtins.set", args: [[1, 2]] })), [1, 2]);
  assert.deepEqual(
    await read(pickle({ call: "collections.defaultdict", args: [{ name: "builtins.list" }] })),
    new Map(),
  );
});

test("every integer form", async () => {
  const forms: [string, unknown][] = [
    ["I-12\n.", -12],
    ["I01\n.", true],
    ["I00\n.", false],
    ["L77L\n.", 77],
    ["J\xff\xff\xff\xff.", -1],
    ["K\xff.", 255],
    ["M\x01\x02.", 513],
    ["\x8a\x00.", 0],
    ["\x8a\x01\xff.", -1],
    ["\x8a\x02\xff\x00.", 255],
    ["\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", 2n ** 63n - 1n],
    ["\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.", 2n ** 64n],
    ["\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\xfe.", -(2n ** 64n) - 1n],
    ["\x8b\x01\x00\x00\x00\x05.", 5],
  ];
  for (const [bytes, value] of forms) assert.deepEqual(await read(bytes), value, JSON.stringify(bytes));
});

test("protocol 0 text and protocol 4 framing", async () => {
  // pickle.dumps([('a', 1), {'x': 2.5}, 'üł'], protocol=0) and ({1, 2}, b'x', [frozenset([3])], 'ü') with protocol 4.
  assert.deepEqual(await read("(lp0\n(Va\np1\nI1\ntp2\na(dp3\nVx\np4\nF2.5\nsaV\xfc\\u0142\np5\na."), [
    ["a", 1],
    new Map([["x", 2.5]]),
    "üł",
  ]);
  assert.deepEqual(
    await read(
      "\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00(\x8f\x94(K\x01K\x02\x90C\x01x\x94]\x94(K\x03\x91\x94a\x8c\x02\xc3\xbc\x94t\x94.",
    ),
    [[1, 2], Buffer.from("x"), [[3]], "ü"],
  );
});

test("anything else is refused", async () => {
  for (const name of [
    "os.system",
    "builtins.eval",
    "pathlib.PosixPath",
    "torch._utils._rebuild_tensor_v2",
    "argparse.Namespace",
  ]) {
    await failsWith(
      read(pickle({ call: name, args: ["x"] })),
      "PICKLE_REFUSED",
      new RegExp(name.replace(/\./g, "\\.")),
    );
  }
  await failsWith(read(pickle({ name: "builtins.set" })), "FILE_CORRUPT", /holds the class 'builtins\.set'/);
  await failsWith(read(pickle({ call: "builtins.list", args: [] })), "FILE_CORRUPT", /holds an object/);
  await failsWith(read("\x80\x09N."), "FILE_CORRUPT", /protocol 9/);
  await failsWith(read("]q\x00h\x00a."), "FILE_CORRUPT", /hold themselves/);
  await failsWith(read(`${"]".repeat(1000)}${"a".repeat(999)}.`), "FILE_CORRUPT", /200 deep/);
  // Thirty lists of ten times the one before: 10^30 values when written out.
  await failsWith(
    read(
      `]${Array.from({ length: 30 }, (_, i) => `q${String.fromCharCode(i)}0](${`h${String.fromCharCode(i)}`.repeat(10)}e`).join("")}.`,
    ),
    "FILE_CORRUPT",
    /4 million values/,
  );
});

test("cut and changed files are read or refused, never worse", async () => {
  const bytes = pickle([
    { tuple: [10246, true] },
    { dict: [["a", 2n ** 40n]] },
    { call: "builtins.set", args: [[1, 2]] },
    "text",
    2.5,
  ]);
  const outcome = await mutate(file, bytes, 3000, (f) => engine().readPickle(f));
  assert.ok(outcome.read > 50 && outcome.refused > 500, JSON.stringify(outcome));
});
