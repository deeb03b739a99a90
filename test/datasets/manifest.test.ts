import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test, type TestContext } from "node:test";

import { countSamples } from "../../lib/datasets/dataset.js";
import { datasets } from "../../lib/datasets/index.js";
import { manifest } from "../../lib/datasets/manifest.js";
import { inferRegime } from "../../lib/datasets/regime.js";
import { failure, temporaryFolder, writeTree } from "./files.js";

const SHARED = path.resolve(__dirname, "../../../../shared/data/magnetic_tile");

async function write(t: TestContext, text: string | Buffer, name = "samples.csv"): Promise<string> {
  const root = await temporaryFolder(t);
  await writeTree(root, ["img/a.png", "img/b.png", "img/c d.png"], ["m/b.png"]);
  await writeFile(path.join(root, name), text);
  return path.join(root, name);
}

test("CSV: relative paths, synonyms, empty masks, other columns", async (t) => {
  const file = await write(
    t,
    '\uFEFFImage,Label,mask,split,defect,operator\r\nimg/a.png,OK,,train,,joe\r\nimg\\b.png,NG,m/b.png,test,hole,ann\r\n\r\n"img/c d.png",1,,Training,,\r\n',
  );
  const data = await manifest(file);
  const root = path.dirname(file);
  assert.deepEqual(data.samples, [
    { id: "img/a.png", image: path.join(root, "img/a.png"), label: "normal", split: "train" },
    {
      id: "img/b.png",
      image: path.join(root, "img/b.png"),
      label: "anomalous",
      split: "test",
      mask: path.join(root, "m/b.png"),
      defect: "hole",
    },
    { id: "img/c d.png", image: path.join(root, "img/c d.png"), label: "anomalous", split: "train" },
  ]);
  assert.deepEqual([data.kind, data.root, data.name], ["manifest", root, path.basename(root)]);
});

test("semicolons and tabs separate too; without a split column everything is train", async (t) => {
  for (const separator of [";", "\t"]) {
    const data = await manifest(
      await write(t, ["image,label", "img/a.png,good", "img/b.png,defective"].join("\n").replaceAll(",", separator)),
    );
    assert.deepEqual(
      data.samples.map(({ label, split }) => `${split} ${label}`),
      ["train normal", "train anomalous"],
    );
  }
});

test("a spreadsheet's line that names the separator, and its empty rows", async (t) => {
  for (const line of ["sep=|", '"sep=|"']) {
    const data = await manifest(
      await write(t, `${line}\r\nimage|label|note\r\n||\r\nimg/a.png|ok|a, b; c\r\n | |\r\nimg/b.png|ng|\r\n`),
    );
    assert.deepEqual(
      data.samples.map(({ id, label }) => [id, label]),
      [
        ["img/a.png", "normal"],
        ["img/b.png", "anomalous"],
      ],
    );
  }
  await assert.rejects(
    manifest(await write(t, "sep=;\nimage;label\n;;\nimg/a.png;what\n")),
    failure("DATASET_INVALID", "1 problem:", "line 4: label is 'what'"),
  );
});

