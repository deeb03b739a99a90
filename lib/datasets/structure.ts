import { invalid, SuperSimpleNetError } from "../errors.js";
import { checkPath } from "../schema/check.js";
import { isPath } from "../schema/common.js";
import type { Dataset } from "./types.js";

/**
 * What the types promise, for a data set that a program put together: a label or a split that is none would be left out in silence.
 * Throws INVALID_OPTION for what is no data set at all, and DATASET_INVALID with every sample that is wrong.
 */
export function checkStructure(where: string, dataset: Dataset): void {
  const { samples } = (dataset ?? {}) as Partial<Dataset>;
  if (!Array.isArray(samples)) throw invalid(where, "dataset", "a data set, as datasets.open returns it,", dataset);
  checkPath(where, "dataset.root", dataset.root);
  const found = dataset.problems ?? [];
  if (
    !Array.isArray(found) ||
    found.some((problem: unknown) => typeof (problem as { message?: unknown } | null)?.message !== "string")
  )
    throw invalid(where, "dataset.problems", "a list of { message }", found);
  const wrong: string[] = [];
  samples.forEach((sample: unknown, i) => {
    const { id, image, mask, label, split } = (sample ?? {}) as Record<string, unknown>;
    const problem = (what: string, value: unknown): void =>
      void wrong.push(
        `samples[${i}]${typeof id === "string" ? ` (${id})` : ""}: ${what}, not ${JSON.stringify(value) ?? String(value)}`,
      );
    if (typeof id !== "string") problem("'id' must be a string", id);
    if (!isPath(image)) problem("'image' must be a path", image);
    if (mask !== undefined && !isPath(mask)) problem("'mask' must be a path or undefined", mask);
    if (label !== "normal" && label !== "anomalous") problem("'label' must be 'normal' or 'anomalous'", label);
    if (split !== "train" && split !== "test") problem("'split' must be 'train' or 'test'", split);
  });
  if (wrong.length === 0) return;
  const listed = wrong.slice(0, 20).concat(wrong.length > 20 ? [`... and ${wrong.length - 20} more`] : []);
  throw new SuperSimpleNetError(
    "DATASET_INVALID",
    `${where}: the data set has samples that are none:\n${listed.map((line) => `  ${line}`).join("\n")}`,
    { path: dataset.root, problems: wrong },
  );
}
