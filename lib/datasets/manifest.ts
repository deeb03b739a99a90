import { readdir, stat } from "node:fs/promises";
import path from "node:path";

import { CsvError, parse } from "csv-parse/sync";

import { fileError } from "../errors.js";
import { isFolder, readRegular } from "../files/input.js";
import { isRectangle, type Rectangle } from "../images/rectangle.js";
import { check, checkPath } from "../schema/check.js";
import { type ManifestOptions, manifestOptions } from "../schema/datasets.js";
import { didYouMean } from "../schema/nearest.js";
import { firstOf } from "./listing.js";
import { type Dataset, type Label, manyProblems, type Sample, type Split } from "./dataset.js";
import { findUnusedBeside, usedFiles } from "./unused.js";

/** What a folder's manifest is called when only the folder is given. */
const MANIFEST_NAMES: readonly string[] = ["samples.csv", "samples.jsonl"];

const COLUMNS = ["image", "label", "mask", "split", "defect", "ignore", "roi"] as const;
type Column = (typeof COLUMNS)[number];

const LABELS: Record<Label, readonly string[]> = {
  normal: ["normal", "good", "ok", "pass", "0", "false"],
  anomalous: ["anomalous", "anomaly", "abnormal", "defect", "defective", "bad", "ng", "nok", "fail", "1", "true"],
};
const SPLITS: Record<Split, readonly string[]> = { train: ["train", "training"], test: ["test", "testing"] };

/** The first line by which a spreadsheet is told the separator. */
const SEPARATOR_LINE = /^"?sep=([^"\r\n])"?(?:\r?\n|$)/i;

interface Row {
  line: number;
  values: Partial<Record<Column, string>>;
}

function meaning<T extends string>(table: Record<T, readonly string[]>, value: string): T | undefined {
  return (Object.keys(table) as T[]).find((key) => table[key].includes(value.toLowerCase()));
}

/** The manifest inside a folder, if it has one. */
export async function findManifest(folder: string): Promise<string | undefined> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw fileError(error, "list folder", folder);
  }
  const name = MANIFEST_NAMES.find((candidate) => names.includes(candidate));
  return name === undefined ? undefined : path.join(folder, name);
}

/**
 * A data set listed in a CSV file (separated by commas, semicolons or tabs, or by X after a first line `sep=X`) or a JSON
 * Lines file, in UTF-8. Columns, or keys:
 *
 *     image,label,mask,split,defect
 *     images/001.png,normal,,train,
 *     images/002.png,anomalous,masks/002.png,test,scratch
 *
 * `image` and `label` are required. `label`: normal (good, ok, pass, 0, false) or anomalous (anomaly, abnormal, defect,
 * defective, bad, ng, nok, fail, 1, true). `mask` is empty for normal images and where only the image's label is known.
 * `split`: train or test; without that column everything is train. Paths are relative to the manifest. Other columns are
 * ignored, but one that is nearly the name of a missing column is an error. `ignore` is a mask of pixels that count for
 * nothing; `roi` is the part to look at, as X Y W H in pixels or as a mask.
 *
 * Errors: DATASET_INVALID listing every bad line by number, files that do not exist among them; FILE_NOT_FOUND, NO_PERMISSION.
 */
