import { call, SuperSimpleNetError, text } from "../errors.js";
import { byPaperName, metricIds, metricsTable } from "../evaluation/metrics_table.js";
import {
  type MetricName,
  metricsOf,
  type Protocol,
  type ProtocolName,
  protocols,
  type PublishedKind,
} from "./protocols.js";
import { type Published, publishedValue } from "./published.js";
import { optionDifferences, type RunResult } from "./results.js";

/** Mean over the seeds. Metrics are from 0 to 1. */
export interface Cell {
  mean: number;
  /** Sample standard deviation over the seeds, as the authors'; null for one seed. */
  std: number | null;
  /**
   * The authors' result. `difference`: ours less theirs, in percentage points. `verdict`: whether it lies above, within or
   * below one published standard deviation.
   */
  published?: { mean: number; std: number; difference: number; verdict: "above" | "within" | "below" };
}

export interface TableRow {
  condition: string;
  title: string;
  /** Null: mean over all. */
  category: string | null;
  /** Seeds for which every part is done; the others are left out. */
  seeds: number;
  cells: Partial<Record<MetricName, Cell>>;
  /** Sums over the parts, means over the seeds; areas in % of the image, null without such images. */
  misclassification?: Record<"truePositive" | "trueNegative" | "falsePositive" | "falseNegative", number> & {
    truePositiveArea: number | null;
    falseNegativeArea: number | null;
  };
}

export interface DatasetTable {
  dataset: string;
  published: PublishedKind | null;
  /** Metrics of the Markdown table. */
  metrics: readonly MetricName[];
  rows: TableRow[];
}

/** Mean over the data sets; what follows the first row are differences from it in percentage points. */
export interface SummaryRow {
  row: string;
  supervised: SummaryCell | null;
  unsupervised: SummaryCell | null;
  average: SummaryCell | null;
}

/** In %. */
export interface SummaryCell {
  detection: number;
  localisation: number;
}

