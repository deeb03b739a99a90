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
  const { backbone, backboneWeights } = asked;
  const own = { backbone: packaged.architecture, backboneWeights: "distilled" } as const;
  if (backbone !== undefined) return { backbone, backboneWeights, reason: null };
  if (backboneWeights === "distilled") return { ...own, reason: null };
  const paper: BackboneChoice = { backbone: paperBackbone, backboneWeights, reason: null };
  if (backboneWeights !== "auto") return paper;
  const reason = `no trained weights of the paper's ${paperBackbone} on this machine; 'supersimplenet weights pull ${paperBackbone}' gets them`;
  const here = before === undefined ? cachedWeights(paperBackbone) !== undefined : before !== packaged.architecture;
  return here ? paper : { ...own, reason };
}
