import type { CalibrationImage } from "./images.js";

/** A value of an image's evidence. */
interface Ranked {
  value: number;
  anomalous: boolean;
}

/** Where a threshold splits the images best. `value` is the lowest evidence at or above it; Infinity: none is. */
interface Cut {
  f1: number;
  value: number;
}

/** Images that another threshold has caught already, and all that are anomalous. */
interface Beside {
  found: number;
  rejected: number;
  anomalous: number;
}

/** The best cut of images in descending order; of equal ones the highest. */
function bestCut(descending: readonly Ranked[], { found, rejected, anomalous }: Beside): Cut {
  const f1 = (): number => (2 * found) / (found + rejected + anomalous);
  let best: Cut = { f1: f1(), value: Infinity };
  descending.forEach((image, i) => {
    if (image.anomalous) found++;
    else rejected++;
    if (descending[i + 1]?.value === image.value) return;
    const now = f1();
    if (now > best.f1) best = { f1: now, value: image.value };
  });
  return best;
}

const descendingBy = <T extends CalibrationImage>(images: readonly T[], of: (image: T) => number): T[] =>
  [...images].sort((a, b) => of(b) - of(a));

const countAnomalous = (images: readonly CalibrationImage[]): number =>
  images.filter((image) => image.anomalous).length;

/** The threshold of the highest F1, half way down to the next lower value. `images` hold a defect. */
export function bestF1(images: readonly CalibrationImage[], of: (image: CalibrationImage) => number): number {
  const ranked = descendingBy(images, of).map((image) => ({ value: of(image), anomalous: image.anomalous }));
  const { value } = bestCut(ranked, { found: 0, rejected: 0, anomalous: countAnomalous(images) });
  return halfWayDown(value, images.map(of));
}

/**
 * The same for two thresholds, of which an image has to reach one: the best pair of all. Of a source that finds nothing by
 * itself the threshold lies one logit above every image.
 */
export function bestF1OfEither(images: readonly CalibrationImage[]): { score: number; map: number } {
  const anomalous = countAnomalous(images);
  const ofDefects = new Set(images.filter((image) => image.anomalous).map(({ logit }) => logit));
  const byScore = descendingBy(images, ({ logit }) => logit);
  const byPeak = descendingBy(images, ({ peak }) => peak);
  let best = { f1: -1, score: Infinity, map: Infinity };
  let [found, rejected] = [0, 0];
  const tryScore = (score: number): void => {
    const rest = byPeak.filter(({ logit }) => logit < score);
    const ranked = rest.map((image) => ({ value: image.peak, anomalous: image.anomalous }));
    const { f1, value } = bestCut(ranked, { found, rejected, anomalous });
    if (f1 > best.f1) best = { f1, score, map: value };
  };
  tryScore(Infinity);
  byScore.forEach((image, i) => {
    if (image.anomalous) found++;
    else rejected++;
    if (byScore[i + 1]?.logit === image.logit) return;
    // A threshold at a good part that is lower than the last defect only rejects one more.
    if (ofDefects.has(image.logit)) tryScore(image.logit);
  });
  return {
    score: halfWayDown(
      best.score,
      images.map(({ logit }) => logit),
    ),
    map: halfWayDown(
      best.map,
      images.map(({ peak }) => peak),
    ),
  };
}

function halfWayDown(value: number, values: readonly number[]): number {
  if (value === Infinity) return values.reduce((a, b) => Math.max(a, b)) + 1;
  const below = values.reduce((highest, other) => (other < value ? Math.max(highest, other) : highest), -Infinity);
  if (below === -Infinity) return value;
  const middle = (value + below) / 2;
  return middle > below ? middle : value;
}
