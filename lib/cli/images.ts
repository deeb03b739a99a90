import { isFolder } from "../files/input.js";
import { firstOf, skippedSpecial } from "../datasets/listing.js";
import { SuperSimpleNetError } from "../errors.js";
import { isPictureName, mapSuffixes, overlaySuffix } from "../report/names.js";
import { filesBelow } from "./guards.js";
import { output, printable } from "./output.js";

/** A file in a folder that was given, which was not looked at: its format is not read, it is called like a picture that predict writes, or it is a pipe, a socket or a device. */
export interface Skipped {
  path: string;
  reason: "format" | "picture" | "special";
}

/** Folders become the images below them, in natural order. */
export async function imageFiles(names: readonly string[]): Promise<{ files: string[]; skipped: Skipped[] }> {
  const { isImageFile, isUnsupportedImage } = await import("../images/formats.js");
  const files: string[] = [];
  const skipped: Skipped[] = [];
  for (const name of names) {
    // A missing file is one bad image among others; it is reported when its turn comes.
    if (!(await isFolder(name))) {
      files.push(name);
      continue;
    }
    const before = { files: files.length, skipped: skipped.length };
    const below = await filesBelow(name);
    for (const file of below.special.filter(isImageFile)) skipped.push({ path: file, reason: "special" });
    for (const file of below.files) {
      if (isPictureName(file)) skipped.push({ path: file, reason: "picture" });
      else if (isImageFile(file)) files.push(file);
      else if (isUnsupportedImage(file)) skipped.push({ path: file, reason: "format" });
    }
    if (files.length > before.files) continue;
    const why = (await explained(skipped.slice(before.skipped))).map(({ text }) => text);
    throw new SuperSimpleNetError("FILE_NOT_FOUND", [`There is no image in ${name}.`, ...why].join(" "), {
      path: name,
    });
  }
  return { files, skipped };
}

/** What was skipped, one line per reason. */
async function explained(skipped: readonly Skipped[]): Promise<{ reason: Skipped["reason"]; text: string }[]> {
  const { IMAGE_EXTENSIONS } = await import("../images/formats.js");
  const why = {
    format: `only ${IMAGE_EXTENSIONS.join(" ")} are read from a folder, convert the others`,
    picture: `${overlaySuffix} and ${mapSuffixes.png} are pictures that predict wrote`,
  };
  return (["format", "picture", "special"] as const).flatMap((reason) => {
    const names = skipped.filter((one) => one.reason === reason).map((one) => printable(one.path));
    if (names.length === 0) return [];
    const count = names.length === 1 ? "1 image is" : `${names.length} images are`;
    const text = reason === "special" ? skippedSpecial(names) : `${count} skipped (${why[reason]}): ${firstOf(names)}.`;
    return [{ reason, text }];
  });
}

/** Tells what was skipped: predict's own pictures as a line of log, what may have been meant as a part as a warning. */
export async function tellSkipped(skipped: readonly Skipped[]): Promise<void> {
  for (const { reason, text } of await explained(skipped)) reason === "picture" ? output.log(text) : output.warn(text);
}