/** The table of a protocol, with a part for each data set. */
export interface ExperimentTable {
  protocol: ProtocolName;
  title: string;
  /** Versions of the package that the results are from. */
  versions: string[];
  /** Whether published numbers were given. */
  compared: boolean;
  datasets: DatasetTable[];
  summary: SummaryRow[] | null;
  notes: string[];
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Divided by n - 1; null for one value. */
export function sampleStd(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

/** Throws INVALID_OPTION for results of one row that differ in more than the seed: they have no common mean. */
function requireSameOptions(results: readonly RunResult[]): void {
  for (const same of groupBy(results, ({ dataset, condition, part }) =>
    JSON.stringify([dataset, condition.name, part]),
  ).values()) {
    for (const other of same) {
      const differences = optionDifferences(other.options, same[0]!.options, ["seed"]);
      if (differences.length > 0)
        throw new SuperSimpleNetError(
          "INVALID_OPTION",
          text`${call("experiment")}: ${other.key} and ${same[0]!.key} were run with different options: ${differences.join(", ")}.`,
          { option: "out", fix: "Keep them in different folders." },
        );
    }
  }
}

/** One value per seed: the mean over folds, then over categories. Null when a part does not define the metric. */
function seedValue(results: readonly RunResult[], metric: MetricName): number | null {
  const byCategory = [...groupBy(results, ({ category }) => category).values()].map((folds) =>
    folds.map(({ metrics }) => metrics[metric]),
  );
  return byCategory.flat().some((value) => value === null)
    ? null
    : mean(byCategory.map((folds) => mean(folds as number[])));
}

const allMetrics = metricIds.filter((id): id is MetricName => id !== "f1MaxThreshold");

function row(results: readonly RunResult[], category: string | null, published: Published | undefined): TableRow {
  const { condition, published: kind, options } = results[0]!;
  const parts = options.parts.filter(
    (part) => category === null || part === category || part.startsWith(`${category}/`),
  ).length;
  const seeds = [
    ...groupBy(
      results.filter((result) => category === null || result.category === category),
      ({ seed }) => seed,
    ).values(),
  ].filter((done) => done.length === parts);
  const cells: TableRow["cells"] = {};
  for (const metric of seeds.length === 0 ? [] : allMetrics) {
    const values = seeds.map((done) => seedValue(done, metric));
    if (values.some((value) => value === null)) continue;
    const cell: Cell = { mean: mean(values as number[]), std: sampleStd(values as number[]) };
    const theirs =
      published && condition.published && kind
        ? publishedValue(published, condition.published, kind, metricsTable[metric].name, category ?? "total")
        : undefined;
    if (theirs) {
      const difference = (cell.mean - theirs.mean) * 100;
      const side = Math.abs(difference) <= theirs.std * 100 ? "within" : difference > 0 ? "above" : "below";
      cell.published = { ...theirs, difference, verdict: side };
    }
    cells[metric] = cell;
  }
  const counted = category === null && seeds.length > 0 ? misclassified(seeds) : undefined;
  return {
    condition: condition.name,
    title: condition.title,
    category,
    seeds: seeds.length,
    cells,
    ...(counted && { misclassification: counted }),
  };
}

function misclassified(seeds: readonly RunResult[][]): TableRow["misclassification"] {
  const counts = seeds.map((results) => results.flatMap(({ misclassification }) => misclassification ?? []));
  if (counts.flat().length === 0) return undefined;
  const total = (field: "truePositive" | "trueNegative" | "falsePositive" | "falseNegative"): number =>
    mean(counts.map((parts) => parts.reduce((sum, part) => sum + part[field], 0)));
  const area = (field: "truePositiveArea" | "falseNegativeArea"): number | null => {
    const perSeed = counts.flatMap((parts) => {
      const images = parts.reduce((sum, part) => sum + part[field].images, 0);
      return images === 0 ? [] : [parts.reduce((sum, part) => sum + part[field].percentSum, 0) / images];
    });
    return perSeed.length === 0 ? null : mean(perSeed);
  };
  return {
    truePositive: total("truePositive"),
    trueNegative: total("trueNegative"),
    falsePositive: total("falsePositive"),
    falseNegative: total("falseNegative"),
    truePositiveArea: area("truePositiveArea"),
    falseNegativeArea: area("falseNegativeArea"),
  };
}

function summarise(datasets: readonly DatasetTable[], results: readonly RunResult[]): SummaryRow[] {
  const conditions = new Map(
    [...results]
      .sort((a, b) => a.order - b.order)
      .flatMap(({ condition }) => (condition.summary ? [[condition.name, condition.summary] as const] : [])),
  );
  const names = [...new Set([...conditions.values()].map(({ row: name }) => name))];
  const cell = (name: string, group: "supervised" | "unsupervised"): SummaryCell | null => {
    const condition = [...conditions].find(([, summary]) => summary.row === name && summary.group === group)?.[0];
    const rows = datasets.flatMap(({ rows: all }) =>
      all.filter((each) => each.category === null && each.condition.startsWith(`${group}-`)),
    );
    const wanted = new Set(
      datasets.filter(({ rows: all }) => all.some((each) => rows.includes(each))).map(({ dataset }) => dataset),
    ).size;
    const of = rows.filter((each) => each.condition === condition && each.cells.imageAuroc && each.cells.aupro);
    if (condition === undefined || of.length === 0 || of.length < wanted) return null;
    return {
      detection: 100 * mean(of.map(({ cells }) => cells.imageAuroc!.mean)),
      localisation: 100 * mean(of.map(({ cells }) => cells.aupro!.mean)),
    };
  };
  const minus = (a: SummaryCell | null, b: SummaryCell | null): SummaryCell | null =>
    a && b && { detection: a.detection - b.detection, localisation: a.localisation - b.localisation };
  const absolute = names.map((name): SummaryRow => {
    const [supervised, unsupervised] = [cell(name, "supervised"), cell(name, "unsupervised")];
    const average = supervised &&
      unsupervised && {
        detection: (supervised.detection + unsupervised.detection) / 2,
        localisation: (supervised.localisation + unsupervised.localisation) / 2,
      };
    return { row: name, supervised, unsupervised, average };
  });
  const base = absolute[0]!;
  return absolute.map((each, i) =>
    i === 0
      ? each
      : {
          row: each.row,
          supervised: minus(each.supervised, base.supervised),
          unsupervised: minus(each.unsupervised, base.unsupervised),
          average: minus(each.average, base.average),
        },
  );
}

/**
 * Makes the table of a protocol of its results, in any order: for each seed the mean over folds and categories, then mean
 * and standard deviation over the seeds (docs/method.md, Metrics). Leaves out, with a note, seeds of which a part is
 * missing. Throws INVALID_OPTION when results that belong together were run with different options.
 */
export function tabulate(name: ProtocolName, all: Iterable<RunResult>, published?: Published): ExperimentTable {
  const protocol: Protocol = protocols[name];
  const results = [...all].filter((result) => result.protocol === name).sort((a, b) => (a.key < b.key ? -1 : 1));
  requireSameOptions(results);
  const notes: string[] = [];
  const datasets = [...groupBy(results, ({ dataset }) => dataset)].map(([dataset, of]): DatasetTable => {
    const kind = of[0]!.published;
    const conditions = [...groupBy(of, ({ condition }) => condition.name).values()].sort(
      (a, b) => a[0]!.order - b[0]!.order,
    );
    const rows = conditions.flatMap((runs) => {
      const categories = [
        ...new Set(runs[0]!.options.parts.map((part) => runs.find((run) => run.part === part)?.category ?? null)),
      ].filter((category) => category !== null);
      for (const [seed, done] of groupBy(runs, (run) => run.seed)) {
        const missing = runs[0]!.options.parts.filter((part) => !done.some((run) => run.part === part));
        if (missing.length > 0)
          notes.push(
            `${dataset}, ${runs[0]!.condition.title}, seed ${seed}: left out of the mean, for ${missing.length} of ${runs[0]!.options.parts.length} parts are not done (${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ", ..." : ""}).`,
          );
      }
      return [
        row(runs, null, published),
        ...(categories.length > 1 ? categories.map((category) => row(runs, category, published)) : []),
      ];
    });
    return { dataset, published: kind, metrics: protocol.metrics ?? metricsOf(kind ?? undefined), rows };
  });
  const untrained = results.filter(({ options }) => options["backboneWeights"] === "random").length;
  if (untrained > 0)
    notes.push(`${untrained} of ${results.length} runs have a backbone with random weights: a trial, no result.`);
  if (published === undefined) notes.push("No file of published numbers was given: nothing to compare with.");
  else if (!datasets.some(({ rows }) => rows.some(({ cells }) => Object.values(cells).some((cell) => cell.published))))
    notes.push("The file of published numbers has none for these rows.");
  return {
    protocol: name,
    title: protocol.title,
    versions: [...new Set(results.map(({ version }) => version))],
    compared: published !== undefined,
    datasets,
    summary: protocol.summary && results.length > 0 ? summarise(datasets, results) : null,
    notes,
  };
}

/** The table as files have it, with the paper's names of the metrics. */
export function tableDocument(table: ExperimentTable): Record<string, unknown> {
  const datasets = table.datasets.map(({ metrics, rows, ...rest }) => ({
    ...rest,
    metrics: metrics.map((metric) => metricsTable[metric].name),
    rows: rows.map((each) => ({ ...each, cells: byPaperName(each.cells) })),
  }));
  return { ...table, datasets };
}

const percent = (value: number): string => (value * 100).toFixed(2);
const signed = (value: number): string => `${value < 0 ? "" : "+"}${value.toFixed(2)}`;
const withStd = (value: { mean: number; std: number | null }): string =>
  value.std === null ? percent(value.mean) : `${percent(value.mean)} ± ${percent(value.std)}`;
const line = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
const markdown = (header: readonly string[], rows: readonly (readonly string[])[]): string[] => [
  line(header),
  `|${"---|".repeat(header.length)}`,
  ...rows.map(line),
];

/** The table for people, in %. */
export function tableMarkdown({ protocol, title, versions, datasets, summary, notes }: ExperimentTable): string {
  const out: string[] = [
    `# ${title}`,
    "",
    `\`supersimplenet experiment ${protocol}\`, version ${versions.join(", ") || "none"}. Metrics in %: mean ± standard deviation over the seeds; of each seed the mean over folds and categories. Differences in percentage points, and whether they lie above, within or below one published standard deviation.`,
  ];
  if (datasets.length === 0) out.push("", "There are no results yet.");
  for (const { dataset, metrics, rows } of datasets) {
    const compared = metrics.filter((metric) => rows.some(({ cells }) => cells[metric]?.published));
    const several = new Set(rows.map(({ category }) => category)).size > 1;
    const header = [
      "",
      ...(several ? ["category"] : []),
      "seeds",
      ...metrics.flatMap((metric) => [
        metricsTable[metric].name,
        ...(compared.includes(metric) ? ["published", "difference"] : []),
      ]),
    ];
    const body = rows.map((each) => [
      each.title,
      ...(several ? [each.category ?? "mean"] : []),
      String(each.seeds),
      ...metrics.flatMap((metric) => {
        const cell = each.cells[metric];
        const theirs = cell?.published;
        return [
          cell ? withStd(cell) : "-",
          ...(compared.includes(metric)
            ? [theirs ? withStd(theirs) : "-", theirs ? `${signed(theirs.difference)}, ${theirs.verdict}` : "-"]
            : []),
        ];
      }),
    ]);
    out.push("", `## ${dataset}`, "", ...markdown(header, body));
    const counted = rows.flatMap(({ title: name, seeds, misclassification }) =>
      misclassification ? [{ name, seeds, ...misclassification }] : [],
    );
    if (counted.length === 0) continue;
    const area = (value: number | null): string => (value === null ? "-" : value.toFixed(2));
    out.push(
      "",
      "Images at the threshold of the highest F1, summed over folds and categories, mean over the seeds; area of the defects in % of the image.",
      "",
    );
    out.push(
      ...markdown(
        ["", "seeds", "TP", "TN", "FP", "FN", "TP area", "FN area"],
        counted.map((c) => [
          c.name,
          String(c.seeds),
          ...[c.truePositive, c.trueNegative, c.falsePositive, c.falseNegative].map((value) =>
            String(Number(value.toFixed(1))),
          ),
          area(c.truePositiveArea),
          area(c.falseNegativeArea),
        ]),
      ),
    );
  }
  if (summary) {
    out.push(
      "",
      "## Summary",
      "",
      "Mean over the data sets of I-AUROC (detection) and AUPRO (localisation); after the first row differences from it in percentage points.",
      "",
    );
    const columns = ["supervised", "unsupervised", "average"] as const;
    out.push(
      ...markdown(
        ["", ...columns.flatMap((name) => [`${name}, detection`, "localisation"])],
        summary.map((each, i) => [
          each.row,
          ...columns.flatMap((name) =>
            (["detection", "localisation"] as const).map((field) =>
              each[name] ? (i === 0 ? each[name][field].toFixed(2) : signed(each[name][field])) : "-",
            ),
          ),
        ]),
      ),
    );
  }
  if (notes.length > 0) out.push("", "## Notes", "", ...notes.map((note) => `- ${note}`));
  return `${out.join("\n")}\n`;
}
