import path from "node:path";

import { isFolder } from "../files/input.js";
import { type ReportParts, writeReport } from "../runs/report.js";
import { refuseSpecial } from "../write.js";
import { badPath, refuseExisting, refuseInDataset, refuseInputs } from "./guards.js";
import { output, printable } from "./output.js";

/**
 * Refuses, before any work, a place where no report can be written, and one that holds what the command reads or writes.
 * Makes nothing. Errors: INVALID_OPTION, FILE_ERROR.
 */
export async function checkReportPlace(
  name: string,
  file: string,
  {
    data,
    others,
    overwrite,
  }: { data: string | undefined; others: (string | undefined)[]; overwrite?: boolean | undefined },
): Promise<void> {
  const place = path.resolve(file);
  refuseInDataset(name, place, data);
  refuseInputs(name, [place], others);
  refuseExisting(name, place, overwrite);
  if (await isFolder(place)) throw badPath(name, place, `${place} is a folder.`, "Give the name of a file.");
  await refuseSpecial(place);
}

/** Writes the report at the end of a long work, whose results stand whatever becomes of it. Returns the exit code. */
export async function writeLast(file: string, parts: ReportParts): Promise<0 | 1> {
  try {
    await writeReport(file, parts);
    output.result(`report: ${path.resolve(file)}`);
    return 0;
  } catch (error) {
    output.warn(`no report: ${printable((error as Error).message)}`);
    return 1;
  }
}
