import type { NetworkConfig, TensorMap } from "../native/binding.js";
import { type Constant, layerSide } from "./backbone.js";
import { affineOf, dot, numbersOf, type Pace, product, scaledRows } from "./fold.js";
import type { Graph, Value } from "./graph.js";
import { type Matrix, sideBySide, transposed, upscalePool, withShifts } from "./matrices.js";

/** The classification head's kernel is 5 x 5: its taps along an axis, as shifts. */
const shifts = [-2, -1, 0, 1, 2];
const side = shifts.length;
const leakySlope = 0.2;

/** A layer's map, and which columns of the wide weights belong to it. */
interface Layer {
  map: Value;
  height: number;
  width: number;
  first: number;
  channels: number;
}

/** What the heads are added with. */
export interface HeadsInput {
  graph: Graph;
  config: NetworkConfig;
  /** Tensors of adaptor and heads, by the authors' names. */
  heads: TensorMap;
  /** Of the backbone, one for each of config.layers, with their channels. */
  maps: readonly { value: Value; channels: number }[];
  /** Of the features. */
  shape: { height: number; width: number };
  constant: Constant;
  pace: Pace;
}

/**
 * Adds adaptor and heads at the resolution of the layers' maps (docs/method.md, Low-resolution heads): the wide products,
 * the upscaling of their results, and what is behind it. Returns the map logits, N x 1 x H x W, and the score logit, N.
 */
export async function addHeads(input: HeadsInput): Promise<{ map: Value; logit: Value }> {
  const map = await segmentationHead(input);
  return { map, logit: await classificationHead(input, map) };
}

function layersOf({ config, maps }: HeadsInput): Layer[] {
  let first = 0;
  return config.layers.map((name, i) => {
    const { value, channels } = maps[i]!;
    const height = layerSide(name, config.imageHeight);
    const layer = { map: value, height, width: layerSide(name, config.imageWidth), first, channels };
    first += channels;
    return layer;
  });
}

/** A wide product: the columns of `weights` (outputs x C) that belong to each layer, by that layer's map. In float32. */
async function wideProducts(
  { graph, constant, pace }: HeadsInput,
  layers: readonly Layer[],
  name: string,
  weights: Float32Array,
): Promise<Value[]> {
  const channels = layers.reduce((sum, layer) => sum + layer.channels, 0);
  const outputs = weights.length / channels;
  const out: Value[] = [];
  for (const layer of layers) {
    const own = new Float32Array(outputs * layer.channels);
    for (let k = 0; k < outputs; k++) {
      const from = k * channels + layer.first;
      own.set(weights.subarray(from, from + layer.channels), k * layer.channels);
    }
    await pace(own.byteLength);
    const weight = constant(name, [outputs, layer.channels, 1, 1], own);
    out.push(graph.cast(graph.node("Conv", [layer.map, weight], { kernel_shape: [1, 1] }), "float32"));
  }
  return out;
}

const matrix = (graph: Graph, name: string, { rows, columns, data }: Matrix): Value =>
  graph.floats(name, [rows, columns], data);

/** The sum over the layers of rows x product x columns: at each side of the products a matrix for every layer. */
function upscaled(
  graph: Graph,
  products: readonly Value[],
  rows: readonly Matrix[],
  columns: readonly Matrix[],
): Value {
  const wide = products.map((value, i) =>
    graph.node("MatMul", [value, matrix(graph, "columns", transposed(columns[i]!))]),
  );
  // All layers one below the other: the product with their rows sums over them.
  const stacked = wide.length === 1 ? wide[0]! : graph.node("Concat", wide, { axis: 2 });
  return graph.node("MatMul", [matrix(graph, "rows", sideBySide(rows)), stacked]);
}

const axes = (
  { config, shape }: HeadsInput,
  layers: readonly Layer[],
): { rows: readonly Matrix[]; columns: readonly Matrix[] } => ({
  rows: layers.map(({ height }) => upscalePool(height, shape.height, config.alignCorners)),
  columns: layers.map(({ width }) => upscalePool(width, shape.width, config.alignCorners)),
});

