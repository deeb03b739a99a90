import type { Architecture } from "../native/binding.js";
import { paperBackbone } from "../schema/common.js";
import { cachedWeights, packaged } from "./catalogue.js";

/** A backbone and whose weights it gets, as loadBackbone takes them. */
export interface BackboneChoice {
  backbone: Architecture;
  backboneWeights: string;
  /** Why it is not the paper's backbone, where nobody asked for another one. */
  reason: string | null;
}

/**
 * The backbone of a training. Where neither it nor its weights are named, it is the paper's if its trained weights are on
 * this machine, else the package's own. `before`: the architecture of the training that is resumed, which stays, whatever
 * was downloaded since.
 */
export function chooseBackbone(
  asked: { backbone?: Architecture | undefined; backboneWeights: string },
  before?: string,
): BackboneChoice {
  const { backbone = backboneOf(asked.backboneWeights), backboneWeights } = asked;
  if (isNamed(asked)) return { backbone, backboneWeights, reason: null };
  if (before === undefined ? cachedWeights(paperBackbone) !== undefined : before !== packaged.architecture)
    return { backbone, backboneWeights, reason: null };
  const reason =
    before === undefined
      ? `no trained weights of the paper's ${paperBackbone} on this machine; 'weights pull ${paperBackbone}' gets them`
      : "as the training that is resumed";
  return { backbone: packaged.architecture, backboneWeights: "distilled", reason };
}

/** Whether the caller says which backbone it is, by its name or by its weights. */
export const isNamed = ({
  backbone,
  backboneWeights,
}: {
  backbone?: string | undefined;
  backboneWeights: string;
}): boolean => backbone !== undefined || backboneWeights !== "auto";

/** The architecture of weights that are named without one. */
export const backboneOf = (weights: string | undefined): Architecture =>
  weights === "distilled" ? packaged.architecture : paperBackbone;
