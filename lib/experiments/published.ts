import { fileError, SuperSimpleNetError } from "../errors.js";
import { readRegular } from "../files/input.js";

/**
 * Results as the authors' evaluation writes them, from 0 to 1: by regime, share or number of masks, "avg" or "std", data
 * set, metric, and category or "total".
 */
export type Published = Record<
  string,
  Record<string, Record<"avg" | "std", Record<string, Record<string, Record<string, number>>>>>
>;

export interface PublishedValue {
  mean: number;
  std: number;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Throws FILE_CORRUPT, naming the place in the file that is wrong. */
export function checkPublished(value: unknown, file: string): Published {
  const refuse = (where: readonly string[], expected: string): never => {
    throw new SuperSimpleNetError(
      "FILE_CORRUPT",
      `${file} is not a file of published results: expected ${expected} at ${where.length === 0 ? "the top" : where.join(" > ")}. docs/guides/evaluate.md shows its form.`,
      { path: file },
    );
  };
  const entries = (node: unknown, where: readonly string[], expected: string): [string, unknown][] =>
    isObject(node) && Object.keys(node).length > 0 ? Object.entries(node) : refuse(where, expected);
  for (const [regime, keys] of entries(value, [], "an object of regimes")) {
    for (const [key, statistics] of entries(keys, [regime], "an object of shares or numbers of masks")) {
      const at = [regime, key];
      if (!isObject(statistics) || Object.keys(statistics).sort().join() !== "avg,std") refuse(at, `"avg" and "std"`);
      const { avg, std } = statistics as Record<"avg" | "std", unknown>;
      for (const [dataset, metrics] of entries(avg, [...at, "avg"], "an object of data sets")) {
        for (const [metric, categories] of entries(metrics, [...at, "avg", dataset], "an object of metrics")) {
          for (const [category, mean] of entries(
            categories,
            [...at, "avg", dataset, metric],
            "an object of categories",
          )) {
            const deviation = (std as Record<string, Record<string, Record<string, unknown>>> | null)?.[dataset]?.[
              metric
            ]?.[category];
            if (typeof mean !== "number" || !Number.isFinite(mean))
              refuse([...at, "avg", dataset, metric, category], "a number");
            if (typeof deviation !== "number" || !(deviation >= 0))
              refuse([...at, "std", dataset, metric, category], "a number of at least 0");
          }
        }
      }
    }
  }
  return value as Published;
}

/** Errors: FILE_NOT_FOUND and other file errors, FILE_CORRUPT. */
export async function readPublished(file: string): Promise<Published> {
  let text: string;
  try {
    text = (await readRegular(file)).toString();
  } catch (error) {
    throw fileError(error, "read published results", file);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SuperSimpleNetError("FILE_CORRUPT", `${file} is not JSON: ${(error as Error).message}`, {
      cause: error,
      path: file,
    });
  }
  return checkPublished(value, file);
}

/** Returns the authors' mean and standard deviation, if the file has them. `category` "total": over all categories. */
export function publishedValue(
  published: Published,
  [regime, key]: readonly [string, string],
  dataset: string,
  metric: string,
  category = "total",
): PublishedValue | undefined {
  const entry = published[regime]?.[key];
  const mean = entry?.avg[dataset]?.[metric]?.[category];
  const std = entry?.std[dataset]?.[metric]?.[category];
  return mean === undefined || std === undefined ? undefined : { mean, std };
}
