import assert from "node:assert/strict";
import { test } from "node:test";

import { open } from "../../../lib/datasets/registry.js";
import { validateDataset } from "../../../lib/datasets/validate.js";
import { failure, writeImage } from "../files.js";
import { box, marked, messages, project, sampleOf, summary, where } from "./support.js";

const image = (name: string, shapes = "", more = 'width="40" height="36"'): string =>
  `<image id="0" name="${name}" ${more}>${shapes}</image>`;
const file = (...images: string[]): string =>
  `<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><name>image</name></task></meta>${images.join("\n")}</annotations>`;

const POLYGON =
  '<polygon label="scratch" points="5,5;15,5;15,10;5,10" z_order="0"><attribute name="a">1</attribute></polygon>';

test("polygons, boxes, ellipses and masks; classes are kinds of defects; images without shapes are good", async (t) => {
  const root = await project(
    t,
    [
      "images/a.png",
      "images/b & c.png",
      "images/d.png",
      "images/e.png",
      "images/f.png",
      "images/good.png",
      "images/more.png",
    ],
    {
      "annotations.xml": file(
        image("a.png", POLYGON),
        image("b &amp; c.png", '<box label="dent" xtl="-5" ytl="30.2" xbr="4" ybr="99"/>'),
        image("d.png", '<ellipse label="pit" cx="20" cy="18" rx="8" ry="4"/>'),
        image("e.png", '<mask label="hole" rle="3, 2, 4, 3" left="10" top="20" width="4" height="3"/>'),
        image("f.png", '<box label="turned" xtl="10" ytl="16" xbr="30" ybr="20" rotation="90"/>'),
        image("good.png"),
      ),
    },
  );
  const data = await open(root);
  assert.deepEqual([data.kind, messages(data), data.warnings], ["cvat", [], []]);
  assert.deepEqual(summary(data), [
    "images/a.png anomalous train scratch mask",
    "images/b & c.png anomalous train dent mask",
    "images/d.png anomalous train pit mask",
    "images/e.png anomalous train hole mask",
    "images/f.png anomalous train turned mask",
    "images/good.png normal train -",
  ]);
  assert.deepEqual(data.unused, ["images/more.png"]);
  const maskOf = (id: string) => marked(sampleOf(data, `images/${id}`).mask);
  assert.deepEqual(await maskOf("a.png"), box(5, 5, 15, 10));
  assert.deepEqual(await maskOf("b & c.png"), box(-5, 30.2, 4, 99));
  assert.deepEqual(
    await maskOf("d.png"),
    where((x, y) => ((x - 20) / 8) ** 2 + ((y - 18) / 4) ** 2 < 1),
  );
  // Rows of 4: ...X X... .XXX
  assert.deepEqual(await maskOf("e.png"), [[13, 20], [10, 21], [11, 22], [12, 22], [13, 22]]); // prettier-ignore
  assert.deepEqual(await maskOf("f.png"), box(18, 8, 22, 28));
  // Other processes and later calls find the same files.
  assert.deepEqual((await open(root)).samples, data.samples);
  await assert.rejects(validateDataset(data), failure("DATASET_INVALID", "1 problem:", "only 1 normal image"));
});

test("several classes: the larger one names the defect, the mask is all of them; classes may be ignored", async (t) => {
  const shapes = `${POLYGON}<box label="Dirt" xtl="20" ytl="20" xbr="30" ybr="30"/><box label="serial" xtl="0" ytl="0" xbr="9" ybr="3"/>`;
  const root = await project(t, ["a.png", "b.png"], {
    "annotations.xml": file(
      image("a.png", shapes),
      image("b.png", '<box label="serial" xtl="0" ytl="0" xbr="9" ybr="3"/>'),
    ),
  });
  const all = await open(root);
  assert.deepEqual(summary(all), ["a.png anomalous train Dirt mask", "b.png anomalous train serial mask"]);
  assert.equal((await marked(all.samples[0]!.mask)).length, 50 + 100 + 27);
  const data = await open(root, { ignoreClass: ["SERIAL"] });
  assert.deepEqual(summary(data), ["a.png anomalous train Dirt mask ignore", "b.png normal train - ignore"]);
  assert.deepEqual(await marked(data.samples[0]!.ignore), box(0, 0, 9, 3));
  assert.equal((await marked(data.samples[0]!.mask)).length, 150);
  assert.deepEqual((await open(root, { ignoreClass: ["serail"] })).warnings, [
    "No annotation has the class 'serail', which is to be ignored. Classes: scratch, Dirt, serial.",
  ]);
  for (const ignoreClass of [[], [""], [3], "serial", {}, null])
    await assert.rejects(open(root, { ignoreClass } as never), failure("INVALID_OPTION", "ignoreClass"));
  await assert.rejects(
    open(root, { kind: "folder", ignoreClass: ["x"] }),
    failure("INVALID_OPTION", "has no 'ignoreClass'; these have: cvat, coco, labelstudio, labelme"),
  );
});