const channelsOf = (layers: readonly Layer[]): number => layers.reduce((sum, { channels }) => sum + channels, 0);

/** Of K numbers, one for each channel of an N x K x H x W value. */
const perChannel = (graph: Graph, name: string, values: Float64Array): Value =>
  graph.floats(name, [values.length, 1, 1], Float32Array.from(values));

async function segmentationHead(input: HeadsInput): Promise<Value> {
  const { graph, heads, pace } = input;
  const layers = layersOf(input);
  const channels = channelsOf(layers);
  const first = numbersOf(heads, "discriminator.seg.0.weight");
  const outputs = first.length / channels;
  const rowOf = (k: number): Float32Array => first.subarray(k * channels, (k + 1) * channels);
  const adaptorBias = numbersOf(heads, "feature_adaptor.projection.bias");
  const ownBias = numbersOf(heads, "discriminator.seg.0.bias");
  const bias = Float64Array.from(ownBias, (value, k) => value + dot(rowOf(k), adaptorBias));
  const { scale, shift } = affineOf(heads, "discriminator.seg.1", bias);
  const folded = await product(
    outputs,
    (k) => Float64Array.from(rowOf(k), (value) => value * scale[k]!),
    numbersOf(heads, "feature_adaptor.projection.weight"),
    channels,
    pace,
  );
  const products = await wideProducts(input, layers, "segmentation.weight", folded);
  const { rows, columns } = axes(input, layers);
  const hidden = graph.node(
    "LeakyRelu",
    [graph.node("Add", [upscaled(graph, products, rows, columns), perChannel(graph, "segmentation.bias", shift)])],
    { alpha: { float: leakySlope } },
  );
  const last = graph.floats("segmentation.out", [1, outputs, 1, 1], numbersOf(heads, "discriminator.seg.3.weight"));
  return graph.node("Conv", [hidden, last], { kernel_shape: [1, 1] });
}

async function classificationHead(input: HeadsInput, map: Value): Promise<Value> {
  const { graph, config, heads } = input;
  const { classificationHead: kind, mapInput } = config;
  const pooled = (value: Value): Value[] => [
    graph.node("GlobalMaxPool", [value]),
    graph.node("GlobalAveragePool", [value]),
  ];
  if (kind === "mapMax") return graph.reshape(graph.node("GlobalMaxPool", [map]), [-1]);
  let value = graph.node("Relu", [await firstBlock(input, map)]);
  if (kind === "complex")
    for (const index of [3, 6]) value = graph.node("Relu", [await deeperBlock(input, value, index)]);
  const parts = [...pooled(value), ...(mapInput ? pooled(map) : [])];
  const weight = numbersOf(heads, "discriminator.fc_score.weight");
  const flat = graph.reshape(graph.node("Concat", parts, { axis: 1 }), [-1, weight.length]);
  const score = graph.node(
    "Gemm",
    [
      flat,
      graph.floats("score.weight", [1, weight.length], weight),
      graph.floats("score.bias", [1], numbersOf(heads, "discriminator.fc_score.bias")),
    ],
    { transB: 1 },
  );
  return graph.reshape(score, [-1]);
}

