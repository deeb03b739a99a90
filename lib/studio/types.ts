import type { ReportEpoch, ReportEvaluation } from "../report/types.js";

/** What the studio's page and its server tell each other, as JSON. */

export type StudioLabel = "good" | "defect";
export type StudioSplit = "train" | "test";

/** An image of the project. */
export interface StudioImage {
  /** Its path in the data set, or "unlabelled/" and its name. */
  id: string;
  /** Null: nobody has said yet what it is. */
  label: StudioLabel | null;
  /** Null where there is no label. */
  split: StudioSplit | null;
  /** Of a defect. */
  kind: string | null;
  /** Changes when the image does. */
  version: string;
  /** Changes when the mask does; null: there is none. */
  mask: string | null;
}

/** What a model says of an image that nobody has labelled. */
export interface Suggestion {
  id: string;
  /** Of the image: another one may have its name later. */
  version: string;
  verdict: "good" | "unsure" | "defect";
  score: number;
  /** Place in the order of what to label next, from 0. */
  rank: number;
  /** Why it stands there. */
  reason: "near the threshold" | "unlike the ones before";
}

export interface Suggestions {
  run: string;
  images: Suggestion[];
}

export interface StudioCounts {
  unlabelled: number;
  trainGood: number;
  trainDefect: number;
  /** Defects to train on that have a mask. */
  trainMasks: number;
  testGood: number;
  testDefect: number;
}

export interface StudioProject {
  name: string;
  /** Absolute. */
  folder: string;
  /** Why labels cannot be changed here; null: they can. */
  readOnly: string | null;
  images: StudioImage[];
  kinds: string[];
  counts: StudioCounts;
  regime: "unsupervised" | "weak" | "mixed" | "full";
  /** What is missing, and what the next labels would buy. */
  advice: string[];
  /** What keeps the data from being read as they lie there. */
  problems: string[];
  /** Tells these labelled data from those of another time: 12 characters. */
  data: string;
}

/** An image that got another place. */
export interface Moved {
  from: string;
  to: string;
}

/** What a label is set to. */
export interface LabelRequest {
  ids: string[];
  label: StudioLabel | null;
  /** Of a defect. Default: the one it has, or "defect". */
  kind?: string;
  /** Default: the one it has, or "train". */
  split?: StudioSplit;
}

export interface Validation {
  /** The data that were checked: `data` of the project. */
  data: string;
  problems: string[];
  warnings: string[];
}

/** An option of a training. Values are written as on the command line. */
export interface TrainingOption {
  flag: string;
  help: string;
  /** What it takes. */
  takes: string;
  /** In words; null: there is none. */
  standard: string | null;
  choices: string[] | null;
  group: string;
  /** One of the few that are always shown. */
  main: boolean;
}

/** Options as flags without dashes, with what is written behind them. */
export type TrainingFlags = Record<string, string>;

export const runStates = ["queued", "running", "paused", "stopped", "failed", "done"] as const;
export type RunState = (typeof runStates)[number];

/** A training that is there or will be. */
export interface StudioRun {
  name: string;
  state: RunState;
  /** Why it failed. */
  error: string | null;
  /** As given; null: it was not begun here. */
  flags: TrainingFlags | null;
  /** The same training on the command line. */
  command: string | null;
  /** Of the labelled data that it began with: 12 characters; null: not known. */
  data: string | null;
  /** Whether the data are still those. */
  dataIsCurrent: boolean | null;
  regime: string | null;
  backbone: string | null;
  imageSize: string | null;
  epochs: number | null;
  /** Of the test images, by metric. Null: there are none yet. */
  metrics: Record<string, number | null> | null;
  /** Of the test images that the metrics are of, with their labels: 12 characters; null: not known. */
  testData: string | null;
  /** ISO 8601; null: it has no model. */
  finished: string | null;
}

/** Where a training is. */
export interface TrainingProgress {
  run: string;
  stage: "starting" | "validate" | "load" | "measure" | "crossFit" | "calibrate" | "train" | "evaluate";
  done: number;
  total: number;
  epoch: number;
  epochs: number;
  /** Mean of the last steps; null: none is known. */
  secondsPerStep: number | null;
  imagesPerSecond: number | null;
  /** Of the epochs; what follows is not in it. Null: not known. */
  secondsLeft: number | null;
}

/** How long a training would take, by some of its steps on this machine. */
export interface Estimate {
  /** Of all steps; checking images before and scoring them after is not in it. */
  seconds: number;
  epochs: number;
  /** Those of the folds that set the thresholds included. */
  steps: number;
  secondsPerStep: number;
}

export interface RunDetails {
  run: StudioRun;
  epochs: ReportEpoch[];
  warnings: string[];
}

/** A run's results on the test images. */
export interface Judgement {
  run: string;
  /** Null: the run has no results. */
  evaluation: ReportEvaluation | null;
  /** Whether the test images are still those, with the same labels. */
  isCurrent: boolean;
  notes: string[];
}

/** What a model says of one image. */
export interface StudioDetection {
  id: string;
  score: number;
  logit: number;
  peak: number;
  verdict: "good" | "unsure" | "defect";
  decidedBy: ("score" | "map")[];
  threshold: number | null;
  mapThreshold: number | null;
  width: number;
  height: number;
  regions: { x: number; y: number; width: number; height: number; area: number; peak: number }[];
  warnings: string[];
  totalMs: number;
  /** Data URI of the heat map. */
  heat: string;
}

/** A result of a line, as `serve` and `watch` write them. */
export interface LineResult {
  id: string;
  verdict: "good" | "unsure" | "defect";
  score: number;
  time: string;
  model: string;
}

/** What the server tells without being asked, one JSON object an event. */
export type StudioEvent =
  | { event: "project" }
  | { event: "runs"; runs: StudioRun[] }
  | { event: "progress"; progress: TrainingProgress }
  | { event: "epoch"; run: string; epoch: ReportEpoch }
  | { event: "judging"; run: string; done: number; total: number }
  | { event: "suggesting"; run: string; done: number; total: number }
  | { event: "suggestions"; suggestions: Suggestions }
  | { event: "line"; results: LineResult[] };
