import assert from "node:assert/strict";
import { test } from "node:test";

import { decide, type Evidence, type LimitOptions, type Limits, limitsOf } from "../../lib/detection/decide.js";
import { type Calibration, defaultThresholds, type Thresholds, type Unsure } from "../../lib/models/config.js";
import type { Region } from "../../lib/native/binding.js";
import { Random } from "../../lib/random.js";
import { decisions, type Source } from "../../lib/schema/decisions.js";
import { failure } from "../datasets/files.js";

const region = (peak: number): Region => ({ area: 9, x: 0, y: 0, width: 3, height: 3, peak, peakX: 1, peakY: 1 });
const counted = { count: 0, of: 4, share: 0, low: 0, high: 0.4 };
const unsureFrom = (scoreLogit: number, mapLogit: number): Unsure => ({
  scoreLogit,
  mapLogit,
  missRate: 0.01,
  method: "good-parts",
  normal: counted,
  anomalous: null,
});
/** Score from 2 on and map from 5 on is a defect; from 1 and 4 on a part is unsure. */
const thresholds: Thresholds = { ...defaultThresholds, scoreLogit: 2, mapLogit: 5, unsure: unsureFrom(1, 4) };
const limits = (own: Partial<Thresholds>, options: Partial<LimitOptions> = {}): Limits =>
  limitsOf("test", { ...thresholds, ...own }, { minAreaPx: 0, ...options });

/** The map's maximum is the strongest region, where it is one. */
const seen = (logit: number, peak: number, peaks: number[] = [peak]): Evidence => ({
  logit,
  peak,
  regions: peaks.map(region),
});

test("a model whose map has no threshold of its own is not decided by it unless one is given", () => {
  const older: Partial<Thresholds> = { scoreMethod: "best-f1", mapMethod: "default" };
  for (const decision of ["map", "either"] as const) {
    assert.throws(
      () => limits(older, { decision }),
      failure("INVALID_OPTION", "no threshold for its map", "calibrate"),
    );
    assert.equal(limits(older, { decision, mapThreshold: 3 }).defect.map, 3);
  }
  // Of a model that was never calibrated both are defaults, and the user knows.
  assert.equal(limits({ scoreMethod: "default" }, { decision: "either" }).decision, "either");
});

test("an area of one pixel leaves no region out", () => {
  assert.deepEqual(
    [0, 1, 2].map((minAreaPx) => limits({}, { minAreaPx }).byRegions),
    [false, false, true],
  );
});

type Row = [logit: number, peak: number, verdict: string, decidedBy: Source[]];

const table: Record<(typeof decisions)[number], Row[]> = {
  score: [
    [0, 9, "good", []],
    [1, 9, "unsure", ["score"]],
    [1.99, 9, "unsure", ["score"]],
    [2, 0, "defect", ["score"]],
    [9, 9, "defect", ["score"]],
  ],
  map: [
    [9, 0, "good", []],
    [9, 4, "unsure", ["map"]],
    [9, 4.99, "unsure", ["map"]],
    [0, 5, "defect", ["map"]],
    [9, 9, "defect", ["map"]],
  ],
  either: [
    [0, 0, "good", []],
    [0.99, 3.99, "good", []],
    [1, 0, "unsure", ["score"]],
    [0, 4, "unsure", ["map"]],
    [1, 4, "unsure", ["score", "map"]],
    [2, 0, "defect", ["score"]],
    [0, 5, "defect", ["map"]],
    [2, 5, "defect", ["score", "map"]],
    // What is only unsure did not decide on a defect.
    [2, 4, "defect", ["score"]],
    [1, 5, "defect", ["map"]],
  ],
};

