import path from "node:path";

import { z } from "zod";

import { describeDrift } from "../calibration/describe.js";
import type { Drift } from "../calibration/drift_watch.js";
import { recordOf } from "../detection/record.js";
import type { Detection } from "../detection/types.js";
import { hasCode, option as flagOf, SuperSimpleNetError, text } from "../errors.js";
import { firstOf } from "../datasets/listing.js";
import { ImageWarnings } from "../images/warnings.js";
import type { ColourRange } from "../report/colours.js";
import { mapSuffixes, overlaySuffix, pictureNames } from "../report/names.js";
import { detectorOptions } from "../schema/detection.js";
import { option } from "../schema/option.js";
import { probeFolder, writeWholeFile } from "../write.js";
import { describeModel } from "../models/describe.js";
import { command, interruptible, wrongUsage } from "./command.js";
import { refuseInDataset, refuseInputs, withoutEmptyFolders } from "./guards.js";
import { imageFiles, type Skipped, tellSkipped } from "./images.js";
import { warnIfUntrained, withDetector } from "./models.js";
import * as rows from "./options.js";
import { resultLine } from "./results.js";
import { errorDocument, output, printable } from "./output.js";
import { checkFlagged, closeFlagged, openFlagged, type OutputFlags, outputFlags, splitOutputFlags } from "./outputs.js";

const options = z.strictObject({
  model: rows.modelFile,
  maps: rows.output("DIR", "Write the anomaly map of every image to this folder."),
  mapFormat: option(z.enum(["png", "npy"]).default("png"), {
    help: "Format of the maps: png is a heat map, npy holds float32 logits at the model's input size.",
  }),
  overlays: rows.output("DIR", "Draw a picture of every image in this folder: image, heat map and contour."),
  drift: option(z.boolean().default(false), {
    help: "Say whether the scores are those of the good parts that the thresholds were set on, or camera and light have changed.",
    switch: true,
  }),
  ...outputFlags,
  ...detectorOptions.omit({ heads: true }).shape,
});

type Options = z.input<typeof options>;

export const predict = command({
  name: "predict",
  description:
    "Prints the score, the decision and the regions of every image. A folder stands for all images in it and below; hidden ones, and the pictures that predict writes, are left out. An image that cannot be read is reported, the others go on, and the exit code is 1.",
  positionals: { usage: "IMAGE...", min: 1, what: "IMAGE (a file or a folder)" },
  options,
  examples: [
    "supersimplenet predict --model model.safetensors part.png",
    "supersimplenet predict --model model.safetensors photos/ --json --maps maps --map-format npy",
    "supersimplenet predict --model model.safetensors photos/ --to csv:results --to webhook:https://mes.example/parts",
  ],
  async run(flags, images) {
    const folders = [flags.maps, flags.overlays].filter((folder) => folder !== undefined);
    output.worksOn = folders.length > 0 || flags.to !== undefined;
    return withoutEmptyFolders(folders, async () => {
      const plan = await planPrediction(flags, images);
      return interruptible((signal) => detectAll(plan, signal));
    });
  },
});

/** What is read and what is written. */
interface Plan {
  model: string;
  settings: Omit<Options, "model" | "maps" | "mapFormat" | "overlays" | "drift" | keyof OutputFlags>;
  outputs: OutputFlags;
  drift: boolean;
  files: string[];
  skipped: Skipped[];
  format: "png" | "npy";
  /** The files to write, one per image, or none. */
  maps: string[];
  overlays: string[];
}

async function planPrediction(flags: Options, images: readonly string[]): Promise<Plan> {
  const { outputs, others } = splitOutputFlags(flags);
  await checkFlagged(outputs);
  const { model, maps: mapFolder, mapFormat, overlays: overlayFolder, drift = false, ...settings } = others;
  if (mapFormat !== undefined && mapFolder === undefined)
    throw wrongUsage(text`${flagOf("mapFormat")} needs ${flagOf("maps")} DIR.`, { option: "mapFormat" });
  if (mapFolder !== undefined) refuseInDataset("maps", mapFolder);
  if (overlayFolder !== undefined) refuseInDataset("overlays", overlayFolder);
  const { files, skipped } = await imageFiles(images);
  const format = options.shape.mapFormat.parse(mapFormat);
  const maps = picturesIn(mapFolder, files, mapSuffixes[format]);
  const overlays = picturesIn(overlayFolder, files, overlaySuffix);
  const inputs = [...files, model, settings.backboneWeights];
  refuseInputs("maps", maps, inputs);
  refuseInputs("overlays", overlays, inputs);
  for (const folder of [mapFolder, overlayFolder]) if (folder !== undefined) await probeFolder(folder);
  return { model: path.resolve(model), settings, outputs, drift, files, skipped, format, maps, overlays };
}

/** The picture of every image in a folder. */
function picturesIn(folder: string | undefined, files: readonly string[], suffix: string): string[] {
  if (folder === undefined) return [];
  const names = files.map((file) => path.relative(process.cwd(), path.resolve(file)));
  return pictureNames(names, suffix).map((name) => path.join(folder, name));
}