/** The 5x5 convolution with its batch norm, as shifted 1x1 convolutions at low resolution; the map's channel as it is. */
async function firstBlock(input: HeadsInput, map: Value): Promise<Value> {
  const { graph, config, heads, shape, pace } = input;
  const layers = layersOf(input);
  const channels = channelsOf(layers);
  const taps = side * side;
  const weight = numbersOf(heads, "discriminator.dec_head.0.weight");
  const inputs = channels + (config.mapInput ? 1 : 0);
  const { scale, shift } = affineOf(
    heads,
    "discriminator.dec_head.1",
    numbersOf(heads, "discriminator.dec_head.0.bias"),
  );
  const outputs = scale.length;
  /** Row (k, dy, dx) of the kernel as a matrix: one number for each channel of the features. */
  const rowOf = (index: number): Float64Array => {
    const k = Math.floor(index / taps);
    const tap = index % taps;
    const row = new Float64Array(channels);
    for (let c = 0; c < channels; c++) row[c] = weight[(k * inputs + c) * taps + tap]! * scale[k]!;
    return row;
  };
  const adapted = config.variant === "icpr";
  let kernel: Float32Array;
  if (adapted) {
    const adaptor = numbersOf(heads, "feature_adaptor.projection.weight");
    kernel = await product(outputs * taps, rowOf, adaptor, channels, pace);
  } else {
    kernel = new Float32Array(outputs * taps * channels);
    for (let i = 0; i < outputs * taps; i++) {
      kernel.set(rowOf(i), i * channels);
      await pace(4 * channels);
    }
  }
  const products = await wideProducts(input, layers, "classification.weight", kernel);
  // N x (k dy dx) x h x w to N x k x (dy h) x (dx w): then the taps are part of the sums of the upscaling.
  const arranged = products.map((value, i) => {
    const { height, width } = layers[i]!;
    const split = graph.reshape(value, [-1, outputs, side, side, height, width]);
    const tapsOutside = graph.node("Transpose", [split], { perm: [0, 1, 2, 4, 3, 5] });
    return graph.reshape(tapsOutside, [-1, outputs, side * height, side * width]);
  });
  const { rows, columns } = axes(input, layers);
  const shifted = (matrices: readonly Matrix[]): Matrix[] => matrices.map((each) => withShifts(each, shifts));
  const convolved = upscaled(graph, arranged, shifted(rows), shifted(columns));
  const bias = adapted ? adaptedBias(input, shift, rowOf) : perChannel(graph, "classification.bias", shift);
  const features = graph.node("Add", [convolved, bias]);
  if (!config.mapInput) return features;
  const ofMap = new Float32Array(outputs * taps);
  for (let k = 0; k < outputs; k++)
    for (let tap = 0; tap < taps; tap++)
      ofMap[k * taps + tap] = weight[(k * inputs + channels) * taps + tap]! * scale[k]!;
  return graph.node("Add", [
    features,
    graph.node("Conv", [map, graph.floats("classification.map", [outputs, 1, side, side], ofMap)], {
      kernel_shape: [side, side],
      pads: [2, 2, 2, 2],
    }),
  ]);

  /** The adaptor's bias enters before the zero padding: what it adds is smaller near the border. */
  function adaptedBias(
    { heads: tensors }: HeadsInput,
    constantPart: Float64Array,
    row: (index: number) => Float64Array,
  ): Value {
    const adaptorBias = numbersOf(tensors, "feature_adaptor.projection.bias");
    const { height, width } = shape;
    const plane = height * width;
    const out = new Float32Array(outputs * plane);
    const inside = (at: number, shiftBy: number, size: number): boolean => at + shiftBy >= 0 && at + shiftBy < size;
    for (let k = 0; k < outputs; k++) {
      const ofTaps = Array.from({ length: taps }, (_, tap) => dot(row(k * taps + tap), adaptorBias));
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          let sum = constantPart[k]!;
          for (let dy = 0; dy < side; dy++)
            for (let dx = 0; dx < side; dx++)
              if (inside(y, shifts[dy]!, height) && inside(x, shifts[dx]!, width)) sum += ofTaps[dy * side + dx]!;
          out[k * plane + y * width + x] = sum;
        }
    }
    return graph.floats("classification.bias", [outputs, height, width], out);
  }
}

/** The second or third block of the complex head. */
async function deeperBlock({ graph, heads, pace }: HeadsInput, value: Value, index: number): Promise<Value> {
  const name = `discriminator.dec_head.${index}`;
  const { scale, shift } = affineOf(heads, `discriminator.dec_head.${index + 1}`, numbersOf(heads, `${name}.bias`));
  const weights = await scaledRows(numbersOf(heads, `${name}.weight`), scale, pace);
  return graph.node(
    "Conv",
    [
      value,
      graph.floats("classification.deeper.weight", [scale.length, scale.length, side, side], weights),
      graph.floats("classification.deeper.bias", [shift.length], Float32Array.from(shift)),
    ],
    { kernel_shape: [side, side], pads: [2, 2, 2, 2] },
  );
}
