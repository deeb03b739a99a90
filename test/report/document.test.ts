import assert from "node:assert/strict";
import { test } from "node:test";

import { reportEvaluation } from "../../lib/report/document.js";
import { reportHtml } from "../../lib/report/html.js";
import { byInterest } from "../../lib/report/order.js";
import type { ReportPicture } from "../../lib/report/types.js";
import { metricIds } from "../../lib/evaluation/metrics_table.js";
import type { Metrics } from "../../lib/evaluation/metrics_table.js";

const metrics = Object.fromEntries(metricIds.map((id) => [id, 0.5])) as Metrics;
const picture: ReportPicture = { image: "data:,", heat: "data:,", width: 1, height: 1 };

function sample(id: string, label: "normal" | "anomalous", logit: number, changes = {}) {
  const own = { id, image: id, mask: null, label, defect: null, score: 0.5, logit, peak: 2 * logit };
  return { ...own, anomalous: logit >= 0, verdict: "good" as const, decidedBy: [], margin: 3 * logit, ...changes };
}

test("images stand on the axis of what decides, with the threshold that decided", () => {
  const samples = [sample("a", "normal", -1), sample("b", "anomalous", 2)];
  const used = { threshold: 1 / (1 + Math.exp(-0.25)), mapThreshold: 0.75 };
  const on = (decision: "score" | "map" | "either") =>
    reportEvaluation({ metrics, samples }, { decision, ...used }, undefined);
  const score = on("score");
  assert.ok(Math.abs(score.axis.threshold - 0.25) < 1e-12);
  assert.deepEqual(
    score.images.map(({ value }) => value),
    [-1, 2],
  );
  assert.deepEqual(on("map").axis, { kind: "map", threshold: 0.75 });
  assert.deepEqual(
    on("map").images.map(({ value }) => value),
    [-2, 4],
  );
  assert.deepEqual(on("either").axis, { kind: "margin", threshold: 0 });
  assert.equal(score.metrics.length, metricIds.length - 1, "a threshold is no metric");
  assert.match(score.withoutPictures!, /without the images/);
});

test("the page decides as the model did: where regions decide too, at a threshold beyond all scores, and on the threshold", () => {
  const at = (samples: ReturnType<typeof sample>[], decision: "score" | "map", threshold = 0.5) => {
    const { axis, images } = reportEvaluation(
      { metrics, samples },
      { decision, threshold, mapThreshold: 1 },
      undefined,
    );
    assert.ok(Number.isFinite(axis.threshold));
    assert.deepEqual(
      images.map(({ value }) => value >= axis.threshold),
      samples.map(({ anomalous }) => anomalous),
    );
    return axis;
  };
  // A map that is high where no region is large enough.
  const small = sample("small region", "anomalous", 4, { anomalous: false, margin: -1 });
  assert.equal(at([small, sample("found", "anomalous", 2)], "map").kind, "margin");
  const none = [sample("a", "normal", -1, { anomalous: false }), sample("b", "anomalous", 3, { anomalous: false })];
  assert.equal(at(none, "score", 1).kind, "score");
  const all = [sample("a", "normal", -1, { anomalous: true }), sample("b", "anomalous", 3, { anomalous: true })];
  assert.equal(at(all, "score", 0).kind, "score");
  const logit = 0.1 + 0.2;
  at([sample("on it", "anomalous", logit), sample("below", "normal", -1)], "score", 1 / (1 + Math.exp(-logit - 1e-16)));
});

test("the worst mistakes come first, then what is nearest to the threshold", () => {
  const samples = [
    sample("fine", "normal", -2),
    sample("close", "normal", -0.1),
    sample("rejected", "normal", 1),
    sample("just missed", "anomalous", -0.5),
    sample("badly missed", "anomalous", -3),
    sample("found", "anomalous", 1.5),
  ];
  const used = { decision: "score", threshold: 0.5, mapThreshold: 0 } as const;
  const { images } = reportEvaluation({ metrics, samples }, used, undefined);
  assert.deepEqual(
    byInterest(images, 0).map(({ id }) => id),
    ["badly missed", "just missed", "rejected", "close", "found", "fine"],
  );
});

test("of very many images those have pictures that a reader wants to see", () => {
  const samples = Array.from({ length: 500 }, (_, i) => sample(`good/${i}`, "normal", -1 - i));
  samples.push(sample("missed", "anomalous", -400));
  const pictures = new Map(samples.map(({ id }) => [id, picture]));
  const used = { decision: "score", threshold: 0.5, mapThreshold: 0 } as const;
  const { images, withoutPictures } = reportEvaluation({ metrics, samples }, used, pictures);
  assert.equal(images.length, 501);
  const shown = images.filter((image) => image.picture).map(({ id }) => id);
  assert.equal(shown.length, 400);
  assert.ok(shown.includes("missed") && shown.includes("good/0") && !shown.includes("good/499"));
  assert.match(withoutPictures!, /first 400/);
});

test("nothing in the data can end the script or begin a tag", async () => {
  const nasty = "</script><script>alert(1)</script><!--";
  const html = await reportHtml({
    title: nasty,
    made: "2026-03-04T05:06:07.000Z",
    facts: [{ name: nasty, facts: [[nasty, nasty]] }],
    evaluation: null,
    training: null,
    notes: [nasty],
  });
  assert.equal(html.match(/<script/g)!.length, 2);
  assert.equal(html.match(/<\/script>/g)!.length, 2);
  assert.ok(!html.includes("alert(1)</script>"));
  assert.ok(
    !/\b(https?:)?\/\/(?!.*licen)/.test(html.replace(/<script>[^]*?<\/script>/g, "")),
    "no address of elsewhere",
  );
});
