import type { FoundRegions, Region } from "../../lib/native/binding.js";
import { components } from "../anomalies/masks.js";

/** Probability that an anomalous item scores above a normal one, ties counting one half: every pair is compared. */
export function auroc(scores: ArrayLike<number>, positive: ArrayLike<number>): number {
  let wins = 0;
  let pairs = 0;
  for (let i = 0; i < scores.length; i++) {
    for (let j = 0; j < scores.length; j++) {
      if (!positive[i] || positive[j]) continue;
      pairs++;
      wins += scores[i]! > scores[j]! ? 1 : scores[i] === scores[j] ? 0.5 : 0;
    }
  }
  return wins / pairs;
}

/** Counts at every distinct score, highest first: an item is called anomalous at or above it. */
function counts(
  scores: ArrayLike<number>,
  positive: ArrayLike<number>,
): { threshold: number; tp: number; fp: number; positives: number }[] {
  const positives = Array.from(positive).filter(Boolean).length;
  return [...new Set(Array.from(scores))]
    .sort((a, b) => b - a)
    .map((threshold) => {
      let [tp, fp] = [0, 0];
      for (let i = 0; i < scores.length; i++) {
        if (scores[i]! < threshold) continue;
        if (positive[i]) tp++;
        else fp++;
      }
      return { threshold, tp, fp, positives };
    });
}

export function averagePrecision(scores: ArrayLike<number>, positive: ArrayLike<number>): number {
  let recall = 0;
  return counts(scores, positive).reduce((sum, { tp, fp, positives }) => {
    const step = tp / positives - recall;
    recall = tp / positives;
    return sum + (step * tp) / (tp + fp);
  }, 0);
}

export function f1Max(scores: ArrayLike<number>, positive: ArrayLike<number>): { value: number; threshold: number } {
  let best = { value: -1, threshold: NaN };
  for (const { threshold, tp, fp, positives } of counts(scores, positive)) {
    const value = (2 * tp) / (tp + fp + positives);
    if (value > best.value) best = { value, threshold };
  }
  return best;
}

/** AUPRO from its definition: at every threshold the overlap of each region is counted anew. Ignored pixels are in no count. */
export function aupro(
  maps: ArrayLike<number>[],
  masks: Uint8Array[],
  height: number,
  width: number,
  limit: number,
  ignores?: Uint8Array[],
): number {
  const labels = masks.map((mask, m) => components(mask, height, width).map((l, i) => (ignores?.[m]![i] ? -1 : l)));
  const normal = labels.reduce((sum, image) => sum + image.filter((l) => l === 0).length, 0);
  const thresholds = [...new Set(maps.flatMap((map) => Array.from(map)))].sort((a, b) => b - a);
  const points = thresholds.map((threshold): [number, number] => {
    let alarms = 0;
    const overlaps: number[] = [];
    labels.forEach((image, m) => {
      for (let region = 0; region <= Math.max(0, ...image); region++) {
        let [area, hit] = [0, 0];
        image.forEach((l, i) => {
          if (l !== region) return;
          area++;
          hit += Number(maps[m]![i]! >= threshold);
        });
        if (region === 0) alarms += hit;
        else if (area > 0) overlaps.push(hit / area);
      }
    });
    return [alarms / normal, overlaps.reduce((a, b) => a + b, 0) / overlaps.length];
  });
  let area = 0;
  let [x0, y0] = [0, 0];
  for (const [x1, y1] of points) {
    if (x1 > limit) {
      area += ((limit - x0) * (y0 + (y0 + ((y1 - y0) * (limit - x0)) / (x1 - x0)))) / 2;
      return area / limit;
    }
    area += ((x1 - x0) * (y0 + y1)) / 2;
    [x0, y0] = [x1, y1];
  }
  return area / limit;
}

/** The regions of a whole map: labels by flood fill, then one pass over the pixels in raster order. */
export function regionsOf(
  map: Float32Array,
  height: number,
  width: number,
  threshold: number,
  minArea: number,
  ignore?: Uint8Array,
): FoundRegions {
  const kept = (i: number): boolean => !ignore?.[i];
  const labels = components(
    Uint8Array.from(map, (value, i) => Number(kept(i) && value >= Math.fround(threshold))),
    height,
    width,
  );
  const regions: Region[] = [];
  let peak = -Infinity;
  map.forEach((value, i) => {
    if (!kept(i)) return;
    if (Number.isNaN(value) || value > peak) peak = value;
    if (labels[i] === 0) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    const region = (regions[labels[i]! - 1] ??= {
      area: 0,
      x,
      y,
      width: 1,
      height: 1,
      peak: value,
      peakX: x,
      peakY: y,
    });
    if (value > region.peak) Object.assign(region, { peak: value, peakX: x, peakY: y });
    const right = Math.max(region.x + region.width, x + 1);
    region.area++;
    region.x = Math.min(region.x, x);
    region.width = right - region.x;
    region.height = y - region.y + 1;
  });
  return { peak, regions: regions.filter(({ area }) => area >= minArea).sort((a, b) => b.peak - a.peak) };
}

/** Where to cut `height` rows into strips: the first row of each, and the end. */
export function randomCuts(height: number, next: () => number): number[] {
  const share = next();
  return [0, ...Array.from({ length: height - 1 }, (_, i) => i + 1).filter(() => next() < share), height];
}