test("splits: the file's subset, else the folder's name; images by path, in images/, by their name", async (t) => {
  const root = await project(
    t,
    ["images/Validation/v.png", "elsewhere/deep/x.png", "train/t.png", "test/good/y.png", "one/z.png", "two/z.png"],
    {
      "annotations.xml": file(
        image("Validation/v.png", POLYGON, 'width="40" height="36" subset="Train"'),
        image("server\\path\\x.PNG", "", 'subset="Test"'),
        image("train/t.png"),
        image("y.png"),
        image("one/z.png"),
      ),
    },
  );
  const data = await open(root);
  assert.deepEqual(messages(data), []);
  assert.deepEqual(summary(data), [
    "elsewhere/deep/x.png normal test -",
    "images/Validation/v.png anomalous train scratch mask",
    "one/z.png normal train -",
    "test/good/y.png normal test -",
    "train/t.png normal train -",
  ]);
  assert.deepEqual(data.unused, ["two/z.png"]);
});

test("every damaged annotation names file and image", async (t) => {
  const shape = (text: string, name: string): string => image(`${name}.png`, text);
  const damaged: Record<string, [text: string, message: string]> = {
    nan: ['<polygon label="a" points="1,1;NaN,2;3,3"/>', "polygon 1: a coordinate is 'NaN', not a number"],
    few: ['<polygon label="a" points="1,1;2,2"/>', "polygon 1: a polygon has 2 points; at least 3 are needed"],
    none: ['<polygon label="a"/>', "polygon 1: a coordinate is '', not a number"],
    three: ['<polygon label="a" points="1,1,1;2,2;3,3"/>', "polygon 1: 'points' has '1,1,1', not X,Y"],
    far: ['<polygon label="a" points="1,1;1e300,2;3,3"/>', "polygon 1: a coordinate is '1e300', not a number"],
    nolabel: ['<box xtl="1" ytl="1" xbr="5" ybr="5"/>', "box 1: it has no label"],
    nobox: ['<box label="a" xtl="1" ytl="1" xbr="5"/>', "box 1: ybr is undefined, not a number"],
    radius: ['<ellipse label="a" cx="9" cy="9" rx="0" ry="4"/>', "ellipse 1: its radii are 0 and 4; both must be above 0"],
    line: [`${POLYGON}<polyline label="a" points="1,1;5,5"/>`, "polyline 2: polylines have no area and are not read"],
    runs: ['<mask label="a" rle="3,9999999999999" left="0" top="0" width="4" height="3"/>', "mask 1: a run of its mask is '9999999999999', not a number"],
    short: ['<mask label="a" rle="3,2" left="0" top="0" width="4" height="3"/>', "mask 1: the runs of its mask are 5 pixels long, but 4 x 3 are 12"],
    minus: ['<mask label="a" rle="14,-2" left="0" top="0" width="4" height="3"/>', "mask 1: a run of its mask is -2 pixels long"],
    huge: ['<mask label="a" rle="1" left="0" top="0" width="100000" height="100000"/>', "mask 1: its mask is 100000 x 100000; at most 536870912 pixels are read"],
    outside: ['<box label="a" xtl="50" ytl="1" xbr="60" ybr="5"/>', "its shapes cover no pixel"],
  }; // prettier-ignore
  const names = Object.keys(damaged);
  const root = await project(
    t,
    [
      "good.png",
      ...names.map((name) => `${name}.png`),
      "size.png",
      "sized.png",
      "broken.png",
      "x/twin.png",
      "y/twin.png",
    ],
    {
      "annotations.xml": file(
        image("good.png"),
        ...names.map((name) => shape(damaged[name]![0], name)),
        image("size.png", POLYGON, 'width="41" height="36"'),
        image("sized.png", POLYGON, 'width="-4" height="36"'),
        image("broken.png", POLYGON),
        image("missing.png", POLYGON),
        image("twin.png"),
        image("good.png", POLYGON),
      ),
    },
  );
  const { writeFile } = await import("node:fs/promises");
  await writeFile(`${root}/broken.png`, "no image");
  const data = await open(root);
  assert.deepEqual(summary(data), ["good.png normal train -"]);
  const found = messages(data);
  const expected = [
    ...names.map((name) => `annotations.xml: image '${name}.png': ${damaged[name]![1]}`),
    "annotations.xml: image 'size.png': it was annotated at 41 x 36 pixels, but it is 40 x 36.",
    "annotations.xml: image 'sized.png': size: width is '-4', not a whole number from 1",
    "annotations.xml: image 'broken.png': ",
    "annotations.xml: image 'missing.png': there is no such image",
    "annotations.xml: image 'twin.png': 2 images are called so (x/twin.png, y/twin.png)",
    "annotations.xml: image 'good.png': good.png is already named in annotations.xml",
  ];
  for (const start of expected)
    assert.ok(
      found.some((message) => message.startsWith(start)),
      `${start}\n${found.join("\n")}`,
    );
  assert.equal(found.length, expected.length, found.join("\n"));
  await assert.rejects(validateDataset(data), failure("DATASET_INVALID", "polygon 1: a coordinate is 'NaN'"));
});

