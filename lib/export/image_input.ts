import type { ResizeMethod } from "../native/binding.js";
import type { Graph, Value } from "./graph.js";

const mean = [0.485, 0.456, 0.406];
const std = [0.229, 0.224, 0.225];

/** A byte's normalised value of colour c, in float32 throughout as native/images/normalise.h. */
export function normalised(byte: number, c: number): number {
  const { fround } = Math;
  return fround(fround(fround(byte / 255) - fround(mean[c]!)) / fround(std[c]!));
}

/**
 * Adds resizing as native/images/resize.cc computes it, rounding to bytes included, and the normalisation. `image` is uint8,
 * N x any height x any width x 3; the result N x 3 x height x width.
 */
export function addImageInput(
  graph: Graph,
  image: Value,
  { height, width, resize }: { height: number; width: number; resize: ResizeMethod },
): Value {
  const shape = graph.node("Shape", [image]);
  const sizeOf = (axis: number): Value => graph.node("Gather", [shape, graph.integers("axis", [1], [axis])]);
  const resized = resize === "bilinear" ? bilinear : antialias;
  // N x 3 x H x W.
  const planes = resized(graph, image, { size: sizeOf(1), to: height }, { size: sizeOf(2), to: width });
  const perColour = (name: string, values: readonly number[]): Value =>
    graph.floats(name, [3, 1, 1], Float32Array.from(values));
  const bytes = graph.node("Round", [planes]); // half to even
  const share = graph.node("Div", [bytes, graph.scalar(255)]);
  return graph.node("Div", [graph.node("Sub", [share, perColour("mean", mean)]), perColour("std", std)]);
}

/** A side of the image, whose size is known when the graph runs, and what it becomes. */
interface Side {
  /** int64 [1]. */
  size: Value;
  to: number;
}

type Resize = (graph: Graph, image: Value, rows: Side, columns: Side) => Value;

const upToTo = (to: number): number[] => Array.from({ length: to }, (_, i) => i + 0.5);

/** The two source samples of each target sample and the weight of the second, in float32 as bilinearSamples. */
function bilinearSamples(graph: Graph, { size, to }: Side): { low: Value; high: Value; weight: Value } {
  const from = graph.cast(size, "float32");
  const last = graph.node("Sub", [from, graph.scalar(1)]);
  const scale = graph.node("Div", [from, graph.scalar(to)]);
  const centres = graph.node("Mul", [scale, graph.floats("centres", [to], Float32Array.from(upToTo(to)))]);
  const position = graph.node("Max", [graph.node("Sub", [centres, graph.scalar(0.5)]), graph.scalar(0)]);
  const low = graph.node("Min", [graph.node("Floor", [position]), last]);
  const high = graph.node("Min", [graph.node("Add", [low, graph.scalar(1)]), last]);
  const beyond = graph.node("Sub", [position, low]);
  const weight = graph.node("Min", [beyond, graph.scalar(1)]);
  return { low: graph.cast(low, "int64"), high: graph.cast(high, "int64"), weight };
}

const bilinear: Resize = (graph, image, rows, columns) => {
  const y = bilinearSamples(graph, rows);
  const x = bilinearSamples(graph, columns);
  const right = graph.reshape(x.weight, [columns.to, 1]);
  const down = graph.reshape(y.weight, [rows.to, 1, 1]);
  const rest = (weight: Value): Value => graph.node("Sub", [graph.scalar(1), weight]);
  const [left, up] = [rest(right), rest(down)];
  const row = (index: Value): Value => {
    const line = graph.node("Gather", [image, index], { axis: 1 });
    const sample = (column: Value): Value => graph.cast(graph.node("Gather", [line, column], { axis: 2 }), "float32");
    return graph.node("Add", [graph.node("Mul", [left, sample(x.low)]), graph.node("Mul", [right, sample(x.high)])]);
  };
  const sum = graph.node("Add", [graph.node("Mul", [up, row(y.low)]), graph.node("Mul", [down, row(y.high)])]);
  return graph.node("Transpose", [sum], { perm: [0, 3, 1, 2] });
};

/** The triangle filter as a matrix, to x from: weights in double, which sum to 1, then float32. */
function triangle(graph: Graph, { size, to }: Side): Value {
  const double = (value: number): Value => graph.doubles("double", [], [value]);
  const from = graph.cast(size, "float64");
  const scale = graph.node("Div", [from, double(to)]);
  const support = graph.node("Max", [scale, double(1)]);
  const centres = graph.node("Mul", [scale, graph.doubles("centres", [to, 1], upToTo(to))]);
  const scalarSize = graph.reshape(from, []);
  const samples = graph.node("Add", [graph.node("Range", [double(0), scalarSize, double(1)]), double(0.5)]);
  const distance = graph.node("Div", [graph.node("Abs", [graph.node("Sub", [samples, centres])]), support]);
  const weights = graph.node("Max", [graph.node("Sub", [double(1), distance]), double(0)]);
  const sums = graph.node("ReduceSum", [weights, graph.integers("axis", [1], [1])], { keepdims: 1 });
  return graph.cast(graph.node("Div", [weights, sums]), "float32");
}

/** Rows first, as the engine. */
const antialias: Resize = (graph, image, rows, columns) => {
  const lines = graph.reshape(graph.cast(image, "float32"), [0, 0, -1]);
  const shrunk = graph.reshape(graph.node("MatMul", [triangle(graph, rows), lines]), [0, rows.to, -1, 3]);
  const planes = graph.node("Transpose", [shrunk], { perm: [0, 3, 1, 2] });
  const acrossColumns = graph.node("Transpose", [triangle(graph, columns)], { perm: [1, 0] });
  return graph.node("MatMul", [planes, acrossColumns]);
};
