import type { Calibration } from "../models/config.js";
import { type Decision, type Source, sourcesOf } from "../schema/decisions.js";
import { type DriftComparison, driftLevel, ScoreDrift } from "./drift.js";

/** How the scores that were seen compare with those of the good parts that the thresholds were set on. */
export interface Drift {
  /** Images that were seen. */
  n: number;
  /**
   * "changed": camera, light or material are no longer those of the calibration. "unknown": too few images were seen, or
   * set the thresholds, or none are on record.
   */
  verdict: "same" | "changed" | "unknown";
  /** The comparison of each source that decides; null where the calibration's scores are not on record. */
  score: DriftComparison | null;
  map: DriftComparison | null;
}

/** Counts scores beside those of a calibration, one comparison for each source that decides. */
export class DriftWatch {
  readonly #good: Calibration["good"];
  readonly #sources: readonly Source[];
  #n = 0;
  #seen = new Map<Source, ScoreDrift>();

  constructor(calibration: Calibration | null, decision: Decision) {
    this.#good = calibration?.good ?? null;
    this.#sources = sourcesOf(decision);
    this.reset();
  }

  add(scores: Record<Source, number>): void {
    this.#n++;
    for (const [source, seen] of this.#seen) seen.add(scores[source]);
  }

  reset(): void {
    const good = this.#good;
    this.#n = 0;
    this.#seen = new Map(good ? this.#sources.map((source) => [source, new ScoreDrift(good[source])]) : []);
  }

  report(): Drift {
    // Together the sources keep the level of one.
    const level = driftLevel / this.#sources.length;
    const of = (source: Source): DriftComparison | null => this.#seen.get(source)?.compare(level) ?? null;
    const both = { score: of("score"), map: of("map") };
    const verdicts = [both.score, both.map].map((one) => one?.verdict);
    const changed = verdicts.some((verdict) => verdict === "higher" || verdict === "lower");
    const verdict = changed ? "changed" : verdicts.includes("same") ? "same" : "unknown";
    return { n: this.#n, verdict, ...both };
  }
}
