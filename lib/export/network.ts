import { limitsOf } from "../detection/decide.js";
import { type ModelConfig, networkConfigOf, networkSettings } from "../models/config.js";
import type { TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { sourcesOf } from "../schema/decisions.js";
import { addBackbone, type Constant } from "./backbone.js";
import type { Pace } from "./fold.js";
import { Graph, type Value } from "./graph.js";
import { addHeads } from "./heads.js";
import { addImageInput } from "./image_input.js";
import { transposed, upscaleBlur } from "./matrices.js";

/** The form of an exported graph. */
export interface GraphForm {
  /** Of the backbone and of the wide products; everything behind them is float32. */
  precision: "float32" | "float16";
  input: "image" | "normalised";
  batch: "dynamic" | number;
}

export const inputName = "image";

/** The values of the output "verdict". */
export const verdicts = ["good", "unsure", "defect"] as const;

/** A model as an ONNX graph: the network as it is computed here, and the verdict by the model's thresholds. */
export async function buildGraph(
  config: ModelConfig,
  tensors: { backbone: TensorMap; heads: TensorMap },
  form: GraphForm,
  pace: Pace,
): Promise<Graph> {
  const graph = new Graph();
  const network = networkConfigOf(config.backbone.architecture, config);
  const { imageHeight: height, imageWidth: width } = network;
  const shape = engine().featureShape(network);
  const batch = form.batch === "dynamic" ? "batch" : form.batch;
  const half = form.precision === "float16";
  const constant: Constant = (name, dims, data) =>
    half ? graph.halves(name, dims, data) : graph.floats(name, dims, data);

  const image = addInput(graph, config, form.input, batch);
  const start = half ? graph.cast(image, "float16") : image;
  const maps = await addBackbone(graph, start, tensors.backbone, network.layers, constant, pace);
  const channels = engine().backboneTensors(network.architecture);
  const { map, logit } = await addHeads({
    graph,
    config: network,
    heads: tensors.heads,
    maps: maps.map((value, i) => ({ value, channels: channelsOf(channels, network.layers[i]!) })),
    shape,
    constant,
    pace,
  });

  const columns = transposed(upscaleBlur(shape.width, width));
  const rows = upscaleBlur(shape.height, height);
  const anomalyMap = graph.node("MatMul", [
    graph.node("MatMul", [graph.floats("map.rows", [rows.rows, rows.columns], rows.data), map]),
    graph.floats("map.columns", [columns.rows, columns.columns], columns.data),
  ]);
  const peak = graph.reshape(graph.node("GlobalMaxPool", [anomalyMap]), [-1]);
  const verdict = addVerdict(graph, config, { score: logit, map: peak });

  graph.output(graph.node("Sigmoid", [logit]), "score", "float32", [batch], "Sigmoid of the logit, 0 to 1.");
  graph.output(logit, "logit", "float32", [batch], "The score as a logit.");
  const asMap = graph.reshape(anomalyMap, [-1, height, width]);
  graph.output(asMap, "map", "float32", [batch, height, width], "Anomaly map: logits at the model's size.");
  graph.output(verdict, "verdict", "int64", [batch], "0 good, 1 unsure, 2 defect, by the model's thresholds.");
  return graph;
}

function addInput(graph: Graph, config: ModelConfig, input: GraphForm["input"], batch: number | string): Value {
  const { imageSize, resize } = networkSettings(config);
  const [height, width] = imageSize;
  if (input === "normalised") {
    const doc = "RGB at the model's size: (byte / 255 - mean) / std, ImageNet's.";
    return graph.input(inputName, "float32", [batch, 3, height, width], doc);
  }
  const image = graph.input(inputName, "uint8", [batch, "height", "width", 3], "RGB bytes of any size, interleaved.");
  return addImageInput(graph, image, { height, width, resize });
}

/** The channels of a layer's map: those of its blocks' last convolution. */
function channelsOf(shapes: Record<string, number[]>, layer: string): number {
  const last = `${layer}.0.conv3.weight` in shapes ? "conv3" : "conv2";
  return shapes[`${layer}.0.${last}.weight`]![0]!;
}

/** The rule of lib/detection/decide.ts, without regions that are left out. */
function addVerdict(graph: Graph, config: ModelConfig, evidence: { score: Value; map: Value }): Value {
  const limits = limitsOf("model.exportOnnx", config.thresholds, { minAreaPx: 0 });
  const reached = (thresholds: Record<"score" | "map", number>): Value =>
    sourcesOf(limits.decision)
      .map((source) => graph.node("GreaterOrEqual", [evidence[source], graph.scalar(notBelow(thresholds[source]))]))
      .reduce((a, b) => graph.node("Or", [a, b]));
  const code = (verdict: (typeof verdicts)[number]): Value =>
    graph.integers("verdict.code", [], [verdicts.indexOf(verdict)]);
  const below = limits.unsure
    ? graph.node("Where", [reached(limits.unsure), code("unsure"), code("good")])
    : code("good");
  return graph.node("Where", [reached(limits.defect), code("defect"), below]);
}

/** The least float32 that is not below a number: float32 values reach the one exactly where they reach the other. */
export function notBelow(threshold: number): number {
  const rounded = Math.fround(threshold);
  if (rounded >= threshold) return rounded;
  const bits = new DataView(new ArrayBuffer(4));
  bits.setFloat32(0, rounded);
  // Towards plus infinity: away from zero for a positive number, towards it for a negative one.
  bits.setUint32(0, bits.getUint32(0) + (rounded < 0 ? -1 : 1));
  return bits.getFloat32(0);
}
