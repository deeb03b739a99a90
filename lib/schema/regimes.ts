/**
 * How much is labelled. `unsupervised`: only normal images; `weak`: image labels; `mixed`: image labels, and masks for
 * some of the anomalous images; `full`: a mask for every anomalous image.
 */
export type Regime = (typeof regimes)[number];

export const regimes = ["unsupervised", "weak", "mixed", "full"] as const;