async function detectAll(plan: Plan, signal: AbortSignal): Promise<number> {
  const { model, settings, files, skipped } = plan;
  await tellSkipped(skipped);
  const { networkSettings } = await import("../models/config.js");
  const { Detector } = await import("../detection/detector.js");
  return withDetector(Detector.load(model, settings), async (detector) => {
    const { config } = detector.model;
    warnIfUntrained(config.backbone);
    const pictures = await pictureWriter(plan, {
      pixelThreshold: settings.pixelThreshold ?? config.thresholds.pixelLogit,
      bitDepth: networkSettings(config).bitDepth,
    });
    const { resultsOf } = await import("../outputs/result.js");
    const resultOf = plan.outputs.to && (await resultsOf(detector.model, path.basename(model)));
    const places = await openFlagged(plan.outputs);
    const images: Record<string, unknown>[] = [];
    const doubts = new ImageWarnings();
    const tellDoubts = (): void => doubts.texts(firstOf).forEach((doubt) => output.warn(doubt));
    output.finished = { model: describeModel(model, config), images, skipped };
    // Both come in the order of the files.
    const told = (image: Record<string, unknown>): void => {
      images.push(image);
      output.progress(`${images.length}/${files.length}`);
    };
    const onUnreadable = (error: SuperSimpleNetError): void => told(reportedError(files[images.length]!, error));
    try {
      for await (const detection of detector.detectEach(files, { signal, onUnreadable })) {
        const file = files[images.length]!;
        told(await reported(file, detection, pictures, images.length));
        doubts.add(printable(file), detection.warnings);
        void places?.write(resultOf!(detection, { path: file })); // what becomes of it is told at the end
      }
    } catch (error) {
      // What was reported gets its pictures all the same. If that fails too, the first error still says why the run ended.
      await pictures.finish().catch((second: unknown) => output.warn((second as Error).message));
      await closeFlagged(places);
      tellDoubts();
      throw hasCode(error, "ABORTED")
        ? error.with(() => `Interrupted after ${images.length} of ${files.length} images.`)
        : error;
    }
    await pictures.finish().finally(() => closeFlagged(places));
    output.done();
    tellDoubts();
    if (plan.drift) tellDrift(detector.drift());
    return tellSum(images, skipped);
  });
}

/** The result of an image as JSON holds it; people read it at once, and its pictures are drawn. */
async function reported(
  file: string,
  detection: Detection,
  pictures: PictureWriter,
  index: number,
): Promise<Record<string, unknown>> {
  const image: Record<string, unknown> = { ...recordOf(detection, { path: file }) };
  await pictures.add(index, image, file, detection);
  output.result(resultLine(file, detection));
  return image;
}

/** The same of an image that cannot be read. */
function reportedError(file: string, error: SuperSimpleNetError): Record<string, unknown> {
  const { code, message } = errorDocument(error) as { code: string; message: string };
  output.log(`error [${code}] ${message.replaceAll(file, printable(file))}`);
  return { path: file, error: { code, message } };
}

/** How the scores compare with those of the calibration: one line, and a field of the JSON document. */
function tellDrift(drift: Drift): void {
  output.finished = { ...output.finished, drift };
  if (drift.verdict === "changed") output.warn(describeDrift(drift));
  else output.log(describeDrift(drift));
}

function tellSum(images: readonly Record<string, unknown>[], skipped: readonly Skipped[]): number {
  const failed = images.filter((image) => "error" in image).length;
  const anomalous = images.filter((image) => image["anomalous"] === true).length;
  const unsure = images.filter((image) => image["verdict"] === "unsure").length;
  const unread = skipped.filter(({ reason }) => reason !== "picture").length;
  const others = `${failed > 0 ? `; ${failed} could not be read` : ""}${unread > 0 ? `; ${unread} skipped` : ""}`;
  const between = unsure > 0 ? `, ${unsure} unsure` : "";
  if (images.length + unread > 1)
    output.log(`${anomalous} of ${images.length - failed} images anomalous${between}${others}`);
  output.document(output.finished);
  return failed > 0 ? 1 : 0;
}

interface PictureWriter {
  /** Draws for image number `index`; `image` is told the names of the files when they are written. */
  add(index: number, image: Record<string, unknown>, file: string, detection: Detection): Promise<void>;
  finish(): Promise<void>;
}

async function pictureWriter(
  { maps, format, overlays }: Plan,
  { pixelThreshold, bitDepth }: { pixelThreshold: number; bitDepth: number },
): Promise<PictureWriter> {
  const { ColourScale } = await import("../report/colours.js");
  const { heatMapPng, overlayPng } = await import("../report/overlay.js");
  const { npyFile } = await import("../report/npy.js");
  const { pictureMap } = await import("../report/reduce.js");
  const { decodeImage } = await import("../images/decode.js");
  const scale = new ColourScale(pixelThreshold);
  return {
    async add(index, image, file, detection) {
      const [map, overlay] = [maps[index], overlays[index]];
      const { data, width, height } = detection.map;
      const write = async (key: "map" | "overlay", to: string, content: Uint8Array): Promise<void> => {
        await writeWholeFile(to, content);
        image[key] = to;
      };
      if (map !== undefined && format === "npy") await write("map", map, npyFile(data, [height, width]));
      const heatMap = format === "png" ? map : undefined;
      if (heatMap === undefined && overlay === undefined) return;
      const drawn = { ...detection, map: await pictureMap(detection.map) };
      // A heat map has all values.
      const whole = heatMap === undefined ? undefined : detection.map;
      const draw = async (range: ColourRange): Promise<void> => {
        if (heatMap !== undefined) await write("map", heatMap, await heatMapPng(whole!, range));
        if (overlay === undefined) return;
        const input = { image: await decodeImage(file, { bitDepth }), detection: drawn, title: file };
        await write("overlay", overlay, await overlayPng(input, range));
      };
      await scale.add(drawn.map.data, draw, whole?.data.length);
    },
    finish: async () => void (await scale.finish()),
  };
}