test("JSON Lines", async (t) => {
  const lines = [
    { image: "img/a.png", label: 0, split: "train", mask: null },
    { image: "img/b.png", label: true, mask: "m/b.png", split: "test" },
  ];
  const data = await manifest(
    await write(t, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n\n`, "samples.jsonl"),
  );
  assert.deepEqual(
    data.samples.map(({ id, label, split, mask }) => [id, label, split, mask !== undefined]),
    [
      ["img/a.png", "normal", "train", false],
      ["img/b.png", "anomalous", "test", true],
    ],
  );
});

test("every bad line is listed by its number", async (t) => {
  const text = [
    "image,label,mask,split",
    "img/a.png,maybe,,train",
    ",normal,,train",
    "img/none.png,normal,,train",
    "img/b.png,normal,m/b.png,train",
    "img/c d.png,bad,m/none.png,holdout",
    "img/a.png,good,,test",
    "img/b.png,good",
  ].join("\n");
  await assert.rejects(manifest(await write(t, text)), failure("DATASET_INVALID", /line 8: 2 fields/));
  await assert.rejects(
    manifest(await write(t, text.split("\n").slice(0, 7).join("\n"))),
    failure(
      "DATASET_INVALID",
      "line 2: label is 'maybe'",
      "line 3: image is empty",
      "line 4: image 'img/none.png' does not exist",
      "line 5: a normal image has a mask",
      "line 6: mask 'm/none.png'",
      "line 6: split is 'holdout'",
      "line 7: image 'img/a.png' is already on line 2",
      "7 problems",
    ),
  );
});

test("columns that are missing: those that were read, and nothing about the lines below", async (t) => {
  for (const [text, ...parts] of [
    [
      "image|label|split\nimg/a.png|ok|train|x\n",
      "line 1: image and label are missing. Columns read: image|label|split.",
      "commas, semicolons or tabs",
      "sep=X",
    ],
    [
      "img/a.png,ok,,train\nimg/b.png,ng\n",
      "line 1: image and label are missing. Columns read: img/a.png, ok, , train.",
      "The first line names the columns: image,label,mask,split,defect",
    ],
    ["Image,Class\nimg/a.png,ok,x\n", "line 1: label is missing. Columns read: Image, Class."],
    ["sep=,\n\nImage;Label\nimg/a.png;ok;x\n", "line 3: image and label are missing. Columns read: Image;Label."],
  ] as const) {
    await assert.rejects(manifest(await write(t, text)), failure("DATASET_INVALID", "1 problem:", ...parts));
  }
  await assert.rejects(
    manifest(await write(t, '{"Image":"img/a.png","Class":"ok"}\n', "samples.jsonl")),
    failure("DATASET_INVALID", "line 1: label is missing. Keys read: Image, Class."),
  );
});

test("UTF-16, and names in another encoding than UTF-8", async (t) => {
  const utf16 = Buffer.from("\uFEFFimage\tlabel\nimg/a.png\tok\n", "utf16le");
  for (const bytes of [utf16, Buffer.from(utf16).swap16()])
    await assert.rejects(
      manifest(await write(t, bytes)),
      failure("DATASET_INVALID", "1 problem:", "It is UTF-16", "Save it as UTF-8"),
    );
  await assert.rejects(
    manifest(
      await write(
        t,
        Buffer.from(
          "image,label,mask,defect\nimg/caf\xe9.png,ng,,\nimg/b.png,ng,m/\xe9.png,\nimg/a.png,ng,,\xe9\n",
          "latin1",
        ),
      ),
    ),
    failure(
      "DATASET_INVALID",
      "2 problems:",
      "line 2: image 'img/caf\uFFFD.png' is not valid UTF-8",
      "line 3: mask 'm/\uFFFD.png' is not valid UTF-8",
      "Save the manifest as UTF-8",
    ),
  );
});

test("a quoted field over several lines does not shift the numbers", async (t) => {
  await assert.rejects(
    manifest(await write(t, 'image,label,note\nimg/a.png,ok,"two\nlines"\nimg/b.png,what,x\n')),
    failure("DATASET_INVALID", "line 4: label is 'what'"),
  );
});

test("damaged manifests", async (t) => {
  await assert.rejects(
    manifest(await write(t, "image,lable\nimg/a.png,ok\n")),
    failure("DATASET_INVALID", "Did you mean label", "label is missing"),
  );
  await assert.rejects(
    manifest(await write(t, 'image,label\nimg/a.png,ok\n"img/b.png,ok\n')),
    failure("DATASET_INVALID", /line \d/),
  );
  await assert.rejects(manifest(await write(t, "image,label\n")), failure("DATASET_INVALID", "no images"));
  await assert.rejects(
    manifest(await write(t, "")),
    failure("DATASET_INVALID", "It is empty", "image,label,mask,split,defect"),
  );
  await assert.rejects(
    manifest(
      await write(
        t,
        '{"image":"img/a.png","label":"ok"}\n{"image":\n[1]\n{"image":{"a":1},"label":"ok"}\n',
        "samples.jsonl",
      ),
    ),
    failure(
      "DATASET_INVALID",
      "line 2: not valid JSON",
      "line 3: expected an object",
      "line 4: image must be a string",
    ),
  );
  await assert.rejects(manifest("/nowhere/samples.csv"), failure("FILE_NOT_FOUND", "/nowhere/samples.csv"));
});

test("open finds the kind of a data set", async (t) => {
  const file = await write(t, "image,label\nimg/a.png,ok\n");
  assert.equal((await datasets.open(path.dirname(file))).kind, "manifest");
  assert.equal((await datasets.open(file)).kind, "manifest");
  const root = await temporaryFolder(t);
  await writeTree(root, ["train/good/0.png"]);
  assert.equal((await datasets.open(root)).kind, "folder");
  assert.equal((await datasets.open(root, { kind: "folder" })).kind, "folder");
  await assert.rejects(
    datasets.open(root, { kind: "manifset" as "manifest" }),
    failure("INVALID_OPTION", "did you mean 'manifest'"),
  );
  await assert.rejects(datasets.open(root, { kind: "manifest" }), failure("FILE_NOT_FOUND", "samples.csv"));
  await assert.rejects(datasets.open(path.join(root, "none")), failure("FILE_NOT_FOUND", "none"));
});

test("magnetic_tile", { skip: existsSync(SHARED) ? false : "the shared sample data is not here" }, async () => {
  const data = await datasets.open(SHARED);
  assert.equal(inferRegime(data), "full");
  assert.deepEqual(countSamples(data), {
    trainNormal: 100,
    trainAnomalous: 44,
    trainSegmented: 44,
    testNormal: 60,
    testAnomalous: 42,
    testSegmented: 42,
  });
});

test("a folder is no mask of an image", async (t) => {
  const file = await write(t, "image,label,mask\nimg/a.png,normal,\nimg/b.png,anomalous,m\n");
  await assert.rejects(manifest(file), failure("DATASET_INVALID", "line 3: mask 'm' is a folder; give a file."));
});

test("JSON Lines: an object with a toString is ignored as another column, and refused as one of ours", async (t) => {
  const other = '{"image": "img/a.png", "label": "ok", "a": {"toString": 1}}\n';
  assert.equal((await manifest(await write(t, other, "samples.jsonl"))).samples.length, 1);
  const own = '{"image": {"toString": 1}, "label": "ok"}\n';
  await assert.rejects(
    manifest(await write(t, own, "samples.jsonl")),
    failure("DATASET_INVALID", "image must be a string"),
  );
});

test("ignored pixels and regions of interest: masks, and rectangles in any of three spellings", async (t) => {
  const rows = [
    "image;label;mask;split;ignore;roi",
    "img/a.png;normal;;train;m/b.png;1 2 30 20",
    "img/b.png;anomalous;m/b.png;test;m/b.png;m/b.png",
    "img/c d.png;normal;;train;;1,2,  30,20",
  ];
  const file = await write(t, rows.join("\n"));
  const root = path.dirname(file);
  const mask = path.join(root, "m/b.png");
  const rectangle = { x: 1, y: 2, width: 30, height: 20 };
  const seen = (await manifest(file)).samples.map(({ ignore, roi }) => [ignore, roi]);
  assert.deepEqual(seen, [
    [mask, rectangle],
    [mask, mask],
    [undefined, rectangle],
  ]);
  assert.deepEqual((await manifest(file)).unused, []);
  const lines = ["1;2;30;20", [1, 2, 30, 20], "m/b.png"].map((roi, i) =>
    JSON.stringify({ image: ["img/a.png", "img/b.png", "img/c d.png"][i], label: "ok", roi }),
  );
  const json = await manifest(await write(t, lines.join("\n"), "samples.jsonl"));
  assert.deepEqual(
    json.samples.map(({ roi }) => (typeof roi === "string" ? path.basename(roi) : roi)),
    [rectangle, rectangle, "b.png"],
  );
});

test("wrong regions of interest and ignore masks, by line", async (t) => {
  const wrong = ["1 2 3", "1 2 0 4", "1.5 2 3 4", "1 2 3 4 5", "1,,2,3", "-", "m/none.png", "m"];
  const rows = wrong.map((roi) => `img/a.png;ok;;${roi}`);
  const file = await write(
    t,
    ["image;label;ignore;roi", ...rows, "img/b.png;ok;m/none.png;", "img/b.png;ok;m;"].join("\n"),
  );
  await assert.rejects(
    manifest(file),
    failure(
      "DATASET_INVALID",
      "line 2: roi is '1 2 3'; expected X Y W H",
      ...[3, 4, 5, 6, 7].map((line) => `line ${line}: roi is`),
      "line 8: roi 'm/none.png' does not exist",
      "line 9: roi 'm' is a folder",
      "line 10: ignore 'm/none.png' does not exist",
      "line 11: ignore 'm' is a folder",
    ),
  );
  await assert.rejects(
    manifest(await write(t, '{"image": "img/a.png", "label": "ok", "roi": {"x": 1}}', "samples.jsonl")),
    failure("DATASET_INVALID", "line 1: roi must be a string"),
  );
});
