import { moments } from "../calibration/rate.js";
import { call, option, SuperSimpleNetError, text } from "../errors.js";
import { type Calibration, refuseWithoutMap, type Thresholds, thresholdsOf } from "../models/config.js";
import type { Region } from "../native/binding.js";
import { type Decision, type Source, sourcesOf } from "../schema/decisions.js";
import type { Detection } from "./types.js";

/** What a detector decides by. */
export interface Limits {
  decision: Decision;
  /** Logits at and above which the source makes a part a defect. */
  defect: Record<Source, number>;
  /** The same for an unsure part; null: there is no such verdict. */
  unsure: Record<Source, number> | null;
  /** Standard deviations of the good parts' scores, 1 where they are not known: the unit of the margin. */
  deviation: Record<Source, number>;
  /** Whether the map counts by its regions alone, because small or weak ones are left out. */
  byRegions: boolean;
}

export interface LimitOptions {
  decision?: Decision | undefined;
  /** As a score, 0 to 1. */
  threshold?: number | undefined;
  mapThreshold?: number | undefined;
  minAreaPx: number;
  minPeak?: number | undefined;
}

/** The limits of a model, with what a detector is told beside. Throws INVALID_OPTION for a threshold that decides nothing. */
export function limitsOf(where: string, thresholds: Thresholds, options: LimitOptions): Limits {
  const decision = options.decision ?? thresholds.decision;
  const { threshold, mapThreshold, minAreaPx, minPeak } = options;
  if (threshold !== undefined && decision === "map") throw decidesNothing(where, "threshold", threshold, "map");
  if (mapThreshold !== undefined && decision === "score")
    throw decidesNothing(where, "mapThreshold", mapThreshold, "score");
  if (options.decision && mapThreshold === undefined) refuseWithoutMap(where, thresholds, options.decision);
  const { scoreLogit, mapLogit } = thresholdsOf(thresholds, decision);
  const defect = {
    score: threshold === undefined ? scoreLogit : Math.log(threshold / (1 - threshold)),
    map: mapThreshold ?? mapLogit,
  };
  const { unsure, calibration } = thresholds;
  return {
    decision,
    defect,
    unsure: unsure && {
      score: Math.min(unsure.scoreLogit, defect.score),
      map: Math.min(unsure.mapLogit, defect.map),
    },
    deviation: deviations(calibration),
    // Every region has a pixel.
    byRegions: minAreaPx > 1 || minPeak !== undefined,
  };
}

function decidesNothing(where: string, name: string, value: number, decision: Decision): SuperSimpleNetError {
  const other = decision === "map" ? "score" : "map";
  const what = text`${call(where)}: ${option(name)} (${value}) decides nothing, because the ${decision} alone decides.`;
  return new SuperSimpleNetError("INVALID_OPTION", what, {
    option: name,
    value,
    fix: text`Leave it away, or give ${option("decision")} '${other}' or 'either'.`,
  });
}

/** Of the good parts' scores, by what the calibration knows of them. */
export function deviations(calibration: Calibration | null): Record<Source, number> {
  const of = (source: Source): number => {
    const { deviation } = moments(calibration?.good?.[source].values ?? []);
    return deviation > 0 ? deviation : 1;
  };
  return { score: of("score"), map: of("map") };
}

/** What the network says about an image. */
export interface Evidence {
  logit: number;
  peak: number;
  /** Those that are left in, strongest first. */
  regions: readonly Region[];
  /** The same from the lower threshold on, for a part that may be unsure; needed only where the map counts by regions. */
  unsureRegions?: readonly Region[] | undefined;
}

/** A threshold of 0 or 1 is infinite as a logit. No logit comes near this one, and margins keep their order. */
const farthest = 1000;
/** The margin, at most, of a map whose regions are all left out. */
const withoutRegion = -1;

/** The one rule by which a part is good, unsure or a defect. */
export function decide(
  limits: Limits,
  evidence: Evidence,
): Pick<Detection, "verdict" | "anomalous" | "decidedBy" | "margin"> {
  const sources = sourcesOf(limits.decision);
  const reaching = (thresholds: Record<Source, number>, regions: readonly Region[]): Source[] =>
    sources.filter((source) => {
      const value = valueOf(limits, { ...evidence, regions }, source);
      return value !== null && value >= thresholds[source];
    });
  const margin = Math.max(...sources.map((source) => marginOf(limits, evidence, source)));
  const defect = reaching(limits.defect, evidence.regions);
  if (defect.length > 0) return { verdict: "defect", anomalous: true, decidedBy: defect, margin };
  const unsure = limits.unsure ? reaching(limits.unsure, evidence.unsureRegions ?? evidence.regions) : [];
  return { verdict: unsure.length > 0 ? "unsure" : "good", anomalous: false, decidedBy: unsure, margin };
}

/** Null: no region is left that could count. */
function valueOf({ byRegions }: Limits, { logit, peak, regions }: Evidence, source: Source): number | null {
  if (source === "score") return logit;
  return byRegions ? (regions[0]?.peak ?? null) : peak;
}

function marginOf(limits: Limits, evidence: Evidence, source: Source): number {
  const value = valueOf(limits, evidence, source);
  const threshold = Math.max(-farthest, Math.min(farthest, limits.defect[source]));
  const margin = ((value ?? evidence.peak) - threshold) / limits.deviation[source];
  if (value === null) return Math.min(margin, withoutRegion);
  // Whatever was rounded: 0 and more is a defect.
  return value >= limits.defect[source] ? Math.max(margin, 0) : Math.min(margin, -Number.EPSILON);
}
