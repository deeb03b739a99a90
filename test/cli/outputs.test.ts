import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test } from "node:test";

import { freePort, scratchFolder, smallDataset, tinier, train } from "../training/support.js";
import { drop, rowsIn } from "../watch/kill.js";
import { supersimplenet } from "./run.js";

const limit = { timeout: 60_000 };
const scratch = scratchFolder();
const at = (...names: string[]): string => path.join(scratch, ...names);
const images = at("images");
const model = at("model.safetensors");
before(async () => {
  await (await train(await smallDataset(scratch), tinier)).save(model);
  mkdirSync(images);
  for (let i = 0; i < 3; i++) await drop(images, `${i}.png`, 60 * i);
});

test("predict --to: several outputs, and what could not be sent waits for the next call", limit, async () => {
  const port = await freePort();
  const args = [
    "predict",
    "--model",
    model,
    images,
    "--state-dir",
    at("state"),
    "--to",
    `webhook:http://127.0.0.1:${port}`,
  ];
  const { code, stderr } = await supersimplenet([...args, "--to", `csv:${at("csv")}`, "--to", `jsonl:${at("jsonl")}`]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /3 results wait/);
  assert.deepEqual(
    rowsIn(at("csv")).map((row) => path.basename(row["path"]!)),
    ["0.png", "1.png", "2.png"],
  );
  assert.equal(rowsIn(at("csv"))[0]!["model"], "model.safetensors");
  assert.equal(readdirSync(at("jsonl")).length, 1);
});

test("wrong outputs are told before anything is judged", limit, async () => {
  const wrong = await supersimplenet(["predict", "--model", model, images, "--to", "cvs:x"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /did you mean 'csv:'\?\) for --to/);
  assert.equal(wrong.stdout, "");
  assert.doesNotMatch(wrong.stderr, /random weights/);
  const keep = await supersimplenet(["watch", "--model", model, images, "--keep", "often"]);
  assert.equal(keep.code, 2);
  assert.match(keep.stderr, /--keep/);
});

test(
  "watch: a trigger that fails when it is closed is the error, and the outputs are closed all the same",
  limit,
  async () => {
    const hook = at("failing.cjs");
    const opened = path.resolve(__dirname, "../../lib/trigger/open.js");
    writeFileSync(
      hook,
      `const open = require(${JSON.stringify(opened)}), { openTrigger } = open;
     open.openTrigger = async (...given) => {
       const trigger = await openTrigger(...given);
       return { ...trigger, close: async () => { await trigger.close(); throw new Error("the trigger is stuck"); } };
     };`,
    );
    const [port, folder] = [await freePort(), at("failing")];
    mkdirSync(folder);
    await drop(folder, "0.png", 10);
    let sent = false;
    const { code, stderr } = await supersimplenet(
      [
        "watch",
        "--model",
        model,
        folder,
        "--to",
        `webhook:http://127.0.0.1:${port}`,
        "--trigger",
        "http://127.0.0.1:0",
      ],
      {
        env: { NODE_OPTIONS: `--require ${hook}` },
        onStderr: (soFar, kill) => {
          if (!sent && soFar.includes("webhook:http://127.0.0.1")) kill("SIGTERM");
          sent ||= soFar.includes("webhook:http://127.0.0.1");
        },
      },
    );
    assert.equal(code, 1, stderr);
    assert.match(stderr, /the trigger is stuck/);
    assert.match(stderr, /1 results wait/);
  },
);

test("watch: results on stdout, images kept, and exit code 0 at SIGTERM", limit, async () => {
  let sent = false;
  const { code, stdout, stderr } = await supersimplenet(
    [
      "watch",
      "--model",
      model,
      images,
      "--to",
      `exec:cat >> '${at("told")}'`,
      "--keep",
      "random:1",
      "--keep-dir",
      at("kept"),
      "--json",
    ],
    {
      onStderr: (soFar, kill) => {
        if (sent || !soFar.includes("watching")) return;
        sent = true;
        const look = setInterval(() => {
          if (!existsSync(at("told")) || readFileSync(at("told"), "utf8").split("\n").length < 4) return;
          clearInterval(look);
          kill("SIGTERM");
        }, 50);
      },
    },
  );
  assert.equal(code, 0, stderr);
  const told = JSON.parse(stdout) as { images: Record<string, number>; outputs: { written: number }[]; kept: number };
  assert.equal(told.images["good"]! + told.images["defect"]! + told.images["unsure"]!, 3);
  assert.equal(told.outputs[0]!.written, 3);
  assert.equal(told.kept, 3);
  assert.equal(readFileSync(at("kept", "kept.jsonl"), "utf8").trimEnd().split("\n").length, 3);
});
