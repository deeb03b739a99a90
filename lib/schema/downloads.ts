import { z } from "zod";

import { callback, pathType, signal } from "./common.js";
import { option } from "./option.js";
import type { Settings } from "./types.js";

/** What every download takes. */
export const transferShape = {
  signal,
  timeoutMs: option(
    z
      .number()
      .min(1)
      .max(2 ** 31 - 1)
      .default(30_000),
    { help: "Longest silence of the server, in milliseconds.", flag: false },
  ),
  attempts: option(z.int().min(1).max(100).default(5), {
    help: "Failures in a row, without a byte received between them, after which the download fails.",
    flag: false,
  }),
  retryDelayMs: option(z.number().min(0).max(600_000).default(1000), {
    help: "Pause before the second attempt, in milliseconds; it doubles each time.",
    flag: false,
  }),
};

const address = z.string().refine((value) => /^https?:\/\/[^/]/i.test(value) && URL.canParse(value));

/** Options of pullWeights. */
export const pullOptions = z.strictObject({
  baseUrl: option(address.optional(), {
    help: "Address of the folder of the files on a mirror.",
    placeholder: "URL",
    defaultText: "SUPERSIMPLENET_WEIGHTS_URL, else PyTorch's server",
    expected: "an http or https address",
  }),
  ...transferShape,
  onProgress: callback("How much of the file is there."),
});

/** Options of installCuda. */
export const installCudaOptions = z.strictObject({
  from: option(pathType.optional(), {
    help: "Take the wheels from this folder and download nothing.",
    placeholder: "DIR",
    expected: "a folder",
  }),
  indexUrl: option(address.optional(), {
    help: "Python package index to download from: the address that pip's --index-url takes.",
    placeholder: "URL",
    flag: "index",
    defaultText: "SUPERSIMPLENET_WHEELS_URL, else PIP_INDEX_URL; without either, pip downloads",
    expected: "an http or https address",
  }),
  force: option(z.boolean().default(false), { help: "Install again, even if it is there already.", switch: true }),
  ...transferShape,
  onProgress: callback("What is at work, and how much of it is done."),
});

export type TransferSettings = Settings<z.ZodObject<typeof transferShape>>;