export async function manifest(file: string, options: ManifestOptions = {}): Promise<Dataset> {
  checkPath("datasets.manifest", "file", file);
  const { name } = check("datasets.manifest", manifestOptions, options);
  const full = path.resolve(file);
  const root = path.dirname(full);
  let bytes: Buffer;
  try {
    bytes = await readRegular(full);
  } catch (error) {
    throw fileError(error, "read manifest", full);
  }

  const problems: string[] = [];
  const fail = (): never => {
    throw manyProblems(`Manifest ${full}`, full, problems);
  };
  if (["fffe", "feff"].includes(bytes.toString("hex", 0, 2))) {
    problems.push(
      "It is UTF-16 text, which spreadsheets call Unicode text. Save it as UTF-8 (in a spreadsheet 'CSV UTF-8').",
    );
    fail();
  }
  const text = bytes.toString("utf8").replace(/^\uFEFF/, "");
  const rows = /\.(jsonl|ndjson)$/i.test(full) ? jsonRows(text, problems) : csvRows(text, problems);
  if (problems.length > 0) fail();
  if (rows.length === 0) problems.push("It lists no images.");

  const samples: Sample[] = [];
  const lines = new Map<string, number>();
  for (const { line, values } of rows) {
    const problem = (what: string): void => void problems.push(`line ${line}: ${what}`);
    // Backslashes come from manifests written on Windows.
    const locate = (value: string): string =>
      path.resolve(root, path.sep === "/" ? value.replaceAll("\\", "/") : value);
    const { image = "", label = "", mask = "", split = "train", defect = "", ignore = "", roi = "" } = values;
    if (image === "") {
      problem("image is empty.");
      continue;
    }
    const imageFile = locate(image);
    const id = path.relative(root, imageFile).split(path.sep).join("/");
    const before = lines.get(id);
    if (before !== undefined) problem(`image '${image}' is already on line ${before}.`);
    lines.set(id, line);
    const meant = meaning(LABELS, label);
    const part = meaning(SPLITS, split);
    if (meant === undefined)
      problem(
        `label is '${label}'; expected normal (${LABELS.normal.slice(1).join(", ")}) or anomalous (${LABELS.anomalous.slice(1).join(", ")}).`,
      );
    if (part === undefined) problem(`split is '${split}'; expected train or test.`);
    if (meant === "normal" && mask !== "")
      problem(`a normal image has a mask ('${mask}'); leave mask empty or make it anomalous.`);
    // U+FFFD stands for bytes that are no UTF-8.
    const absent = (name: string, at: string): string =>
      name.includes("\uFFFD")
        ? `'${name}' is not valid UTF-8. Save the manifest as UTF-8.`
        : `'${name}' does not exist (${at}).`;
    if (await missing(imageFile)) problem(`image ${absent(image, imageFile)}`);
    const maskOf = async (column: Column, value: string): Promise<string | undefined> => {
      if (value === "") return undefined;
      const file = locate(value);
      if (await missing(file)) problem(`${column} ${absent(value, file)}`);
      // All the masks in it would count, which a list by image does not mean.
      else if (await isFolder(file)) problem(`${column} '${value}' is a folder; give a file.`);
      return file;
    };
    const maskFile = await maskOf("mask", mask);
    const ignoreFile = await maskOf("ignore", ignore);
    const rectangle = readRectangle(roi);
    if (rectangle === "wrong")
      problem(`roi is '${roi}'; expected X Y W H in whole pixels, W and H at least 1, or the path of a mask.`);
    const region = rectangle === undefined ? await maskOf("roi", roi) : rectangle;
    if (meant === undefined || part === undefined || region === "wrong") continue;
    const sample: Sample = { id, image: imageFile, label: meant, split: part };
    if (maskFile !== undefined) sample.mask = maskFile;
    if (ignoreFile !== undefined) sample.ignore = ignoreFile;
    if (region !== undefined) sample.roi = region;
    if (defect !== "") sample.defect = defect;
    samples.push(sample);
  }
  if (problems.length > 0) fail();
  const unused = await findUnusedBeside(root, usedFiles({ samples }));
  return { kind: "manifest", name: name ?? path.basename(root), root, samples, unused };
}

/** X Y W H, separated by spaces, commas or semicolons. Undefined: no numbers, so a path, or empty. */
function readRectangle(text: string): Rectangle | "wrong" | undefined {
  if (!/^[-+\d.\s,;]+$/.test(text)) return undefined;
  const numbers = text.split(/[\s,;]+/).map((part) => (part === "" ? NaN : Number(part)));
  const [x, y, width, height] = numbers as [number, number, number, number];
  const rectangle = { x, y, width, height };
  return numbers.length === 4 && isRectangle(rectangle) ? rectangle : "wrong";
}

/** Whether a file does not exist; other failures are left to the reading of the image, which explains them. */
const missing = (file: string): Promise<boolean> =>
  stat(file).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === "ENOENT" || error.code === "ENOTDIR",
  );

