import type { ReportImage } from "./types.js";

/** Whether the image lies on the wrong side of a threshold. */
export const isMistake = ({ value, label }: ReportImage, threshold: number): boolean =>
  value >= threshold !== (label === "anomalous");

/** What a reader wants to see first: missed defects, good parts rejected, each the worst first, then what is nearest to the threshold. */
export function byInterest(images: readonly ReportImage[], threshold: number): ReportImage[] {
  const distance = ({ value }: ReportImage): number => Math.abs(value - threshold);
  const rank = (image: ReportImage): number => (!isMistake(image, threshold) ? 2 : image.label === "anomalous" ? 0 : 1);
  return [...images].sort((a, b) => {
    const order = rank(a) - rank(b);
    if (order !== 0) return order;
    return rank(a) === 2 ? distance(a) - distance(b) : distance(b) - distance(a);
  });
}
