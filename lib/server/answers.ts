import { z } from "zod";

import { type DetectionRecord, recordOf } from "../detection/record.js";
import type { Detection, ImageSource } from "../detection/types.js";
import { decodeImage, type DecodeOptions } from "../images/decode.js";
import { colourRange } from "../report/colours.js";
import { npyFile } from "../report/npy.js";
import { heatMapPng, overlayPng } from "../report/overlay.js";
import type { DetectQuery } from "../schema/server.js";

const picture = z.strictObject({
  mediaType: z.enum(["image/png", "application/octet-stream"]).describe("application/octet-stream: a .npy file."),
  base64: z.string().describe("The file's bytes."),
});

const region = z.strictObject({
  area: z.int().describe("Pixels of the image."),
  peak: z.number().describe("Highest logit."),
  x: z.int(),
  y: z.int(),
  width: z.int(),
  height: z.int(),
  peakX: z.int(),
  peakY: z.int(),
});

const source = z.enum(["score", "map"]);
const ms = z.number().min(0);

/** An image's answer: what 'predict --json' prints of it, with `id` in the place of `path`. Also the OpenAPI document's. */
export const imageAnswer = z.strictObject({
  id: z.string().describe("What the request called the image."),
  score: z.number().describe("0 to 1."),
  logit: z.number().describe("The score before the sigmoid."),
  peak: z.number().describe("The anomaly map's maximum, a logit."),
  scales: z
    .array(z.strictObject({ scale: z.union([z.number(), z.literal("whole")]), logit: z.number() }))
    .optional()
    .describe("Where the model sees several scales: the highest score of each."),
  verdict: z.enum(["good", "unsure", "defect"]),
  anomalous: z.boolean().describe("Whether the verdict is defect."),
  decidedBy: z.array(source).describe("What reached the threshold of the verdict."),
  margin: z.number().describe("Distance to the threshold in standard deviations of the good parts."),
  threshold: z.number().nullable().describe("Of the score."),
  mapThreshold: z.number().nullable().describe("Of the peak."),
  pixelThreshold: z.number().describe("Of a pixel of the map."),
  regions: z.array(region).describe("Highest peak first, in pixels of the image."),
  width: z.int().describe("Of the image in pixels."),
  height: z.int().describe("Of the image in pixels."),
  warnings: z.array(z.string()).describe("What is doubtful about the image."),
  timings: z.strictObject({ decodeMs: ms, engineMs: ms, postMs: ms, totalMs: ms }),
  map: picture.optional().describe("With map=png or map=npy."),
  overlay: picture.optional().describe("With overlay=1."),
});

export const errorAnswer = z.strictObject({
  code: z.string().describe("Stable."),
  message: z.string().describe("What was wrong, and what to do."),
});

/** Of several images in one request, an image without a verdict. */
export const failedImage = z.strictObject({ id: z.string(), error: errorAnswer });

interface Picture {
  mediaType: "image/png" | "application/octet-stream";
  base64: string;
}

export interface ImageAnswer extends DetectionRecord {
  map?: Picture;
  overlay?: Picture;
}

const png = (bytes: Buffer): Picture => ({ mediaType: "image/png", base64: bytes.toString("base64") });

/** The answer of one image, with the pictures that were asked for. */
export async function answerOf(
  detection: Detection,
  id: string,
  { map, overlay }: DetectQuery,
  image: ImageSource,
  decoding: DecodeOptions,
): Promise<ImageAnswer> {
  const answer: ImageAnswer = recordOf(detection, { id });
  const { data, width, height } = detection.map;
  if (map === "npy")
    answer.map = {
      mediaType: "application/octet-stream",
      base64: npyFile(data, [height, width]).toString("base64"),
    };
  if (map !== "png" && overlay === "0") return answer;
  const range = colourRange([data], detection.pixelThreshold);
  if (map === "png") answer.map = png(await heatMapPng(detection.map, range));
  if (overlay === "1") {
    const input = { image: await decodeImage(image, decoding), detection, title: id };
    answer.overlay = png(await overlayPng(input, range));
  }
  return answer;
}
