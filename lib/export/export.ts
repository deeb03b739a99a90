import { createHash } from "node:crypto";

import { checkInTurns, type Model } from "../models/model.js";
import { tensorsSha256 } from "../backbones/check.js";
import { call, fileError, hasCode, option, SuperSimpleNetError, text, throwIfAborted } from "../errors.js";
import { availableCores } from "../machine.js";
import { networkSettings } from "../models/config.js";
import { openEngine } from "../native/engine.js";
import { packageVersion } from "../native/locate.js";
import { check, checkPath } from "../schema/check.js";
import { type ExportOptions as Options, exportOptions } from "../schema/export.js";
import { pieces, turns } from "../turns.js";
import { isPlain } from "../view/layout.js";
import { replaceFile } from "../write.js";
import type { Pace } from "./fold.js";
import type { Graph } from "./graph.js";
import { metadataOf, parityProperty } from "./metadata.js";
import { buildGraph, type GraphForm } from "./network.js";
import { encodeModel, encodeProperties, type Tensor } from "./onnx_format.js";
import { measureParity, type Parity } from "./parity.js";
import { installRuntime, OnnxRuntime } from "./runtime.js";

const where = "model.exportOnnx";

/** Options of model.exportOnnx. */
export interface ExportOptions extends Options {
  /** Called with how many images have been compared. */
  onProgress?: (done: number, total: number) => void;
}

/** What was exported. */
export interface OnnxExport {
  /** As it was given. */
  path: string;
  bytes: number;
  /** How it compares with the engine; null where onnxruntime-node is not installed: then the file says "unverified". */
  parity: Parity | null;
}

/** Writes a model as an ONNX file. model.exportOnnx has the errors. */
export async function exportOnnx(model: Model, path: string, options: ExportOptions): Promise<OnnxExport> {
  checkPath(where, "path", path);
  const { backboneWeights, threads, signal, onProgress: _, opset, ...form } = check(where, exportOptions, options);
  throwIfAborted(signal);
  if (form.input === "image" && !isPlain(networkSettings(model.config).view))
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call(where)}: the model has a view (tiles, a region, ignored pixels or a fit), which a graph that takes images does not apply.`,
      {
        option: "input",
        value: form.input,
        fix: text`Give ${option("input")} 'normalised': the graph of one tile, with the view in its metadata (docs/guides/export.md, Views).`,
      },
    );
  await openEngine("cpu");
  await checkInTurns(model, where);
  const backbone = await model.backbone(backboneWeights, signal);
  const pace = paceOf(signal);
  const graph = await buildGraph(model.config, { backbone, heads: model.heads }, form, pace);
  refuseTooLarge(graph.constants.reduce((sum, { rawData }) => sum + rawData.length, 0));
  const sums = { heads: await tensorsSha256(model.heads), graph: await constantsSha256(graph.constants) };
  const metadata = metadataOf(model.config, { ...form, opset }, sums);
  const bytes = encodeModel(modelProto(graph, opset, metadata));
  let parity: Parity | null = null;
  let size = bytes.length;
  const finish = async (temporary: string): Promise<Uint8Array> => {
    const beside = { threads, backboneWeights, signal, onProgress: options.onProgress };
    parity = await parityOf(model, temporary, form, beside);
    const more = encodeProperties([parityProperty(parity)]);
    size += more.length;
    return more;
  };
  try {
    await replaceFile(path, bytes, { finish });
  } catch (error) {
    throw fileError(error, "write ONNX file", path);
  }
  return { path, bytes: size, parity };
}

async function parityOf(
  model: Model,
  file: string,
  form: GraphForm,
  options: Parameters<typeof measureParity>[3],
): Promise<Parity | null> {
  const runtime = await OnnxRuntime.open(options.signal);
  if (runtime === undefined) return null;
  try {
    await runtime.load(file, options.threads ?? availableCores()).catch((error: unknown) => {
      throw hasCode(error, "FILE_CORRUPT") ? doesNotLoad(runtime.version, error) : error;
    });
    return await measureParity(model, runtime, form, options);
  } finally {
    runtime.close();
  }
}

/** The graph is ours: where it is refused, the runtime is too old for its operators. */
function doesNotLoad(version: string, cause: SuperSimpleNetError): SuperSimpleNetError {
  const what = `onnxruntime-node ${version} does not load the graph. ${cause.message}`;
  const fix = text`Update it ('${installRuntime}'), or choose an older ${option("opset")}.`;
  return new SuperSimpleNetError("ONNXRUNTIME_UNUSABLE", what, { cause, fix });
}

function paceOf(signal: AbortSignal | undefined): Pace {
  const breathe = turns();
  return async (bytes) => {
    throwIfAborted(signal);
    await breathe(bytes);
  };
}

/** Protobuf's limit, less what is not weights. Throws INVALID_OPTION. */
export function refuseTooLarge(bytes: number): void {
  const most = 2 ** 31 - 2 ** 24;
  if (bytes <= most) return;
  const giga = (bytes / 2 ** 30).toFixed(1);
  throw new SuperSimpleNetError("INVALID_OPTION", `The weights take ${giga} GiB, and an ONNX file holds less than 2.`, {
    option: "precision",
    fix: "Export them as float16, which takes half.",
  });
}

/** SHA-256 over the names and values of a graph's constants, in their order. */
export async function constantsSha256(constants: readonly Tensor[]): Promise<string> {
  const hash = createHash("sha256");
  const breathe = turns();
  for (const { name, rawData } of constants) {
    hash.update(`${name}\0${rawData.length}\0`);
    for (const piece of pieces(rawData)) {
      hash.update(piece);
      await breathe(piece.length);
    }
  }
  return hash.digest("hex");
}

/** The versions of the format that belong to those of the operators. */
const irVersions: readonly [opset: number, ir: number][] = [
  [21, 10],
  [19, 9],
  [15, 8],
  [13, 7],
];

/** A graph as a file's content. */
export function modelProto(
  graph: Graph,
  opset: number,
  metadataProps: readonly { key: string; value: string }[],
): Parameters<typeof encodeModel>[0] {
  return {
    irVersion: irVersions.find(([from]) => opset >= from)![1],
    producerName: "supersimplenet",
    producerVersion: packageVersion,
    docString: "Defects on surfaces: score, anomaly map and verdict of an image.",
    opsetImport: [{ domain: "", version: opset }],
    graph: {
      name: "supersimplenet",
      node: graph.nodes,
      initializer: graph.constants,
      input: graph.inputs,
      output: graph.outputs,
    },
    metadataProps,
  };
}
