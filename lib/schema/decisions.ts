/**
 * Which evidence makes a part a defect. `score`: the score; `map`: the maximum of the anomaly map; `either`: one of them is
 * enough.
 */
export type Decision = (typeof decisions)[number];

export const decisions = ["score", "map", "either"] as const;

/** The evidence that a decision looks at. */
export type Source = "score" | "map";

export const sourcesOf = (decision: Decision): readonly Source[] =>
  decision === "either" ? ["score", "map"] : [decision];