for (const decision of decisions) {
  test(`decision ${decision}: verdict and what decided`, () => {
    for (const [logit, peak, verdict, decidedBy] of table[decision]) {
      const found = decide(limits({ decision }), seen(logit, peak));
      const shown = `${logit}, ${peak}`;
      assert.deepEqual([found.verdict, found.decidedBy], [verdict, decidedBy], shown);
      assert.equal(found.anomalous, verdict === "defect", shown);
    }
  });

  test(`decision ${decision}: without the lower threshold the unsure are good`, () => {
    for (const [logit, peak, verdict, decidedBy] of table[decision]) {
      const found = decide(limits({ decision, unsure: null }), seen(logit, peak));
      const expected = verdict === "unsure" ? ["good", []] : [verdict, decidedBy];
      assert.deepEqual([found.verdict, found.decidedBy], expected, `${logit}, ${peak}`);
    }
  });
}

test("a decision by score does not know the map, nor regions that are left out", () => {
  const scored = limits({ decision: "score" }, { minAreaPx: 50 });
  assert.deepEqual(decide(scored, seen(2, 0, [])).decidedBy, ["score"]);
  assert.equal(decide(scored, seen(0, 99, [99])).verdict, "good");
});

test("where regions are left out, the strongest of those left decides instead of the map's maximum", () => {
  for (const options of [{ minAreaPx: 50 }, { minAreaPx: 0, minPeak: 0 }] as const) {
    const byMap = limits({ decision: "map" }, options);
    assert.equal(decide(byMap, seen(0, 9, [9, 3])).verdict, "defect");
    assert.equal(decide(byMap, seen(0, 9, [4.5, 3])).verdict, "unsure", "9 was a region that is too small");
    assert.equal(decide(byMap, seen(0, 9, [3])).verdict, "good");
    const none = decide(byMap, seen(0, 9, []));
    assert.deepEqual([none.verdict, none.decidedBy, none.margin], ["good", [], -1]);
    assert.equal(decide(byMap, seen(0, 1, [])).margin, -4, "farther below than that");
  }
  assert.equal(decide(limits({ decision: "map" }), seen(0, 9, [])).verdict, "defect", "nothing is left out");
  const either = limits({ decision: "either" }, { minAreaPx: 50 });
  assert.deepEqual(decide(either, seen(3, 9, [])).decidedBy, ["score"]);
  assert.equal(decide(either, seen(0, 9, [])).verdict, "good");
});

test("thresholds of the detector go before the model's; the lower one follows them down", () => {
  const half = limits({ decision: "either" }, { threshold: 0.5, mapThreshold: 3 });
  assert.deepEqual(
    [half.defect, half.unsure],
    [
      { score: 0, map: 3 },
      { score: 0, map: 3 },
    ],
  );
  const above = limits({ decision: "either" }, { threshold: 0.99, mapThreshold: 50 });
  assert.deepEqual(above.unsure, { score: 1, map: 4 });
});

test("thresholds of 0 and 1: all parts and none; the margin stays finite", () => {
  const all = decide(limits({ decision: "score" }, { threshold: 0 }), seen(-5, 0));
  assert.deepEqual([all.verdict, all.margin], ["defect", 995]);
  const none = decide(limits({ decision: "score", unsure: null }, { threshold: 1 }), seen(5, 0));
  assert.deepEqual([none.verdict, none.margin], ["good", -995], "the order of the scores is kept");
  const map = decide(limits({ decision: "either", unsure: null }, { threshold: 1 }), seen(1e30, 5));
  assert.deepEqual([map.verdict, map.decidedBy, map.margin], ["defect", ["map"], 0]);
});

test("a threshold that decides nothing: INVALID_OPTION says what to give", () => {
  const refused: [Partial<Thresholds>, Partial<LimitOptions>, string][] = [
    [{ decision: "map" }, { threshold: 0.5 }, "'threshold' (0.5)"],
    [{ decision: "score" }, { mapThreshold: 1 }, "'mapThreshold' (1)"],
    [{ decision: "either" }, { decision: "map", threshold: 0 }, "'threshold' (0)"],
    [{ decision: "either" }, { decision: "score", mapThreshold: 0 }, "'mapThreshold' (0)"],
  ];
  for (const [own, options, shown] of refused)
    assert.throws(() => limits(own, options), failure("INVALID_OPTION", shown, "decides nothing", "'either'"));
  limits({ decision: "map" }, { decision: "either", threshold: 0.5 });
  limits({ decision: "score" }, { decision: "map", mapThreshold: 0.5 });
});

