import { z } from "zod";

import { callback, pathType } from "./common.js";
import { detectorOptions } from "./detection.js";
import { option } from "./option.js";

const path = { placeholder: "FILE", expected: "a path" } as const;

/** A model's name in addresses and labels. */
export const modelName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const nameRule = "letters, digits, '.', '_' and '-', at most 64, the first a letter or a digit";

/** NAME=FILE, as often as there are models. */
function readModel(written: string, before: unknown): Record<string, string> | undefined {
  const [, name, file] = /^([^=]+)=(.+)$/s.exec(written) ?? [];
  const models = (before ?? {}) as Record<string, string>;
  return name === undefined || file === undefined || Object.hasOwn(models, name)
    ? undefined
    : { ...models, [name]: file };
}

const readHosts = (written: string, before: unknown): string[] => [
  ...((before as string[] | undefined) ?? []),
  ...written.split(","),
];

const { device, threads, memoryMiB, backboneWeights, minAreaPx, minPeak, batchSize, precision, cudaGraphs } =
  detectorOptions.shape;

/** Options of createServer. */
export const serverOptions = z.strictObject({
  models: option(z.record(modelName, pathType).default({}), {
    help: "A model and the name that requests call it by; give it once for each model.",
    flag: "model",
    placeholder: "NAME=FILE",
    expected: `model files by name; a name has ${nameRule}`,
    written: `NAME=FILE, each name once; a name has ${nameRule}`,
    read: readModel,
    defaultText: "those in the models folder",
  }),
  modelsDir: option(pathType.optional(), {
    help: "Folder whose NAME.safetensors files are served too, and into which PUT writes models.",
    placeholder: "DIR",
    expected: "a path",
    defaultText: "none: PUT takes no files",
  }),
  host: option(z.string().min(1).default("127.0.0.1"), {
    help: "Address to listen at; one that other machines reach needs a token.",
    placeholder: "ADDRESS",
  }),
  port: option(z.int().min(0).max(65535).default(8080), { help: "Port to listen at; 0: any free one." }),
  token: option(
    z
      .string()
      .regex(/^[\x21-\x7e]{16,}$/)
      .optional(),
    {
      help: "What clients must send as 'Authorization: Bearer TOKEN'.",
      flag: false,
      expected: "16 or more characters without spaces",
      defaultText: "none is asked for",
    },
  ),
  tokenFile: option(pathType.optional(), {
    help: "File with the token that clients must send as 'Authorization: Bearer TOKEN'.",
    ...path,
    defaultText: "none is asked for",
  }),
  withoutToken: option(z.boolean().default(false), {
    help: "Let everybody who reaches the address use the server.",
    flag: "no-token",
    switch: true,
  }),
  allowHosts: option(z.array(z.string().min(1)).readonly().default([]), {
    help: "Names that clients may call this machine by; IP addresses and localhost always may.",
    flag: "allow-host",
    placeholder: "NAME,...",
    read: readHosts,
    expected: "a list of host names",
    defaultText: "none",
  }),
  tlsCert: option(pathType.optional(), {
    help: "Certificate chain (PEM) for HTTPS.",
    ...path,
    defaultText: "none: HTTP",
  }),
  tlsKey: option(pathType.optional(), { help: "Private key (PEM) of the certificate.", ...path, defaultText: "none" }),
  queueSize: option(z.int().min(1).max(65536).default(64), {
    help: "Images that wait or are being detected, of all models; beyond that requests are refused with 429.",
  }),
  queueMiB: option(
    z
      .int()
      .min(1)
      .max(2 ** 20)
      .default(512),
    {
      help: "Memory for images as sent that are not answered yet; beyond that requests are refused with 429.",
      flag: "queue-mib",
      placeholder: "MIB",
    },
  ),
  timeoutMs: option(z.int().min(1).max(3_600_000).default(30_000), {
    help: "Time from the head of a request to its answer, at most; a request may ask for less with Request-Timeout-Ms.",
    placeholder: "MS",
    flag: "timeout-ms",
  }),
  headerTimeoutMs: option(z.int().min(100).max(600_000).default(10_000), {
    help: "Time that a client has to send the head of a request.",
    placeholder: "MS",
    flag: "header-timeout-ms",
  }),
  stopTimeoutMs: option(z.int().min(0).max(600_000).default(30_000), {
    help: "Time that running requests have to end when the server stops.",
    placeholder: "MS",
    flag: "stop-timeout-ms",
  }),
  maxBodyMiB: option(z.int().min(1).max(4095).default(64), {
    help: "The largest image as sent, alone or as a part.",
    placeholder: "MIB",
    flag: "max-body-mib",
  }),
  maxMegapixels: option(z.number().gt(0).max(536.870912).default(64), {
    help: "The largest image in millions of pixels.",
    placeholder: "X",
  }),
  maxParts: option(z.int().min(1).max(1_000_000).default(256), { help: "Images in one request, at most." }),
  reloadSeconds: option(z.number().min(0).max(86_400).default(2), {
    help: "How often model files are looked at, to load those that have changed; 0: never.",
    placeholder: "SECONDS",
  }),
  logLevel: option(z.enum(["fatal", "error", "warn", "info", "debug"]).default("info"), {
    help: "What is logged; info has a line for each request.",
  }),
  device,
  threads,
  memoryMiB,
  backboneWeights,
  minAreaPx,
  minPeak,
  batchSize,
  precision,
  cudaGraphs,
  onLog: callback("Called with each line of the log, a JSON object."),
});

/** Those that make a detector. */
export const servedDetectorOptions = serverOptions.pick({
  device: true,
  threads: true,
  memoryMiB: true,
  backboneWeights: true,
  minAreaPx: true,
  minPeak: true,
  batchSize: true,
  precision: true,
  cudaGraphs: true,
});

export type ServerSettings = z.output<typeof serverOptions>;

/** What a request for a detection may ask for in its address. */
export const detectQuery = z.strictObject({
  map: option(z.enum(["none", "png", "npy"]).default("none"), {
    help: "Send the anomaly map along: png is a heat map, npy holds float32 logits at the model's input size.",
  }),
  overlay: option(z.enum(["0", "1"]).default("0"), { help: "1: send a picture along: image, heat map and contour." }),
  id: option(z.string().min(1).max(256).optional(), {
    help: "What the answer calls the image.",
    defaultText: "the part's file name, else the request's id",
    expected: "1 to 256 characters",
  }),
});

export type DetectQuery = z.output<typeof detectQuery>;
