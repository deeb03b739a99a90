import { z } from "zod";

import { callback, pathType, signal } from "./common.js";
import { option } from "./option.js";
import { outputOptions } from "./outputs.js";
import type { Settings } from "./types.js";

const folder = { placeholder: "DIR", expected: "a folder" };

/** Options of openKeeper. */
export const keepOptions = z.strictObject({
  keep: option(
    z
      .array(z.string().regex(/^(unsure|defect|good|(random|near):\d*\.?\d+)$/))
      .readonly()
      .optional(),
    {
      help:
        "Which images are kept for the next training, by commas: unsure, defect, good, near:X (margin within X standard " +
        "deviations of the threshold), random:SHARE.",
      placeholder: "RULES",
      defaultText: "none",
      expected: "a list of unsure, defect, good, near:X and random:SHARE",
      written: "unsure, defect, good, near:X and random:SHARE, separated by commas",
      read: (written) => written.split(","),
      record: false,
    },
  ),
  keepDir: option(pathType.optional(), { ...folder, help: "Folder of the images that are kept.", defaultText: "none" }),
  keepMiB: option(
    z
      .int()
      .min(1)
      .max(2 ** 30)
      .default(1024),
    { help: "Size of that folder from which on no more are kept.", placeholder: "MIB", flag: "keep-mib" },
  ),
});

export type KeepSettings = Settings<typeof keepOptions>;

/** Options of watchFolder. */
export const watchOptions = z.strictObject({
  stateDir: option(pathType.optional(), {
    ...folder,
    help: `${outputOptions.shape.stateDir.description} It also holds the journal of the images that are done.`,
    defaultText: ".supersimplenet in the folder that is watched",
  }),
  pollMs: option(z.int().min(10).max(3_600_000).optional(), {
    help: "Look into the folder this often instead of waiting for the system to tell: for network shares, which tell nothing.",
    placeholder: "MS",
    defaultText: "the system tells",
  }),
  settleMs: option(z.int().min(1).max(600_000).default(200), {
    help: "A PNG or JPEG file is complete with its last bytes, any other image once its size and time have stayed the same for so long, in milliseconds.",
    placeholder: "MS",
  }),
  moveTo: option(pathType.optional(), {
    ...folder,
    help: "Move images that are recorded into good, unsure, defect and unreadable in this folder.",
    defaultText: "they stay where they are",
  }),
  removeAfterDays: option(z.number().positive().max(36_500).optional(), {
    help: "Remove images so long after they were recorded.",
    placeholder: "DAYS",
    defaultText: "never",
  }),
  minFreeMiB: option(
    z
      .int()
      .min(1)
      .max(2 ** 30)
      .optional(),
    {
      help: "Remove the oldest recorded images while their disk has less space than this.",
      placeholder: "MIB",
      flag: "min-free-mib",
      defaultText: "never",
    },
  ),
  signal,
  onReady: callback("The folder is being watched."),
  onResult: callback("The result of an image, before it goes to the outputs."),
  onUnreadable: callback("An image that could not be read for some seconds, and why."),
  onTrouble: callback("Something that does not stop the work, such as a folder that cannot be listed now."),
});

export type WatchSettings = Settings<typeof watchOptions>;
