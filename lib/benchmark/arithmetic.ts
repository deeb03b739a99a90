import type { NetworkConfig } from "../native/binding.js";

/** Floating-point operations for one image and what is learnt of the network. */
export interface Arithmetic {
  /** Weights and biases of the backbone up to the last layer used and of the heads; running statistics are not counted. */
  parameters: number;
  /** Backbone and direct heads (docs/method.md, Features and Heads), the 5x5 convolution included. */
  direct: number;
  /** Backbone and heads at the backbone's resolution: what runs by default. */
  lowResolution: number;
}

const segmentationHidden = 1024;
const classificationHidden = 128;
const kernelTaps = 5 * 5;

type Shapes = Readonly<Record<string, readonly number[]>>;

const halved = (n: number): number => Math.floor((n - 1) / 2) + 1; // every strided layer: kernel 2p+1, padding p, stride 2

/**
 * Counts the multiplications and additions of every convolution and linear layer, two for each multiply-add. Element-wise
 * passes (activations, pooling, interpolation) are left out of both counts. `backbone`, `heads`: names and shapes of their tensors
 * (engine().backboneTensors, engine().headTensors). The low-resolution count is for the paper's classification head, the only one that has that form.
 */
export function arithmetic(
  config: Pick<NetworkConfig, "layers" | "imageHeight" | "imageWidth" | "upscale">,
  backbone: Shapes,
  heads: Shapes,
): Arithmetic {
  const bottleneck = "layer1.0.conv3.weight" in backbone;
  const last = Math.max(...config.layers.map(stageOf));
  // Positions of the stem's convolution, and of each stage's output.
  const stem = { height: halved(config.imageHeight), width: halved(config.imageWidth) };
  const sizes = [{ height: halved(stem.height), width: halved(stem.width) }];
  for (let stage = 1; stage < last; stage++)
    sizes.push({ height: halved(sizes[stage - 1]!.height), width: halved(sizes[stage - 1]!.width) });
  const positions = (stage: number): number => sizes[stage - 1]!.height * sizes[stage - 1]!.width;

  let parameters = 0;
  let multiplyAdds = 0;
  const channels: number[] = [];
  for (const [name, shape] of Object.entries(backbone)) {
    const block = /^layer(\d)\.(\d+)\.(.+)\.(?:weight|bias|running_\w+)$/.exec(name);
    const stage = block ? Number(block[1]) : 0;
    if (stage > last) continue;
    if (!/\.running_\w+$/.test(name)) parameters += product(shape);
    if (shape.length < 2) continue;
    // The one layer that still sees the larger map: a bottleneck's stride is on its 3x3 convolution.
    const before = bottleneck && stage > 1 && block![2] === "0" && block![3] === "conv1";
    multiplyAdds += product(shape) * (stage === 0 ? stem.height * stem.width : positions(before ? stage - 1 : stage));
    if (stage > 0) channels[stage] = Math.max(channels[stage] ?? 0, shape[0]!);
  }

  const stages = config.layers.map(stageOf);
  // The map has twice the height and width of the largest layer map, unless the features are not upscaled.
  const plane =
    (config.upscale === false ? 1 : 4) *
    Math.max(...stages.map((stage) => sizes[stage - 1]!.height)) *
    Math.max(...stages.map((stage) => sizes[stage - 1]!.width));
  const score = 2 * classificationHidden + 2;
  let direct = 0;
  for (const [name, shape] of Object.entries(heads)) {
    if (!/\.running_\w+$/.test(name)) parameters += product(shape);
    if (shape.length > 1) direct += product(shape) * (shape.length === 4 ? plane : 1);
  }
  const wide = stages.reduce(
    (sum, stage) =>
      sum + positions(stage) * channels[stage]! * (segmentationHidden + kernelTaps * classificationHidden),
    0,
  );
  const lowResolution = wide + plane * (segmentationHidden + kernelTaps * classificationHidden) + score;
  return { parameters, direct: 2 * (multiplyAdds + direct), lowResolution: 2 * (multiplyAdds + lowResolution) };
}

const stageOf = (layer: string): number => Number(layer.slice("layer".length));
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
