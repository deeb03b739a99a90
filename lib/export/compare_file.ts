import type { z } from "zod";

import type { Dataset } from "../datasets/dataset.js";
import { validateDataset } from "../datasets/validate.js";
import { call, fileError, SuperSimpleNetError, text, throwIfAborted } from "../errors.js";
import { readRegular } from "../files/input.js";
import { decodeImage } from "../images/decode.js";
import { availableCores } from "../machine.js";
import { networkSettings } from "../models/config.js";
import type { Model } from "../models/model.js";
import { tensorsSha256 } from "../backbones/check.js";
import { engine } from "../native/engine.js";
import { check, checkPath } from "../schema/check.js";
import { exportOptions, verifyOptions } from "../schema/export.js";
import { isPlain } from "../view/layout.js";
import { Beside, Differences, type Pair, type Result } from "./beside.js";
import { constantsSha256 } from "./export.js";
import { type Checksums, type Form, metadataIn } from "./metadata.js";
import { decodeModel, type OnnxModel } from "./onnx_format.js";
import { parityBounds } from "./parity.js";
import { OnnxRuntime } from "./runtime.js";
import type { OnnxVerification, VerifiedImage, VerifyOptions } from "./verify.js";

const where = "verifyOnnx";

/** What verifyOnnx does. */
export async function compareFile(
  model: Model,
  file: string,
  dataset: Dataset,
  options: VerifyOptions,
): Promise<OnnxVerification> {
  checkPath(where, "file", file);
  const { split, backboneWeights, threads, signal } = check(where, verifyOptions, options);
  const { form, thresholdsChanged } = await readForm(file, model);
  const { imageSize, bitDepth, view } = networkSettings(model.config);
  if (!isPlain(view))
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call(where)}: the graph of a model with a view sees one tile, not the images of a data set.`,
      { option: "model", fix: "The export has compared it with the engine tile by tile." },
    );
  await validateDataset(dataset, { split, headersOnly: true, imageSize, signal });
  const samples = dataset.samples.filter((sample) => sample.split === split);
  const runtime = await OnnxRuntime.need(signal);
  try {
    await runtime.load(file, threads ?? availableCores());
    const beside = await Beside.load(model, runtime, form, { threads, backboneWeights, signal });
    try {
      const differences = new Differences();
      const images: VerifiedImage[] = [];
      let inconsistent = 0;
      for (const { id, image } of samples) {
        throwIfAborted(signal);
        const [pair] = (await beside.run([await decodeImage(image, { bitDepth })], signal)) as [Pair];
        const { map: mapDifference } = differences.add(pair);
        if (pair.graph.verdict !== beside.verdictOf(pair.graph)) inconsistent++;
        images.push({ id, engine: withoutMap(pair.engine), graph: withoutMap(pair.graph), mapDifference });
        options.onProgress?.(images.length, samples.length);
      }
      const difference = differences.relative();
      const bound = parityBounds[form.precision];
      const anomalous = Uint8Array.from(samples, ({ label }) => Number(label === "anomalous"));
      const auroc = async (side: "engine" | "graph"): Promise<number | null> => {
        const logits = Float32Array.from(images, (each) => each[side].logit);
        const { auroc: value } = await engine().imageMetrics(logits, anomalous);
        return Number.isFinite(value) ? value : null;
      };
      return {
        images,
        difference,
        bound,
        withinBound: difference.logit <= bound && difference.map <= bound,
        otherVerdicts: images.filter((each) => each.engine.verdict !== each.graph.verdict).length,
        imageAuroc: { engine: await auroc("engine"), graph: await auroc("graph") },
        thresholdsChanged,
        inconsistentVerdicts: thresholdsChanged ? 0 : inconsistent,
        runtime: `onnxruntime-node ${runtime.version}`,
      };
    } finally {
      beside.close();
    }
  } finally {
    runtime.close();
  }
}

/** What a file says of its own form. */
const formSchema: z.ZodType<Form> = exportOptions.pick({ precision: true, input: true, opset: true, batch: true });

const withoutMap = ({ map: _, ...result }: Result): Omit<Result, "map"> => result;

/** What the file says of itself, once it is known to be whole and of this model. */
async function readForm(file: string, model: Model): Promise<{ form: Form; thresholdsChanged: boolean }> {
  const corrupt = (what: string, cause?: unknown): SuperSimpleNetError =>
    new SuperSimpleNetError("FILE_CORRUPT", `${file} ${what}`, { path: file, cause, fix: "Export it again." });
  let bytes: Uint8Array;
  try {
    bytes = await readRegular(file, (_, what) => corrupt(what));
  } catch (error) {
    throw fileError(error, "read ONNX file", file);
  }
  let onnx: OnnxModel;
  let sums: Checksums;
  let form: Form;
  let thresholds: unknown;
  try {
    onnx = decodeModel(bytes);
    const metadata = metadataIn(onnx.metadataProps);
    sums = JSON.parse(metadata["sha256"]!) as Checksums;
    form = formSchema.parse(JSON.parse(metadata["form"]!));
    ({ thresholds } = JSON.parse(metadata["config"]!) as { thresholds: unknown });
  } catch (error) {
    throw corrupt("is not an ONNX file that this package exported.", error);
  }
  if ((await constantsSha256(onnx.graph.initializer)) !== sums.graph)
    throw corrupt("was changed: its weights are not those that were exported.");
  if ((await tensorsSha256(model.heads)) !== sums.heads)
    throw new SuperSimpleNetError("CHECKSUM_MISMATCH", `${file} was exported from another model.`, {
      path: file,
      fix: "Give that model, or export this one.",
    });
  return { form, thresholdsChanged: JSON.stringify(thresholds) !== JSON.stringify(model.config.thresholds) };
}
