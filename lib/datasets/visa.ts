import path from "node:path";

import { CsvError, parse } from "csv-parse/sync";

import { fileError, SuperSimpleNetError } from "../errors.js";
import { isFolder, readRegular } from "../files/input.js";
import { isFile, notThisLayout, firstOf } from "./listing.js";
import { chooseCategory, type Loader } from "./loader.js";
import { categoryDataset, categoryFolders } from "./mvtec.js";
import { visaCategories } from "./published.js";
import type { Dataset, Sample } from "./dataset.js";
import { findUnused, usedFiles } from "./unused.js";

const LAYOUT = `  split_csv/1cls.csv                    object,split,label,image,mask
  candle/Data/Images/Normal/0000.JPG
  candle/Data/Images/Anomaly/000.JPG
  candle/Data/Masks/Anomaly/000.png
  capsules/..., and the other categories
or, as the authors' script writes it (visa_pytorch/, 1cls/):
  candle/train/good/..., candle/test/good/..., candle/test/bad/..., candle/ground_truth/bad/...`;

const SPLIT_FILE = path.join("split_csv", "1cls.csv");
const COLUMNS = ["object", "split", "label", "image", "mask"] as const;
type Row = Record<(typeof COLUMNS)[number], string>;

/** The folder that has been regrouped into MVTec AD's layout, if there is one. */
async function regrouped(root: string): Promise<string | undefined> {
  for (const candidate of [
    root,
    path.join(root, "visa_pytorch"),
    path.join(root, "1cls"),
    path.join(root, "visa_pytorch", "1cls"),
  ]) {
    if (!(await isFolder(candidate))) continue;
    for (const name of await categoryFolders(candidate, [])) if (visaCategories.includes(name)) return candidate;
  }
  return undefined;
}

async function readRows(root: string): Promise<Row[]> {
  const file = path.join(root, SPLIT_FILE);
  let rows: Row[];
  try {
    rows = parse((await readRegular(file)).toString(), {
      bom: true,
      columns: true,
      trim: true,
      skip_empty_lines: true,
    }) as Row[];
  } catch (error) {
    if (error instanceof CsvError) throw notThisLayout(root, `${SPLIT_FILE} is damaged: ${error.message}`, LAYOUT);
    throw fileError(error, "read split file", file);
  }
  const absent = COLUMNS.filter((column) => rows[0]?.[column] === undefined);
  if (absent.length > 0)
    throw notThisLayout(
      root,
      `${SPLIT_FILE} ${rows.length === 0 ? "lists nothing" : `has no column ${absent.join(", ")}`}.`,
      LAYOUT,
    );
  return rows;
}

async function fromSplitFile(root: string, wanted: string | undefined): Promise<Dataset> {
  const rows = await readRows(root);
  const category = chooseCategory("visa", wanted, [...new Set(rows.map((row) => row.object))]);
  const problems: string[] = [];
  const missing: string[] = [];
  const samples: Sample[] = [];
  for (const { object, split, label, image, mask } of rows) {
    if (object !== category) continue;
    const listed = `${SPLIT_FILE}, ${image}`;
    if ((split !== "train" && split !== "test") || (label !== "normal" && label !== "anomaly")) {
      problems.push(
        `${listed}: expected split train or test and label normal or anomaly, but they are '${split}' and '${label}'.`,
      );
      continue;
    }
    if (label === "normal" && mask !== "") problems.push(`${listed}: a normal image has a mask (${mask}).`);
    if (label === "anomaly" && mask === "") problems.push(`${listed}: an anomalous image has no mask.`);
    for (const file of [image, mask]) if (file !== "" && !(await isFile(path.join(root, file)))) missing.push(file);
    const sample: Sample = {
      id: image,
      image: path.join(root, image),
      label: label === "normal" ? "normal" : "anomalous",
      split,
    };
    if (label === "anomaly" && mask !== "") sample.mask = path.join(root, mask);
    samples.push(sample);
  }
  if (missing.length > 0)
    throw notThisLayout(
      root,
      `${missing.length} files of ${SPLIT_FILE} are missing: ${firstOf(missing)}. The download or its unpacking is incomplete.`,
      LAYOUT,
    );
  if (problems.length > 0)
    throw new SuperSimpleNetError("DATASET_INVALID", `Data set ${root}: ${firstOf(problems)}`, {
      path: root,
      problems,
    });
  const left = await findUnused(root, usedFiles({ samples }), category);
  return { kind: "visa", name: category, root, category, samples, ...left };
}

/** VisA (Zou et al., ECCV 2022): 12 categories, unsupervised, by the official one-class split. Masks hold defect classes. */
export const visa: Loader = {
  kind: "visa",
  summary: "VisA by its one-class split file",
  layout: LAYOUT,
  takes: ["category"],
  matches: async (root, isAFile) => !isAFile && (await isFile(path.join(root, SPLIT_FILE))),
  accepts: async (root, isAFile) =>
    !isAFile && ((await isFile(path.join(root, SPLIT_FILE))) || (await regrouped(root)) !== undefined),
  async load(root, { category: wanted }) {
    if (await isFile(path.join(root, SPLIT_FILE))) return fromSplitFile(root, wanted);
    const base = (await regrouped(root))!;
    const category = chooseCategory("visa", wanted, await categoryFolders(base, visaCategories));
    return categoryDataset(path.join(base, category), "visa", category, LAYOUT);
  },
};
