import { reaches } from "../calibration/images.js";
import { calibrateThresholds } from "../calibration/thresholds.js";
import { defaultThresholds, type Thresholds } from "../models/config.js";
import type { TensorMap } from "../native/binding.js";
import { crossFit } from "./cross_fit.js";
import { type Init, inheritedThresholds } from "./init.js";
import type { FitCall, TrainingPlan } from "./plan.js";
import { scoreImages } from "./score.js";
import type { Session } from "./session.js";

/**
 * Sets the thresholds on images that the heads that score them were not trained on; the first rank does, for all. The
 * session trains the folds' heads, so that `heads` must have been taken out of it before. Thresholds of a model that the
 * training began with stay.
 */
export async function calibrate(
  plan: TrainingPlan,
  heads: TensorMap,
  session: Session,
  call: FitCall,
): Promise<Thresholds> {
  const { ranks } = call;
  if (!plan.init && plan.calibration.length === 0) return { ...defaultThresholds };
  const { init } = plan;
  const work = (): Promise<Thresholds> =>
    init ? inherit(plan, init, heads, call) : calibrateHere(plan, heads, session, call);
  const own = (ranks?.first ?? true) ? await work() : undefined;
  return ranks ? ranks.fromFirst(own) : own!;
}

/** So many good images show whether the scores have shifted. */
const shiftImages = 100;
/** Images that were trained on score lower than others: of these, far fewer should be rejected than of new ones. */
const mostRejected = 0.05;

/** The thresholds of the model that the training began with, and a warning where they no longer fit the scores. */
async function inherit(plan: TrainingPlan, init: Init, heads: TensorMap, call: FitCall): Promise<Thresholds> {
  const thresholds = inheritedThresholds(init);
  const { calibration } = thresholds;
  if (!calibration) return thresholds;
  const good = plan.fit.filter(({ label }) => label === "normal").slice(0, shiftImages);
  const scored = await scoreImages(plan, heads, good, call, (done) =>
    call.stages.report("calibrate", done, good.length),
  );
  const { decision, scoreLogit, mapLogit } = thresholds;
  const rejected = scored.filter((image) => reaches(image, decision, { score: scoreLogit, map: mapLogit })).length;
  if (rejected <= mostRejected * good.length) return thresholds;
  const warning = `The scores have shifted: ${rejected} of ${good.length} good training images reach the thresholds of ${init.name}. Do not use them before they are set on good parts that the model has not seen: 'supersimplenet calibrate'.`;
  return { ...thresholds, calibration: { ...calibration, warnings: [warning] } };
}

async function calibrateHere(
  plan: TrainingPlan,
  heads: TensorMap,
  session: Session,
  call: FitCall,
): Promise<Thresholds> {
  const { folds, calibration } = plan;
  const { falseRejectRate, decision, objective, missRate } = plan.settings.calibration;
  const [height, width] = plan.settings.imageSize;
  const total = calibration.length;
  const images =
    folds.length > 0
      ? await crossFit(plan, session, call)
      : await scoreImages(plan, heads, calibration, call, (done) => call.stages.report("calibrate", done, total));
  return calibrateThresholds(
    images,
    { height, width },
    {
      method: folds.length > 0 ? "crossFit" : "holdOut",
      folds: folds.length > 0 ? folds.length : null,
      falseRejectRate,
      decision,
      objective,
      missRate,
    },
  );
}
