import type { StudioCounts } from "./types.js";

/** Good parts that make a useful model, about. */
const fewGood = 20;
/** Test images of a class below which a share says little. */
const fewTests = 10;

const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** What is missing before a training, and what the next labels would buy: the most urgent first. */
export function adviceFor(counts: StudioCounts): string[] {
  const { unlabelled, trainGood, trainDefect, trainMasks, testGood, testDefect } = counts;
  const advice: string[] = [];
  if (trainGood < 2)
    advice.push(
      unlabelled === 0 && trainGood === 0
        ? "Drop images of good parts here: some dozens make a useful model."
        : `Label good parts: a training needs 2 at least, and ${fewGood} or more make a useful model.`,
    );
  else if (trainGood < fewGood)
    advice.push(`Only ${counted(trainGood, "good part")} to train on: ${fewGood} or more make a useful model.`);
  if (trainGood >= 2) advice.push(whatLabelsBuy(trainDefect, trainMasks));
  if (testGood === 0 || testDefect === 0)
    advice.push(
      "Put some good parts and some defects into the test images: only they show what a model is worth. None of them is trained on.",
    );
  else if (Math.min(testGood, testDefect) < fewTests)
    advice.push(
      `With ${counted(testGood, "good part")} and ${counted(testDefect, "defect")} to test on, shares are known roughly; ${fewTests} of each say more.`,
    );
  return advice;
}

function whatLabelsBuy(defects: number, masks: number): string {
  if (defects === 0) return "One defect labelled for training: the model learns from labels too (weak).";
  if (masks === 0) return "One mask drawn on a defect: the model learns where defects are (mixed).";
  const open = defects - masks;
  if (open > 0) return `${counted(open, "mask")} more: every defect is known to the pixel (full).`;
  return "Every defect has a mask (full). More defects of rare kinds help most.";
}
