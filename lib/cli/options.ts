import { z } from "zod";

import { pathType } from "../schema/common.js";
import { openOptions } from "../schema/datasets.js";
import { option } from "../schema/option.js";

/** Options of the command line that several commands take. */

const path = { expected: "a value that is not empty" };

/** A file or folder that a command writes if it is told where. */
export const output = (placeholder: string, help: string): z.ZodOptional<typeof pathType> =>
  option(pathType.optional(), { ...path, placeholder, help });

/** A file or folder that a command cannot do without. */
export const required = (placeholder: string, help: string): typeof pathType =>
  option(pathType, { ...path, placeholder, help });

export const modelFile = required("FILE", "Model file that train or convert wrote.");

export const overwrite = option(z.boolean().optional(), { help: "Replace the file that is there.", switch: true });

export const report = output(
  "FILE",
  "Write a report for people: one HTML file with results, pictures and a threshold to move.",
);

export const tensorboard = output(
  "DIR",
  "Write event files for TensorBoard: losses, learning rates, metrics, and pictures of maps.",
);

/** How a data set is read. */
export const source = openOptions.pick({ kind: true, category: true, fold: true, ignoreClass: true }).shape;

/** A data set and how it is read. */
export const dataset = {
  data: required("DIR", "Data set: a folder, a manifest file or an annotation file (docs/guides/data.md)."),
  ...source,
};
