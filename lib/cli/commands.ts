import type { Command } from "./command.js";

/** A command before it is loaded. */
export interface CommandEntry {
  name: string;
  /** One line for the list of commands. */
  summary: string;
  load(): Promise<Command>;
}

/** Every command. It is loaded when it is called: the list, and a misspelt name, need neither schema nor engine. */
export const commands: readonly CommandEntry[] = [
  {
    name: "train",
    summary: "train a model on a folder of images and evaluate it",
    load: async () => (await import("./train.js")).train,
  },
  {
    name: "view",
    summary: "see what the network will see of images: regions, tiles, sizes of defects",
    load: async () => (await import("./view.js")).view,
  },
  {
    name: "evaluate",
    summary: "compute the metrics of a model on a data set",
    load: async () => (await import("./evaluate.js")).evaluate,
  },
  {
    name: "report",
    summary: "write a report of a training for people: one HTML file",
    load: async () => (await import("./report.js")).report,
  },
  {
    name: "experiment",
    summary: "run the paper's experiments on its data or your own",
    load: async () => (await import("./experiment.js")).experiment,
  },
  {
    name: "studio",
    summary: "collect, label, train, judge and decide in a browser",
    load: async () => (await import("./studio.js")).studio,
  },
  {
    name: "predict",
    summary: "find defects on images",
    load: async () => (await import("./predict.js")).predict,
  },
  {
    name: "watch",
    summary: "judge the images of a folder as they come, and send the results on",
    load: async () => (await import("./watch.js")).watch,
  },
  {
    name: "serve",
    summary: "answer HTTP requests with the verdict on images",
    load: async () => (await import("./serve.js")).serve,
  },
  {
    name: "calibrate",
    summary: "set a model's thresholds on new good parts, without training",
    load: async () => (await import("./calibrate.js")).calibrate,
  },
  {
    name: "convert",
    summary: "convert a PyTorch checkpoint of the authors' code or of anomalib",
    load: async () => (await import("./convert.js")).convert,
  },
  {
    name: "dataset",
    summary: "convert annotations and data sets of any kind to a manifest with PNG masks",
    load: async () => (await import("./dataset.js")).dataset,
  },
  {
    name: "export",
    summary: "write a model as an ONNX file, compared with the engine",
    load: async () => (await import("./export.js")).exportCommand,
  },
  {
    name: "verify",
    summary: "compare an ONNX file with its model on a data set",
    load: async () => (await import("./verify.js")).verify,
  },
  {
    name: "weights",
    summary: "list, download or import trained backbone weights",
    load: async () => (await import("./weights.js")).weights,
  },
  {
    name: "cuda",
    summary: "download the CUDA build of libtorch for an NVIDIA GPU",
    load: async () => (await import("./cuda.js")).cuda,
  },
  {
    name: "benchmark",
    summary: "measure how fast detection is on this machine",
    load: async () => (await import("./benchmark.js")).benchmark,
  },
  {
    name: "doctor",
    summary: "check the installation and name the command that fixes what is wrong",
    load: async () => (await import("./doctor.js")).doctor,
  },
  {
    name: "quickstart",
    summary: "try it in a few minutes: it draws its own images and downloads nothing",
    load: async () => (await import("./quickstart.js")).quickstart,
  },
];
