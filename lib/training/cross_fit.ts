import type { CalibrationImage } from "../calibration/images.js";
import type { Sample } from "../datasets/dataset.js";
import { readFold, writeFold } from "./checkpoint.js";
import type { FitCall, TrainingPlan } from "./plan.js";
import { trainEpochs } from "./loop.js";
import { mapsKept, scoreImages, withMask } from "./score.js";
import type { Session } from "./session.js";

/**
 * Scores every image that is in a fold by heads trained on the others, in the order of plan.calibration. Each fold is a
 * training of its own from the same first heads, on the features that are cached. With `out`, the scores of a fold that
 * is done lie there, and a training that is resumed does not repeat it.
 */
export async function crossFit(plan: TrainingPlan, session: Session, call: FitCall): Promise<CalibrationImage[]> {
  const { folds, fit, settings, fingerprint } = plan;
  const { out } = call.options;
  const progress = progressOf(plan, session, call);
  const images: CalibrationImage[] = [];
  for (const [i, held] of folds.entries()) {
    const fold = i + 1;
    const samples = held.map((place) => fit[place]!);
    const kept = out === undefined ? undefined : await keptFold(out, fold, samples, plan);
    if (kept) {
      progress.skip(held);
      images.push(...kept);
      continue;
    }
    await session.startOver(held);
    await trainEpochs(session, { onStep: () => progress.step(fold) });
    const { heads } = await session.native.state();
    const before = images.length;
    const scored = await scoreImages(plan, heads, samples, call, (done) => progress.scored(fold, before + done));
    if (out !== undefined) await writeFold(out, fold, scored, settings.imageSize, fingerprint);
    images.push(...scored);
  }
  return images;
}

/** How many times as long a training with these folds takes as one without, by the images that their steps see. */
export function timeFactor(session: Session, folds: TrainingPlan["folds"]): number {
  const inFolds = folds.reduce((sum, held) => sum + session.imagesPerEpoch(held), 0);
  return 1 + inFolds / session.imagesPerEpoch();
}

async function keptFold(
  out: string,
  fold: number,
  samples: readonly Sample[],
  plan: TrainingPlan,
): Promise<CalibrationImage[] | undefined> {
  const kept = mapsKept(plan.calibration);
  const withMaps = samples.map((sample) => kept.has(sample));
  const scored = await readFold(out, fold, withMaps, plan.settings.imageSize, plan.fingerprint);
  return scored && Promise.all(scored.map((image, i) => withMask(samples[i]!, image, plan)));
}

/** Tells the stages which fold is at work, and how much of all folds is done. */
function progressOf(
  { folds, calibration }: TrainingPlan,
  session: Session,
  { stages }: FitCall,
): { step(fold: number): void; skip(held: readonly number[]): void; scored(fold: number, done: number): void } {
  const total = folds.reduce((sum, held) => sum + session.stepsInAll(held), 0);
  let done = 0;
  return {
    step: (fold) => stages.report("crossFit", ++done, total, { fold, folds: folds.length }),
    skip: (held) => void (done += session.stepsInAll(held)),
    scored: (fold, images) => stages.report("calibrate", images, calibration.length, { fold, folds: folds.length }),
  };
}
