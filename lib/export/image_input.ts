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

/** A weight of each column, for its three colours: ONNX Runtime multiplies by whole rows much faster than by single numbers. */
const perColumn = (graph: Graph, weights: Value, to: number): Value =>
  graph.node("Expand", [graph.reshape(weights, [to, 1]), graph.integers("shape", [2], [to, 3])]);

const bilinear: Resize = (graph, image, rows, columns) => {
  const y = bilinearSamples(graph, rows);
  const x = bilinearSamples(graph, columns);
  const right = perColumn(graph, x.weight, columns.to);
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

/** The source samples of each target sample under the triangle filter, tap by tap: taps x to, of int64 and of float32. */
interface Taps {
  count: Value;
  indices: Value;
  weights: Value;
}

/** Weights in double, which sum to 1, then float32, as triangleWindows. Taps outside the image weigh 0. */
function triangleTaps(graph: Graph, { size, to }: Side): Taps {
  const double = (value: number): Value => graph.doubles("double", [], [value]);
  const sum = (a: Value, b: Value): Value => graph.node("Add", [a, b]);
  const difference = (a: Value, b: Value): Value => graph.node("Sub", [a, b]);
  const from = graph.cast(size, "float64");
  const scale = graph.node("Div", [from, double(to)]);
  const support = graph.node("Max", [scale, double(1)]);
  const centres = graph.node("Mul", [scale, graph.doubles("centres", [to], upToTo(to))]);
  const start = graph.node("Max", [sum(difference(centres, support), double(0.5)), double(0)]);
  const end = graph.node("Min", [sum(sum(centres, support), double(0.5)), from]);
  const [first, last] = [graph.cast(start, "int64"), graph.cast(end, "int64")];
  const count = graph.node("ReduceMax", [difference(last, first)], { keepdims: 0 });
  const turns = graph.node("Range", [graph.integers("zero", [], [0]), count, graph.integers("one", [], [1])]);
  const samples = graph.cast(sum(graph.reshape(turns, [-1, 1]), first), "float64");
  const away = graph.node("Abs", [difference(sum(samples, double(0.5)), centres)]);
  const under = graph.node("Max", [difference(double(1), graph.node("Div", [away, support])), double(0)]);
  const inside = graph.node("Where", [graph.node("Less", [samples, from]), under, double(0)]);
  const sums = graph.node("ReduceSum", [inside, graph.integers("axis", [1], [0])], { keepdims: 1 });
  return {
    count,
    indices: graph.cast(graph.node("Min", [samples, difference(from, double(1))]), "int64"),
    weights: graph.cast(graph.node("Div", [inside, sums]), "float32"),
  };
}

/** The weighted sum of samples along an axis, tap by tap in the engine's order, so that its rounding is the engine's. */
function filtered(
  graph: Graph,
  image: Value,
  axis: number,
  { count, indices, weights }: Taps,
  { shape, arranged }: { shape: readonly Value[]; arranged: (weights: Value) => Value },
): Value {
  const zeros = graph.node("Expand", [graph.scalar(0), graph.node("Concat", shape, { axis: 0 })]);
  return graph.loop(count, zeros, "float32", (turn, sums) => {
    const samples = graph.node("Gather", [image, graph.node("Gather", [indices, turn], { axis: 0 })], { axis });
    const weight = arranged(graph.node("Gather", [weights, turn], { axis: 0 }));
    return graph.node("Add", [sums, graph.node("Mul", [weight, graph.cast(samples, "float32")])]);
  });
}

/** Rows first, as the engine. */
const antialias: Resize = (graph, image, rows, columns) => {
  const shape = graph.node("Shape", [image]);
  const images = graph.node("Gather", [shape, graph.integers("axis", [1], [0])]);
  const fixed = (size: number): Value => graph.integers("size", [1], [size]);
  const shrunk = filtered(graph, image, 1, triangleTaps(graph, rows), {
    shape: [images, fixed(rows.to), columns.size, fixed(3)],
    arranged: (weights) => graph.reshape(weights, [rows.to, 1, 1]),
  });
  const both = filtered(graph, shrunk, 2, triangleTaps(graph, columns), {
    shape: [images, fixed(rows.to), fixed(columns.to), fixed(3)],
    arranged: (weights) => perColumn(graph, weights, columns.to),
  });
  return graph.node("Transpose", [both], { perm: [0, 3, 1, 2] });
};
