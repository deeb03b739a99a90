import path from "node:path";

/** What is used of onnxruntime-node, which is no dependency: its installation downloads CUDA libraries. */
interface Runtime {
  InferenceSession: { create(file: string, options: object): Promise<Session> };
  Tensor: new (type: "float32", data: Float32Array, shape: number[]) => object;
}
interface Session {
  run(feeds: Record<string, object>): Promise<Record<"map" | "score" | "logit", { data: Float32Array } | undefined>>;
}

const mean = [0.485, 0.456, 0.406];
const std = [0.229, 0.224, 0.225];

/** An exported network, of benchmarks/pytorch or ours, as a Node program would run it: on the CPU, pixels normalised in JavaScript. */
export class OnnxNetwork {
  private constructor(
    private readonly runtime: Runtime,
    private readonly session: Session,
  ) {}

  /** `folder`: of the installed package. */
  static async load(folder: string, file: string, threads: number): Promise<OnnxNetwork> {
    const runtime = require(path.resolve(folder)) as Runtime;
    return new OnnxNetwork(
      runtime,
      await runtime.InferenceSession.create(file, {
        executionProviders: ["cpu"],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        graphOptimizationLevel: "all",
      }),
    );
  }

  async detect(
    pixels: Uint8Array,
    count: number,
    height: number,
    width: number,
  ): Promise<{ scores: Float32Array; maps: Float32Array }> {
    const plane = height * width;
    const input = new Float32Array(count * 3 * plane);
    for (let i = 0; i < count; i++)
      for (let channel = 0; channel < 3; channel++) {
        const [from, to, scale, shift] = [
          i * plane * 3 + channel,
          (i * 3 + channel) * plane,
          1 / 255 / std[channel]!,
          mean[channel]! / std[channel]!,
        ];
        for (let p = 0; p < plane; p++) input[to + p] = pixels[from + 3 * p]! * scale - shift;
      }
    const { map, score, logit } = await this.session.run({
      image: new this.runtime.Tensor("float32", input, [count, 3, height, width]),
    });
    // PyTorch's export calls the logit its score.
    return { scores: (logit ?? score)!.data, maps: map!.data };
  }
}
