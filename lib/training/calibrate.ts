import { calibrateThresholds } from "../calibration/thresholds.js";
import { defaultThresholds, type Thresholds } from "../models/config.js";
import type { TensorMap } from "../native/binding.js";
import { crossFit } from "./cross_fit.js";
import { inheritedThresholds } from "./init.js";
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
  // Files with the same heads may have other thresholds.
  if (plan.init) return ranks ? ranks.fromFirst(inheritedThresholds(plan.init)) : inheritedThresholds(plan.init);
  if (plan.calibration.length === 0) return { ...defaultThresholds };
  const own = (ranks?.first ?? true) ? await calibrateHere(plan, heads, session, call) : undefined;
  return ranks ? ranks.fromFirst(own) : own!;
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