/** A calibration whose good parts scatter by 2 in the score and by 3 in the map, with thresholds for every decision. */
function calibration(): Calibration {
  const at = (logit: number): { logit: number; method: "student-t" } => ({ logit, method: "student-t" });
  const falseRejects = { share: 0.01, low: 0, high: 0.03 };
  const points = (score: number | null, map: number | null): Calibration["points"]["score"] => ({
    rate: {
      score: score === null ? null : at(score),
      map: map === null ? null : at(map),
      falseRejects,
      detected: null,
    },
    f1: null,
  });
  return {
    method: "holdOut",
    folds: null,
    falseRejectRate: 0.01,
    objective: "rate",
    points: { score: points(2, null), map: points(null, 5), either: points(2.5, 6) },
    good: {
      score: { n: 3, values: [-2, 0, 2], own: true },
      map: { n: 3, values: [-3, 0, 3], own: true },
    },
    parts: null,
    previous: null,
    warnings: [],
  };
}

test("another decision than the model's own has the thresholds that were calibrated for it", () => {
  const own = { decision: "score", calibration: calibration() } as const;
  assert.deepEqual(limits(own).defect, { score: 2, map: 5 });
  assert.deepEqual(limits(own, { decision: "either" }).defect, { score: 2.5, map: 6 });
  assert.deepEqual(limits(own, { decision: "map" }).defect, { score: 2, map: 5 });
  const byHand = limits({ ...own, mapMethod: "manual", mapLogit: 1 }, { decision: "either" });
  assert.deepEqual(byHand.defect, { score: 2.5, map: 1 }, "what was set by hand stays");
});

test("the margin is in deviations of the good parts; with either the larger", () => {
  const known = { calibration: calibration() };
  assert.equal(decide(limits({ decision: "score", ...known }), seen(5, 0)).margin, 1.5);
  assert.equal(decide(limits({ decision: "map", ...known }), seen(0, -1)).margin, -2);
  assert.equal(decide(limits({ decision: "either", ...known }), seen(5, -1)).margin, 1.5);
  assert.equal(decide(limits({ decision: "score" }), seen(5, 0)).margin, 3, "not known: in logits");
});

test("the margin is finite, and 0 or more exactly for defects", () => {
  const random = new Random(1, "margins");
  const number = (): number => random.pick([0, 1, -1, 2, 5, 1e-9, -1e-9, 1e30, -1e30, random.normal()]);
  for (let i = 0; i < 3000; i++) {
    const decision = random.pick(decisions);
    const options: LimitOptions = {
      minAreaPx: random.pick([0, 10]),
      ...(random.uniform() < 0.3 && { minPeak: number() }),
      ...(decision !== "map" && random.uniform() < 0.3 && { threshold: random.pick([0, 0.5, 1]) }),
      ...(decision !== "score" && random.uniform() < 0.3 && { mapThreshold: number() }),
    };
    const own = { decision, calibration: random.pick([null, calibration()]), scoreLogit: number(), mapLogit: number() };
    const [logit, peak] = [number(), number()];
    const evidence = seen(logit, peak, random.pick([[], [peak], [Math.min(peak, number())]]));
    const found = decide(limits(own, options), evidence);
    assert.ok(Number.isFinite(found.margin), JSON.stringify({ own, options, evidence, found }));
    assert.equal(found.margin >= 0, found.anomalous, JSON.stringify({ own, options, evidence, found }));
    assert.equal(found.anomalous, found.verdict === "defect");
    assert.equal(found.decidedBy.length > 0, found.verdict !== "good");
  }
});
