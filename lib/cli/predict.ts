import { stat } from "node:fs/promises";
import path from "node:path";

import { firstOf } from "../datasets/listing.js";
import type { Detector } from "../detection/detector.js";
import type { Detection } from "../detection/types.js";
import { SuperSimpleNetError } from "../errors.js";
import { isPictureName, mapSuffixes, overlaySuffix, pictureNames } from "../report/names.js";
import { makeFolder, writeWholeFile } from "../write.js";
import { interruptible } from "./interrupt.js";
import { choice, command, integer, text } from "./options.js";
import { output, printable } from "./output.js";
import { filesBelow, refuseInDataset, refuseInputs } from "./places.js";
import { describeModel, given, shared, warnIfUntrained, withDetector } from "./shared.js";

/** A file in a folder that was given, which was not looked at: its format is not read, or it is called like a picture that predict writes. */
interface Skipped {
  path: string;
  reason: "format" | "picture";
}

type Outcome = { file: string; detection: Detection } | { file: string; error: SuperSimpleNetError };

export const predict = command({
  name: "predict",
  summary: "find defects on images",
  description:
    "Prints score, decision and regions of every image. A folder stands for all images in it and below, hidden ones and the pictures that predict writes left out. An image that cannot be read is reported, the others go on, and the exit code is 1.",
  positionals: { usage: "IMAGE...", min: 1, what: "IMAGE (a file or a folder)" },
  options: {
    model: shared.model,
    threshold: shared.threshold,
    "pixel-threshold": shared.pixelThreshold,
    "min-area": integer("PX", "leave out regions with fewer pixels", { min: 0, default: 0 }),
    maps: text("DIR", "write the anomaly map of every image"),
    "map-format": choice(["png", "npy"], "png: a heat map, npy: float32 logits at the model's input size", {
      default: "png",
    }),
    overlays: text("DIR", "write one picture per image: image, heat map, contour"),
    "backbone-weights": shared.backboneWeights,
    device: shared.device,
    threads: shared.threads,
    batch: shared.batch,
    precision: shared.precision,
  },
  examples: [
    "supersimplenet predict --model model.safetensors part.png",
    "supersimplenet predict --model model.safetensors photos/ --json --maps maps --map-format npy",
  ],
  async run(values, positionals) {
    output.worksOn = values.maps !== undefined || values.overlays !== undefined;
    if (values["map-format"] !== undefined && values.maps === undefined)
      throw new SuperSimpleNetError("INVALID_OPTION", "predict: --map-format needs --maps DIR.");
    if (values.maps !== undefined) refuseInDataset("predict", "--maps", values.maps);
    if (values.overlays !== undefined) refuseInDataset("predict", "--overlays", values.overlays);
    const { files, skipped } = await imageFiles(positionals);
    const format = values["map-format"] ?? "png";
    const names = files.map((file) => path.relative(process.cwd(), path.resolve(file)));
    const inFolder = (folder: string | undefined, suffix: string): string[] =>
      folder === undefined ? [] : pictureNames(names, suffix).map((name) => path.join(folder, name));
    const maps = inFolder(values.maps, mapSuffixes[format]);
    const overlays = inFolder(values.overlays, overlaySuffix);
    const inputs = [...files, values.model, values["backbone-weights"]];
    refuseInputs("predict", "--maps", maps, inputs);
    refuseInputs("predict", "--overlays", overlays, inputs);
    for (const folder of [values.maps, values.overlays]) if (folder !== undefined) await makeFolder(folder);
    for (const { reason, text } of await explained(skipped)) reason === "format" ? output.warn(text) : output.log(text);
    const { Detector } = await import("../detection/detector.js");
    const model = path.resolve(values.model);
    const batchSize = values.batch ?? 8;
    const load = Detector.load(
      model,
      given({
        backboneWeights: values["backbone-weights"],
        device: values.device,
        threads: values.threads,
        batchSize,
        precision: values.precision,
        threshold: values.threshold,
        pixelThreshold: values["pixel-threshold"],
        minAreaPx: values["min-area"],
      }),
    );
    return interruptible(async (signal) =>
      withDetector(load, async (detector) => {
        const { config } = detector.model;
        warnIfUntrained(config.backbone);
        const pictures = await pictureWriter(
          maps,
          format,
          overlays,
          values["pixel-threshold"] ?? config.thresholds.pixelLogit,
        );
        const images: Record<string, unknown>[] = [];
        output.finished = { model: describeModel(model, config), images, skipped };
        let failed = 0;
        try {
          for await (const outcome of outcomes(detector, files, batchSize, signal)) {
            if ("error" in outcome) {
              const { code, message } = outcome.error;
              output.log(`error [${code}] ${message.replaceAll(outcome.file, printable(outcome.file))}`);
              images.push({ path: outcome.file, error: { code, message } });
              failed++;
            } else {
              const image = document(outcome.file, outcome.detection);
              await pictures.add(images.length, image, outcome.file, outcome.detection);
              output.result(line(outcome.file, outcome.detection));
              images.push(image);
            }
            output.progress(`${images.length}/${files.length}`);
          }
        } catch (error) {
          // What was reported gets its pictures all the same. If that fails too, the first error still says why the run ended.
          await pictures
            .finish()
            .catch((second: unknown) => output.warn(second instanceof Error ? second.message : String(second)));
          const interrupted = error instanceof SuperSimpleNetError && error.code === "ABORTED";
          throw interrupted
            ? new SuperSimpleNetError("ABORTED", `Interrupted after ${images.length} of ${files.length} images.`, {
                cause: error,
              })
            : error;
        }
        await pictures.finish();
        output.done();
        const anomalous = images.filter((image) => image["anomalous"] === true).length;
        const left = skipped.filter(({ reason }) => reason === "format").length;
        const others = `${failed > 0 ? `; ${failed} could not be read` : ""}${left > 0 ? `; ${left} skipped` : ""}`;
        if (files.length + left > 1) output.log(`${anomalous} of ${files.length - failed} images anomalous${others}`);
        output.document(output.finished);
        return failed > 0 ? 1 : 0;
      }),
    );
  },
});

