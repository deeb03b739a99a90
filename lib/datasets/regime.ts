import { z } from "zod";

import { SuperSimpleNetError } from "../errors.js";
import { checkValue } from "../schema/check.js";
import { regimes } from "../schema/regimes.js";
import type { Dataset, Regime } from "./types.js";

/** The regime that the labels of the training split allow: masks count only there, for test masks serve evaluation. */
export function inferRegime(dataset: Dataset): Regime {
  const anomalous = dataset.samples.filter((sample) => sample.split === "train" && sample.label === "anomalous");
  if (anomalous.length === 0) return "unsupervised";
  const masked = anomalous.filter((sample) => sample.mask !== undefined).length;
  return masked === 0 ? "weak" : masked < anomalous.length ? "mixed" : "full";
}

/**
 * The data set as the given regime sees it. `unsupervised` drops the anomalous training images and `weak` their masks;
 * `mixed` needs at least one mask and `full` one for every anomalous training image. "auto" changes nothing. The test
 * split is never touched. Throws DATASET_INVALID when labels are missing.
 */
export function applyRegime(dataset: Dataset, regime: Regime | "auto"): Dataset {
  checkValue("applyRegime", "regime", z.enum(["auto", ...regimes]), regime);
  if (regime === "auto") return dataset;
  if (regime === "unsupervised") {
    return {
      ...dataset,
      samples: dataset.samples.filter((sample) => sample.split === "test" || sample.label === "normal"),
    };
  }

  const anomalous = dataset.samples.filter((sample) => sample.split === "train" && sample.label === "anomalous");
  const unmasked = anomalous.filter((sample) => sample.mask === undefined);
  const refuse = (missing: string): never => {
    const problem = `Regime '${regime}' is not possible: ${missing} These labels allow '${inferRegime(dataset)}'.`;
    throw new SuperSimpleNetError("DATASET_INVALID", `Data set ${dataset.root}: ${problem}`, {
      path: dataset.root,
      problems: [problem],
    });
  };
  if (anomalous.length === 0) refuse("it needs anomalous training images and there are none.");
  if (regime === "mixed" && unmasked.length === anomalous.length) {
    refuse(`it needs masks for some of the ${anomalous.length} anomalous training images and there are none.`);
  }
  if (regime === "full" && unmasked.length > 0) {
    const named = unmasked
      .slice(0, 5)
      .map((sample) => sample.id)
      .join(", ");
    refuse(
      `${unmasked.length} of ${anomalous.length} anomalous training images have no mask (${named}${unmasked.length > 5 ? ", ..." : ""}).`,
    );
  }
  if (regime !== "weak") return dataset;
  return {
    ...dataset,
    samples: dataset.samples.map((sample) =>
      sample.split === "train" && sample.mask !== undefined ? { ...sample, mask: undefined } : sample,
    ),
  };
}
