import { z } from "zod";

import { option } from "./option.js";

export const architectures = [
  "wide_resnet50_2",
  "wide_resnet101_2",
  "resnet50",
  "resnet101",
  "resnet34",
  "resnet18",
] as const;

/** The backbone behind the paper's results. */
export const paperBackbone = "wide_resnet50_2" satisfies (typeof architectures)[number];

export const isPath = (value: unknown): value is string =>
  typeof value === "string" && value !== "" && !value.includes("\0");

/** The path of a file or folder. */
export const pathType = z.string().refine(isPath);

/** What every option that names a backbone's weights says of its value. */
export const weightsRow = {
  help:
    "Weights of the backbone: a .safetensors or .pth file; auto: those in the cache folder; distilled: the package's own, " +
    "of resnet18; random: untrained, for tests.",
  placeholder: "FILE",
  expected: "'auto', 'distilled', 'random' or a path",
} as const;

const isSignal = (value: unknown): boolean => {
  const signal = value as Partial<AbortSignal> | null;
  return (
    typeof signal === "object" &&
    signal !== null &&
    typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function"
  );
};

export const signal = option(z.custom<AbortSignal>(isSignal).optional(), {
  help: "Cancels the work: the call fails with ABORTED.",
  expected: "an AbortSignal",
  flag: false,
  type: "AbortSignal",
});

/** A function that is called while the work goes on. Its type is written where the call is, for it may name what is above. */
export function callback(help: string): z.ZodOptional<z.ZodCustom<unknown, unknown>> {
  const type = z.custom<unknown>((value) => typeof value === "function").optional();
  return option(type, {
    help,
    expected: "a function",
    flag: false,
    record: false,
    type: "(...args: never[]) => unknown",
  });
}

export const device = option(
  z
    .string()
    .regex(/^(auto|cpu|cuda(:\d+)?)$/)
    .default("auto"),
  {
    help: "Where the network runs; cuda:1 is the second GPU, auto takes a GPU if one is usable.",
    placeholder: "auto|cpu|cuda",
    expected: "'auto', 'cpu', 'cuda' or 'cuda:N'",
    record: false,
  },
);

export const threads = option(z.int().min(1).max(1024).optional(), {
  help: "CPU threads of the engine; the number holds for the whole process until another is given.",
  defaultText: "SUPERSIMPLENET_THREADS, else the number of cores, within a container's quota",
  record: false,
});

export const memoryMiB = option(
  z
    .int()
    .min(1)
    .max(2 ** 20)
    .optional(),
  {
    help: "Memory that images may take at once while they are decoded; the others wait. It holds for the JavaScript thread.",
    placeholder: "MIB",
    flag: "memory-mib",
    defaultText: "an eighth of what the machine or the container has, 256 to 2048; less under ulimit -v",
    record: false,
  },
);

const side = z.int().min(32).max(8192);

export const imageSizeType = z.tuple([side, side]).readonly();

/** HxW, or one number for a square. */
export function readSize(written: string): readonly [number, number] | undefined {
  const match = /^(\d+)(?:x(\d+))?$/i.exec(written);
  return match ? [Number(match[1]), Number(match[2] ?? match[1])] : undefined;
}

export const imageSizeRow = {
  placeholder: "HxW",
  expected: "[height, width], each an integer at least 32 and at most 8192",
  written: "HEIGHTxWIDTH in pixels, each from 32 to 8192, such as 256x256, or one number for a square",
  read: readSize,
} as const;

/** Names separated by commas. */
export const readNames = (written: string): string[] => written.split(",");

/** Numbers separated by commas. */
export function readNumbers(written: string): number[] | undefined {
  const numbers = written.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  return numbers.every(Number.isFinite) ? numbers : undefined;
}

/** Bits that a sample of a 16-bit image can hold. */
export const fullDepth = 16;
const bits = z.int().min(8).max(fullDepth);
export const bitDepthOrAuto = z.union([z.literal("auto"), bits]);

/** What a model has of it. */
export const modelBitDepth = option(bits.default(fullDepth), {
  help: "Bits that the samples of 16-bit images hold.",
});

export const bitDepthRow = {
  placeholder: "auto|BITS",
  expected: "'auto' or an integer at least 8 and at most 16",
  written: "auto, or an integer from 8 to 16",
  read: (written: string): unknown =>
    written === "auto" ? "auto" : /^\d+$/.test(written) ? Number(written) : undefined,
} as const;

export const headsForms = ["lowResolution", "direct"] as const;
export const headsRow = {
  help: "How the heads are computed: in the fast low-resolution form, or directly, which is slow and serves as a check.",
  placeholder: "low-resolution|direct",
  written: "low-resolution or direct",
  defaultText: "low-resolution, where the network has it",
  read: (written: string): string => (written === "low-resolution" ? "lowResolution" : written),
} as const;

export const decisionRow = {
  help: "What makes a part a defect: the score, the maximum of the anomaly map, or either of them.",
  defaultText: "the model's own",
} as const;
