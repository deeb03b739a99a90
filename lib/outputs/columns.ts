import type { Result } from "./output.js";

export type Cell = string | number | null;

/**
 * The columns of `csv:` and `sqlite:`, in their order (docs/guides/outputs.md, Columns). New ones are added at the end, with
 * a new version of the table.
 */
export const columns: readonly { name: string; type: "TEXT" | "REAL" | "INTEGER"; of: (result: Result) => Cell }[] = [
  { name: "time", type: "TEXT", of: ({ time }) => time },
  { name: "path", type: "TEXT", of: ({ path }) => path ?? null },
  { name: "id", type: "TEXT", of: ({ id }) => id ?? null },
  { name: "verdict", type: "TEXT", of: ({ verdict }) => verdict },
  { name: "score", type: "REAL", of: ({ score }) => score },
  { name: "threshold", type: "REAL", of: ({ threshold }) => threshold },
  { name: "peak", type: "REAL", of: ({ peak }) => peak },
  { name: "map_threshold", type: "REAL", of: ({ mapThreshold }) => mapThreshold },
  { name: "margin", type: "REAL", of: ({ margin }) => margin },
  { name: "decided_by", type: "TEXT", of: ({ decidedBy }) => decidedBy.join("+") || null },
  { name: "regions", type: "INTEGER", of: ({ regions }) => regions.length },
  { name: "region_x", type: "INTEGER", of: ({ regions: [first] }) => first?.x ?? null },
  { name: "region_y", type: "INTEGER", of: ({ regions: [first] }) => first?.y ?? null },
  { name: "region_width", type: "INTEGER", of: ({ regions: [first] }) => first?.width ?? null },
  { name: "region_height", type: "INTEGER", of: ({ regions: [first] }) => first?.height ?? null },
  { name: "region_area", type: "INTEGER", of: ({ regions: [first] }) => first?.area ?? null },
  { name: "width", type: "INTEGER", of: ({ width }) => width },
  { name: "height", type: "INTEGER", of: ({ height }) => height },
  { name: "total_ms", type: "REAL", of: ({ timings }) => Math.round(timings.totalMs * 1000) / 1000 },
  { name: "model", type: "TEXT", of: ({ model }) => model.name ?? null },
  { name: "checksum", type: "TEXT", of: ({ model }) => model.checksum },
  { name: "warnings", type: "TEXT", of: ({ warnings }) => warnings.join(" ") || null },
  { name: "repeated", type: "INTEGER", of: ({ repeated }) => (repeated ? 1 : 0) },
  { name: "part", type: "TEXT", of: ({ part }) => part ?? null },
];
