import type { DetectionRecord } from "../detection/record.js";
import { printable } from "./output.js";

const verdicts: Readonly<Record<DetectionRecord["verdict"], string>> = {
  defect: "DEFECT",
  unsure: "unsure",
  good: "good  ",
};

/** One line for people: verdict, score, image, and what explains the verdict. */
export function resultLine(
  file: string,
  {
    score,
    peak,
    verdict,
    decidedBy,
    regions,
  }: Pick<DetectionRecord, "score" | "peak" | "verdict" | "decidedBy" | "regions">,
): string {
  const [first] = regions;
  const where = first
    ? `  ${regions.length} region${regions.length === 1 ? "" : "s"}, strongest ${first.width}x${first.height} at ${first.x},${first.y}`
    : "";
  // The score alone would not explain it.
  const byMap = decidedBy.includes("map") ? `  map ${peak.toFixed(2)}` : "";
  return `${verdicts[verdict]}  ${score.toFixed(4)}  ${printable(file)}${byMap}${where}`;
}
