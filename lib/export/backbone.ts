import type { TensorMap } from "../native/binding.js";
import { affineOf, numbersOf, type Pace, scaledRows } from "./fold.js";
import type { Graph, Value } from "./graph.js";

/** Numbers in the format of the backbone and of the wide products. */
export type Constant = (name: string, dims: readonly number[], data: Float32Array) => Value;

/** Whichever size a side has before a layer of stride 2: kernel 2p + 1, padding p. */
const halved = (size: number): number => Math.floor((size - 1) / 2) + 1;

const stageOf = (layer: string): number => Number(layer.slice("layer".length));

/** Height or width of a layer's map, for an image of that height or width. */
export function layerSide(layer: string, imageSide: number): number {
  let side = halved(halved(imageSide));
  for (let stage = 2; stage <= stageOf(layer); stage++) side = halved(side);
  return side;
}

/**
 * Adds the ResNet up to the last of `layers`, batch norms folded into the convolutions before them, and returns the maps
 * of the layers. The blocks are those that the tensors' names tell.
 */
export async function addBackbone(
  graph: Graph,
  image: Value,
  tensors: TensorMap,
  layers: readonly string[],
  constant: Constant,
  pace: Pace,
): Promise<Value[]> {
  const convolution = async (input: Value, name: string, norm: string, stride: number): Promise<Value> => {
    const { shape } = tensors[`${name}.weight`]!;
    const { scale, shift } = affineOf(tensors, norm);
    const side = shape[2]!;
    const padding = (side - 1) / 2;
    const weights = await scaledRows(numbersOf(tensors, `${name}.weight`), scale, pace);
    return graph.node(
      "Conv",
      [
        input,
        constant(`backbone.${name}.weight`, shape, weights),
        constant(`backbone.${name}.bias`, [shift.length], Float32Array.from(shift)),
      ],
      { kernel_shape: [side, side], strides: [stride, stride], pads: [padding, padding, padding, padding] },
    );
  };
  const relu = (value: Value): Value => graph.node("Relu", [value]);
  const block = async (input: Value, prefix: string, stride: number): Promise<Value> => {
    const bottleneck = `${prefix}.conv3.weight` in tensors;
    // The stride is on the 3x3 convolution of a bottleneck, and on the first one of a basic block.
    const strides = bottleneck ? [1, stride, 1] : [stride, 1];
    let out = input;
    for (const [i, step] of strides.entries()) {
      out = await convolution(out, `${prefix}.conv${i + 1}`, `${prefix}.bn${i + 1}`, step);
      if (i + 1 < strides.length) out = relu(out);
    }
    const shortcut =
      `${prefix}.downsample.0.weight` in tensors
        ? await convolution(input, `${prefix}.downsample.0`, `${prefix}.downsample.1`, stride)
        : input;
    return relu(graph.node("Add", [out, shortcut]));
  };

  let value = graph.node("MaxPool", [relu(await convolution(image, "conv1", "bn1", 2))], {
    kernel_shape: [3, 3],
    strides: [2, 2],
    pads: [1, 1, 1, 1],
  });
  const maps: Record<string, Value> = {};
  for (let stage = 1; stage <= Math.max(...layers.map(stageOf)); stage++) {
    for (let i = 0; `layer${stage}.${i}.conv1.weight` in tensors; i++)
      value = await block(value, `layer${stage}.${i}`, i === 0 && stage > 1 ? 2 : 1);
    maps[`layer${stage}`] = value;
  }
  return layers.map((layer) => maps[layer]!);
}