/** Folders become the images below them, in natural order. */
async function imageFiles(given: string[]): Promise<{ files: string[]; skipped: Skipped[] }> {
  const { isImageFile, isUnsupportedImage } = await import("../images/decode.js");
  const files: string[] = [];
  const skipped: Skipped[] = [];
  for (const name of given) {
    // A missing file is one bad image among others; it is reported when its turn comes.
    const isFolder = await stat(name).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (!isFolder) {
      files.push(name);
      continue;
    }
    const before = { files: files.length, skipped: skipped.length };
    for (const file of await filesBelow(name)) {
      if (isPictureName(file)) skipped.push({ path: file, reason: "picture" });
      else if (isImageFile(file)) files.push(file);
      else if (isUnsupportedImage(file)) skipped.push({ path: file, reason: "format" });
    }
    if (files.length > before.files) continue;
    const why = (await explained(skipped.slice(before.skipped))).map(({ text }) => text);
    throw new SuperSimpleNetError("FILE_NOT_FOUND", [`There is no image in ${name}.`, ...why].join(" "), {
      path: name,
    });
  }
  return { files, skipped };
}

/** One line per reason. */
async function explained(skipped: readonly Skipped[]): Promise<{ reason: Skipped["reason"]; text: string }[]> {
  const { IMAGE_EXTENSIONS } = await import("../images/decode.js");
  const why = {
    format: `only ${IMAGE_EXTENSIONS.join(" ")} are read from a folder, convert the others`,
    picture: `${overlaySuffix} and ${mapSuffixes.png} are pictures that predict wrote`,
  };
  return (["format", "picture"] as const).flatMap((reason) => {
    const names = skipped.filter((one) => one.reason === reason).map((one) => printable(one.path));
    return names.length === 0
      ? []
      : [
          {
            reason,
            text: `${names.length === 1 ? "1 image is" : `${names.length} images are`} skipped (${why[reason]}): ${firstOf(names)}.`,
          },
        ];
  });
}

/** Batches for speed; where a batch fails, its images go one by one, so that only the bad ones are lost. */
async function* outcomes(
  detector: Detector,
  files: string[],
  batchSize: number,
  signal: AbortSignal,
): AsyncGenerator<Outcome> {
  const alone = async (file: string): Promise<Outcome> => {
    try {
      return { file, detection: (await detector.detect([file], { signal }))[0]! };
    } catch (error) {
      if (error instanceof SuperSimpleNetError && belongsToImage(error)) return { file, error };
      throw error;
    }
  };
  for (let i = 0; i < files.length; i += batchSize) {
    const batch = files.slice(i, i + batchSize);
    try {
      const detections = await detector.detect(batch, { signal });
      for (const [index, detection] of detections.entries()) yield { file: batch[index]!, detection };
    } catch (error) {
      if (!(error instanceof SuperSimpleNetError && belongsToImage(error))) throw error;
      for (const file of batch) yield await alone(file);
    }
  }
}

const belongsToImage = ({ code }: SuperSimpleNetError): boolean =>
  ["IMAGE_UNREADABLE", "FILE_NOT_FOUND", "NO_PERMISSION", "FILE_ERROR"].includes(code);

function document(file: string, detection: Detection): Record<string, unknown> {
  const { score, logit, anomalous, threshold, pixelThreshold, regions, width, height, timings } = detection;
  return { path: file, score, logit, anomalous, threshold, pixelThreshold, regions, width, height, timings };
}

function line(file: string, { score, anomalous, regions }: Detection): string {
  const [first] = regions;
  const where = first
    ? `  ${regions.length} region${regions.length === 1 ? "" : "s"}, strongest ${first.width}x${first.height} at ${first.x},${first.y}`
    : "";
  return `${anomalous ? "DEFECT" : "good  "}  ${score.toFixed(4)}  ${printable(file)}${where}`;
}

interface PictureWriter {
  /** Draws for image number `index`; `image` is told the names of the files when they are written. */
  add(index: number, image: Record<string, unknown>, file: string, detection: Detection): Promise<void>;
  finish(): Promise<void>;
}

/** `maps` and `overlays` are the files to write, one per image, or empty. */
async function pictureWriter(
  maps: readonly string[],
  format: "png" | "npy",
  overlays: readonly string[],
  pixelThreshold: number,
): Promise<PictureWriter> {
  const { ColourScale } = await import("../report/scale.js");
  const { heatMapPng, overlayPng } = await import("../report/overlay.js");
  const { npyFile } = await import("../report/npy.js");
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
      await scale.add(data, async (range) => {
        if (heatMap !== undefined) await write("map", heatMap, await heatMapPng(detection.map, range));
        if (overlay !== undefined)
          await write(
            "overlay",
            overlay,
            await overlayPng({ image: await decodeImage(file), detection, title: file }, range),
          );
      });
    },
    finish: async () => void (await scale.finish()),
  };
}
