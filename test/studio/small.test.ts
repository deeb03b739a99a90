import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { adviceFor } from "../../lib/studio/advice.js";
import { lastResults } from "../../lib/studio/line.js";
import { Pace } from "../../lib/studio/pace.js";
import type { Detection } from "../../lib/detection/types.js";
import { markedPixels } from "../../lib/studio/placed.js";
import { rankForLabels, type Seen, seenOf } from "../../lib/studio/suggest.js";
import type { StudioEvent, TrainingProgress } from "../../lib/studio/types.js";
import { temporaryFolder } from "../datasets/files.js";

const counts = { unlabelled: 0, trainGood: 30, trainDefect: 0, trainMasks: 0, testGood: 10, testDefect: 10 };

test("the advice says what the next label buys", () => {
  assert.match(adviceFor(counts)[0]!, /\(weak\)/);
  assert.match(adviceFor({ ...counts, trainDefect: 4 })[0]!, /^One mask .*\(mixed\)/);
  assert.match(adviceFor({ ...counts, trainDefect: 4, trainMasks: 1 })[0]!, /^3 masks more: .*\(full\)/);
  assert.match(adviceFor({ ...counts, trainDefect: 4, trainMasks: 4 })[0]!, /^Every defect/);
  assert.match(adviceFor({ ...counts, trainGood: 1 })[0]!, /needs 2 at least/);
  assert.match(adviceFor({ ...counts, testDefect: 0 })[1]!, /test images/);
  assert.match(adviceFor({ ...counts, testGood: 3 })[1]!, /3 good parts and 10 defects/);
});

/** An image whose map lights up in one of 16 cells. */
function seen(id: string, margin: number, cell: number): Seen {
  const data = new Float32Array(16);
  data[cell] = 5;
  const verdict = margin < 0 ? "good" : "defect";
  return seenOf({ id, version: "1" }, { margin, verdict, score: 0.5, map: { data, width: 4, height: 4 } } as Detection);
}

test("what to label next: the nearest to the threshold, then what is unlike it", () => {
  const order = rankForLabels([
    seen("far", 9, 0),
    seen("near", 0.1, 0),
    seen("like near", -0.2, 0),
    seen("unlike", 0.6, 9),
  ]);
  assert.deepEqual(
    order.map(({ id }) => id),
    ["near", "unlike", "like near", "far"],
  );
  assert.deepEqual(
    order.map(({ rank }) => rank),
    [0, 1, 2, 3],
  );
  assert.deepEqual([order[0]!.reason, order[1]!.reason], ["near the threshold", "unlike the ones before"]);
  assert.deepEqual(rankForLabels([]), []);
});

test("the pace of a training: images per second and the time that is left", () => {
  const told: StudioEvent[] = [];
  const pace = new Pace("run", 8, (event) => void told.push(event));
  const last = (): TrainingProgress => (told.at(-1) as { progress: TrainingProgress }).progress;
  pace.take({ event: "stage", stage: "validate", done: 3, total: 9 }, 0);
  assert.deepEqual([last().stage, last().done, last().total], ["validate", 3, 9]);
  pace.take({ event: "start", epochs: 3, epochsDone: 0, stepsPerEpoch: 4 }, 1000);
  // The first step takes ten times as long; it does not count.
  for (let step = 1; step <= 4; step++)
    pace.take({ event: "step", epoch: 1, epochs: 3, step, steps: 4 }, 6000 + 500 * step);
  assert.equal(last().secondsPerStep, 0.5);
  assert.equal(last().imagesPerSecond, 16);
  assert.equal(last().secondsLeft, 0.5 * 8);
  assert.deepEqual([last().stage, last().epoch], ["train", 1]);
});

test("the last results of a line, over days and with lines that were cut off", async (t) => {
  const folder = path.join(await temporaryFolder(t), "results");
  assert.deepEqual(await lastResults(folder), []);
  mkdirSync(folder);
  const line = (id: string, verdict: string, time: string): string =>
    JSON.stringify({ id, verdict, score: 0.25, time, model: { name: "cap", checksum: "x" } });
  const days = Array.from({ length: 80 }, (_, i) =>
    line(`a${i}`, "good", `2026-01-01T00:00:${String(i).padStart(2, "0")}Z`),
  );
  writeFileSync(path.join(folder, "2026-01-01.jsonl"), `${days.join("\n")}\n`);
  const next = Array.from({ length: 30 }, (_, i) => line(`/somewhere/b${i}`, "defect", "2026-01-02T00:00:00Z"));
  writeFileSync(path.join(folder, "2026-01-02.jsonl"), `${next.join("\n")}\n{"id": "cut`);
  const results = await lastResults(folder);
  assert.equal(results.length, 100);
  assert.deepEqual([results[0]!.id, results[0]!.verdict, results[0]!.model], ["b29", "defect", "cap"]);
  assert.deepEqual([results[30]!.id, results[99]!.id], ["a79", "a10"]);
});

test("a proposal marks what the map covers, and nothing beside it", () => {
  const map = { data: Float32Array.of(1, 0, 0, 2), width: 2, height: 2 };
  const rows = (area: { x: number; y: number; width: number; height: number }): string[] => {
    const marked = markedPixels({ ...map, area }, 1, { width: 4, height: 4 });
    return [0, 1, 2, 3].map((y) => [...marked.subarray(4 * y, 4 * y + 4)].map((value) => (value ? "#" : ".")).join(""));
  };
  assert.deepEqual(rows({ x: 0, y: 0, width: 4, height: 4 }), ["##..", "##..", "..##", "..##"]);
  assert.deepEqual(rows({ x: 1, y: 2, width: 2, height: 2 }), ["....", "....", ".#..", "..#."]);
  // Of a view that pads, the map reaches beyond the image.
  assert.deepEqual(rows({ x: 0, y: -4, width: 4, height: 8 }), ["..##", "..##", "..##", "..##"]);
});
