import path from "node:path";

import type { Sample } from "./dataset.js";
import { firstOf, spelling } from "./listing.js";

interface Read {
  sample: Sample;
  /** Of the image file's bytes. */
  hash: string;
}

/** How file managers call a copy: 001 (copy), 001 - Copy (2), Copy of 001. A number alone makes a series, not a copy. */
const COPY_NAME =
  /^cop(?:y|ie) of |^kopie von |(?<=.)[-_ (]+(?:another )?(?:copy|kopie|copie|copia)(?: ?\(?\d+\)?)?\)?$/i;

/** Warnings of images that are the same bytes, or are called like copies of each other. */
export function alikeWarnings(read: readonly Read[]): string[] {
  const same = [...groups(read, ({ hash }) => hash)].map((group) => group.map(({ sample }) => sample));
  const shown = (samples: readonly Sample[]): string => samples.map(({ id }) => id).join(" = ");
  const conflicts = same.filter((group) => group.some(({ label }) => label !== group[0]!.label));
  const agreeing = same.filter((group) => !conflicts.includes(group));
  const leaked = agreeing.flatMap((group) => {
    const trained = group.find(({ split }) => split === "train");
    return trained === undefined ? [] : group.flatMap((one) => (one.split === "test" ? [shown([one, trained])] : []));
  });
  const repeated = agreeing.filter((group) => group.every(({ split }) => split === group[0]!.split)).map(shown);
  const called = [...groups(read, ({ sample }) => nameWithoutCopy(sample.id))]
    .filter((group) => group.some(({ hash }) => hash !== group[0]!.hash))
    .map((group) => group.map(({ sample }) => sample.id).join(" and "));
  return [
    warning(
      conflicts.map(shown),
      "1 image is in the data set as normal and as anomalous",
      "images are in the data set as normal and as anomalous",
      "byte for byte: remove the wrong one",
    ),
    warning(
      leaked,
      "1 test image is also a training image",
      "test images are also training images",
      "which flatters every metric",
    ),
    warning(
      repeated,
      "1 image is several times in one split",
      "images are several times in one split",
      "byte for byte",
    ),
    warning(
      called,
      "1 image is called like a copy of another",
      "images are called like copies of others",
      "with other bytes (the same picture, saved twice?)",
    ),
  ].flat();
}

function warning(found: readonly string[], one: string, more: string, what: string): string[] {
  if (found.length === 0) return [];
  return [`${found.length === 1 ? one : `${found.length} ${more}`}, ${what}: ${firstOf(found)}.`];
}

/** The groups of more than one. */
function groups(read: readonly Read[], keyOf: (one: Read) => string): Read[][] {
  const found = new Map<string, Read[]>();
  for (const one of read) {
    const key = keyOf(one);
    const group = found.get(key);
    if (group === undefined) found.set(key, [one]);
    else group.push(one);
  }
  return [...found.values()].filter((group) => group.length > 1);
}

/** One name for an image and what is called like its copy: the same but for extension, case and a word for copy. */
function nameWithoutCopy(id: string): string {
  const { dir, name } = path.posix.parse(id);
  return spelling(`${dir}/${name.replace(COPY_NAME, "")}`);
}
