import { leastNormals } from "../datasets/calibration.js";
import { call, command, invalid, option, shown, SuperSimpleNetError, text } from "../errors.js";
import type { CalibrationGroup } from "../schema/types.js";

/** From this many good images on, holding out a tenth of them costs little. */
const manyNormals = 200;
/** The same of images with defects. */
const manyAnomalous = 100;
const fewNormals = 50;
const defaultFraction = 0.1;

const where = "new Trainer";

/** Throws INVALID_OPTION for options of the calibration that exclude each other. */
export function checkCalibration(calibration: CalibrationGroup): void {
  const { method, folds, fraction } = calibration;
  if (method === "none" || fraction === 0) {
    const { falseRejectRate, objective, missRate, decision } = calibration;
    const asked = Object.entries({ falseRejectRate, objective, missRate, decision });
    const [name] = asked.find(([, value]) => value !== undefined) ?? [];
    if (name !== undefined) throw excluding(name, method === "none" ? "method" : "fraction");
  }
  if (fraction !== undefined && folds !== undefined) throw excluding("folds", "fraction");
  if (fraction !== undefined && (method === "crossFit" || (method === "none" && fraction > 0)))
    throw excluding("method", "fraction");
  if (method === "holdOut" && fraction === 0)
    throw invalid(where, "calibration.fraction", "a number above 0 where images are held out", fraction);
  if (folds !== undefined && (method === "holdOut" || method === "none")) throw excluding("method", "folds");
}

function excluding(one: string, other: string): SuperSimpleNetError {
  const [first, second] = [option(`calibration.${one}`), option(`calibration.${other}`)];
  const what = text`${where}: ${first} and ${second} do not fit together.`;
  const fix = text`Leave one of them away.`;
  return new SuperSimpleNetError("INVALID_OPTION", what, { option: `calibration.${other}`, fix });
}

/**
 * Throws INVALID_OPTION for what sets thresholds in a training that begins with a model's heads. They have seen the images
 * of the training before, and images that were added because the model was wrong on them are no fair sample: thresholds
 * set on either would promise too much.
 */
export function refuseCalibration({ method, fraction, falseRejectRate, ...others }: CalibrationGroup): void {
  const { folds, objective, missRate, decision } = others;
  const asked = {
    method: method === "auto" || method === "none" ? undefined : method,
    folds,
    fraction: fraction === 0 ? undefined : fraction,
    falseRejectRate,
    objective,
    missRate,
    decision,
  };
  const found = Object.entries(asked).find(([, value]) => value !== undefined);
  if (!found) return;
  const [name, value] = [`calibration.${found[0]}`, found[1]];
  const what = text`${call(where)}: ${option(name)} is ${shown(value)}, but with ${option("init")} the thresholds stay those of its model.`;
  const fix = text`Leave ${option(name)} away, train, then set thresholds on good parts that the model has not seen: ${command("calibrate")}.`;
  throw new SuperSimpleNetError("INVALID_OPTION", what, { option: name, value, fix });
}

/** What is settled of a calibration when the images are known. */
export interface SettledCalibration extends CalibrationGroup {
  method: "crossFit" | "holdOut" | "none";
}

/** The training images that a calibration can use. */
export interface CalibrationCounts {
  normal: number;
  anomalous: number;
  /** Processes that train together. */
  processes: number;
}

/**
 * Settles how the thresholds are set. Cross-fitting where images are few: with fewer than 200 good ones, or with defects
 * of which there are fewer than 100. Several processes hold images out. Warnings say what is not as it was asked for.
 * Throws INVALID_OPTION for more folds than good images, and for cross-fitting that is asked of several processes.
 */
export function settleCalibration<Asked extends CalibrationGroup>(
  asked: Asked,
  { normal, anomalous, processes }: CalibrationCounts,
): { calibration: Asked & SettledCalibration; warnings: string[] } {
  const { method, fraction } = asked;
  const settled = (
    own: Pick<SettledCalibration, "method" | "folds" | "fraction">,
    ...warnings: string[]
  ): ReturnType<typeof settleCalibration<Asked>> => ({ calibration: { ...asked, ...own }, warnings });
  if (method === "none" || fraction === 0) return settled({ method: "none" });
  if (method === "holdOut" || fraction !== undefined)
    return settled({ method: "holdOut", fraction: fraction ?? defaultFraction });

  const wanted = method === "crossFit" || asked.folds !== undefined;
  if (processes > 1) {
    if (wanted)
      throw invalid(where, "calibration.method", "'holdOut' or 'none' where several processes train together", method);
    return settled({ method: "holdOut", fraction: defaultFraction });
  }
  if (normal < leastNormals)
    return settled(
      { method: "none" },
      `${normal} normal training images are too few to set thresholds on; ${leastNormals} are needed. The thresholds stay at 0.5: give thresholds of your own when detecting.`,
    );
  const many = normal >= manyNormals && (anomalous === 0 || anomalous >= manyAnomalous);
  if (!wanted && many) return settled({ method: "holdOut", fraction: defaultFraction });
  const folds = asked.folds ?? (normal < fewNormals ? Math.min(5, normal) : 3);
  if (folds > normal)
    throw invalid(where, "calibration.folds", `at most ${normal}, the number of good training images,`, folds);
  return settled({ method: "crossFit", folds });
}
