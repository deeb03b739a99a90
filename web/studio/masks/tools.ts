import { maskTexts as texts } from "../texts.js";

export type Tool = "brush" | "eraser" | "polygon" | "fill";

export const tools: readonly { tool: Tool; key: string; name: string }[] = [
  { tool: "brush", key: "B", name: texts.brush },
  { tool: "eraser", key: "E", name: texts.eraser },
  { tool: "polygon", key: "P", name: texts.polygon },
  { tool: "fill", key: "F", name: texts.fill },
];

/** Widths of the brush in the image's pixels: fine steps for small ones. */
export const sizes = [
  1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512,
] as const;

/** The step of a brush that suits the image: a hundredth of its longer side. */
export function firstSize(side: number): number {
  const step = sizes.findIndex((size) => size >= side / 100);
  return step < 0 ? sizes.length - 1 : step;
}