test("polygons that cross themselves are filled by the even-odd rule", async (t) => {
  const root = await project(t, ["a.png"], {
    "annotations.xml": file(image("a.png", '<polygon label="bow" points="5,5;25,25;25,5;5,25"/>')),
  });
  const [sample] = (await open(root)).samples;
  const inside = where((x, y) => x > 5 && x < 25 && Math.abs(y - 15) < Math.abs(x - 15));
  const seen = await marked(sample!.mask);
  // Centres on the two diagonals belong to one side of each.
  for (const pixel of inside) assert.ok(seen.some(([x, y]) => x === pixel[0] && y === pixel[1]));
  assert.ok(seen.length - inside.length <= 40);
});

test("files that are no such annotations: entities, videos, damage, other encodings, other XML", async (t) => {
  const laughs = `<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">${"bcdefghij"
    .split("")
    .map((name, i) => `<!ENTITY ${name} "${`&${"abcdefghi"[i]};`.repeat(10)}">`)
    .join("")}]><annotations>&j;</annotations>`;
  for (const [text, message] of [
    [laughs, "document type (DOCTYPE)"],
    ['<annotations><!--&x;--><image name="&x;"/></annotations>', "is not valid XML"],
    ["<annotations><image name='a.png'>", "is not valid XML"],
    [file('<track id="0" label="a"></track>'), "annotated as a video"],
    [file(), "No image is annotated"],
  ] as const) {
    const root = await project(t, ["a.png"], { "annotations.xml": text });
    await assert.rejects(open(root), failure("DATASET_INVALID", message));
    await assert.rejects(open(`${root}/annotations.xml`), failure("DATASET_INVALID", message));
  }
  const voc = await project(t, ["a.png"], { "a.xml": "<annotation><object/></annotation>" });
  await assert.rejects(open(`${voc}/a.xml`), failure("DATASET_INVALID", "neither a manifest nor an annotation file"));
  await assert.rejects(
    open(voc, { kind: "cvat" }),
    failure("DATASET_INVALID", "nothing in it looks like 'cvat'", "annotations.xml"),
  );
});

test("tags say nothing of a part of the image: a warning; two files of one folder are read together", async (t) => {
  const root = await project(t, ["a.png", "b.png"], {
    "one.xml": file(image("a.png", '<tag label="seen"/>')),
    "annotations/two.xml": file(image("b.png", POLYGON)),
  });
  const data = await open(root);
  assert.deepEqual(summary(data), ["a.png normal train -", "b.png anomalous train scratch mask"]);
  assert.deepEqual(data.warnings, ["one.xml: 1 tag of an image is not read. Draw defects as shapes."]);
});

test("an image turned by its EXIF orientation has the size that people see", async (t) => {
  const root = await project(t, [], {
    "annotations.xml": file(image("a.jpg", POLYGON, 'width="36" height="40"')),
  });
  await writeImage(`${root}/plain.jpg`);
  const sharp = (await import("sharp")).default;
  await sharp(`${root}/plain.jpg`).withMetadata({ orientation: 6 }).toFile(`${root}/a.jpg`);
  const data = await open(root);
  assert.deepEqual(messages(data), []);
  assert.equal((await marked(data.samples[0]!.mask)).length, 50);
});

test("elements called like what every object has are no shapes", async (t) => {
  const root = await project(t, ["a.png"], {
    "annotations.xml": file(image("a.png", '<constructor label="a"/><__proto__ label="a"/><toString label="a"/>')),
  });
  assert.deepEqual(summary(await open(root)), ["a.png normal train -"]);
});
