/** All that a page of the report shows. html.ts puts it into the file, web/report reads it: this file imports nothing. */
export interface ReportDocument {
  title: string;
  /** ISO 8601, UTC. */
  made: string;
  /** Name and value, in groups. */
  facts: FactGroup[];
  /** Null where nothing was evaluated. */
  evaluation: ReportEvaluation | null;
  /** One entry for each epoch; null where nothing is known of the training. */
  training: ReportEpoch[] | null;
  notes: string[];
}

export interface FactGroup {
  name: string;
  facts: readonly (readonly [name: string, value: string])[];
  /** Shown when the reader asks for it. */
  folded?: boolean;
}

export interface ReportEpoch {
  epoch: number;
  loss: number;
  l1Normal: number;
  l1Anomalous: number;
  focalMap: number;
  focalScore: number;
  headsLearningRate: number;
}

export interface ReportMetric {
  name: string;
  measures: string;
  /** Null where the data cannot define it. */
  value: number | null;
  /** Its 90 % interval; null where none is known. */
  interval: readonly [low: number, high: number] | null;
}

/** What an image is ordered by, from good to defective: what the model decides by. */
export interface ReportAxis {
  kind: "score" | "map" | "margin";
  /** At and above it an image is a defect: the model's own threshold. */
  threshold: number;
}

export interface ReportImage {
  id: string;
  label: "normal" | "anomalous";
  /** Of a defect; null where nobody named it. */
  defect: string | null;
  /** On the axis. */
  value: number;
  verdict: "good" | "unsure" | "defect";
  score: number;
  peak: number;
  picture?: ReportPicture;
}

/** Data URIs. */
export interface ReportPicture {
  image: string;
  heat: string;
  /** The part of the image that the heat map covers, as shares of its width and height; absent: all of it. */
  heatArea?: { x: number; y: number; width: number; height: number };
  /** White where the defect is. */
  mask?: string;
  width: number;
  height: number;
}

export interface ReportEvaluation {
  metrics: ReportMetric[];
  axis: ReportAxis;
  images: ReportImage[];
  /** Why some images have no picture; null: all have one. */
  withoutPictures: string | null;
}