function csvRows(text: string, problems: string[]): Row[] {
  const [separatorLine = "", separator] = SEPARATOR_LINE.exec(text) ?? [];
  const header =
    text
      .slice(separatorLine.length)
      .split(/\r?\n/)
      .find((line) => line.trim() !== "") ?? "";
  const delimiter = separator ?? [",", ";", "\t"].find((candidate) => header.includes(candidate)) ?? ",";
  let records: { record: string[]; info: { lines: number } }[];
  try {
    const from_line = separator === undefined ? 1 : 2;
    records = parse(text, {
      delimiter,
      from_line,
      trim: true,
      skip_empty_lines: true,
      skip_records_with_empty_values: true,
      relax_column_count: true,
      info: true,
    }) as unknown as typeof records;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    problems.push(`line ${String(error["lines"] ?? "?")}: ${error.message}`);
    return [];
  }
  const first = records.shift();
  if (first === undefined) {
    problems.push(`It is empty. Its first line names the columns: ${COLUMNS.join()}.`);
    return [];
  }
  const names = first.record.map((name) => name.toLowerCase());
  const rule =
    first.record.length > 1
      ? `The first line names the columns: ${COLUMNS.join()}`
      : "They are separated by commas, semicolons or tabs, or by X after a first line sep=X";
  if (!checkColumns(names, problems, first.info.lines, `Columns read: ${firstOf(first.record, 8)}. ${rule}.`))
    return [];
  return records.map(({ record, info }) => {
    if (record.length !== names.length)
      problems.push(`line ${info.lines}: ${record.length} fields, but the header has ${names.length}.`);
    return { line: info.lines, values: known(names.map((name, i) => [name, record[i] ?? ""])) };
  });
}

function jsonRows(text: string, problems: string[]): Row[] {
  const rows: Row[] = [];
  text.split(/\r?\n/).forEach((content, index) => {
    if (content.trim() === "") return;
    const line = index + 1;
    let parsed: unknown;
    try {
      parsed = JSON.parse(content);
    } catch (error) {
      problems.push(`line ${line}: not valid JSON: ${(error as Error).message}`);
      return;
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
      problems.push(`line ${line}: expected an object such as {"image": "a.png", "label": "normal"}.`);
      return;
    }
    const entries = Object.entries(parsed)
      .filter(([, value]) => value !== null)
      .map(([name, value]): [string, unknown] => [name.toLowerCase(), value])
      .map(([name, value]) => [name, name === "roi" && isNumbers(value) ? value.join(" ") : value] as const);
    const wrong = entries.find(
      ([name, value]) => (COLUMNS as readonly string[]).includes(name) && typeof value === "object",
    );
    if (wrong) problems.push(`line ${line}: ${wrong[0]} must be a string.`);
    checkColumns(
      entries.map(([name]) => name),
      problems,
      line,
      `Keys read: ${firstOf(Object.keys(parsed), 8)}.`,
    );
    const plain = entries.filter(([, value]) => typeof value !== "object"); // of an object with a toString there is no text
    rows.push({ line, values: known(plain.map(([name, value]) => [name, String(value).trim()])) });
  });
  return rows;
}

const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((one) => typeof one === "number");

function known(entries: readonly (readonly [string, string])[]): Row["values"] {
  return Object.fromEntries(entries.filter(([name]) => (COLUMNS as readonly string[]).includes(name)));
}

/**
 * Whether those that are required are there. Their names stand without quotes, in which the command line would take one for an
 * option, such as --split. `read`: a sentence on what was read, for the message when they are not.
 */
function checkColumns(names: readonly string[], problems: string[], line: number, read: string): boolean {
  const absent = COLUMNS.filter((column) => !names.includes(column));
  // Too short to be misspelt: row, rot and ok would be near to it.
  const misspelt = absent.filter((column) => column !== "roi");
  for (const name of names) {
    if ((COLUMNS as readonly string[]).includes(name)) continue;
    const near = didYouMean(name, misspelt);
    if (near !== undefined) problems.push(`line ${line}: there is no column ${name}. Did you mean ${near}?`);
  }
  const required = (["image", "label"] as const).filter((column) => absent.includes(column));
  if (required.length > 0)
    problems.push(`line ${line}: ${required.join(" and ")} ${required.length > 1 ? "are" : "is"} missing. ${read}`);
  return required.length === 0;
}
