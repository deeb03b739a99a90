import path from "node:path";

import { z } from "zod";

import type { Dataset, Sample } from "../datasets/dataset.js";
import { option } from "../schema/option.js";
import { describeViewOptions } from "../schema/training.js";
import { probeFolder, writeWholeFile } from "../write.js";
import { command, interruptible } from "./command.js";
import { refuseExisting, refuseInDataset, refuseInputs, withoutEmptyFolders } from "./guards.js";
import * as rows from "./options.js";
import { output } from "./output.js";
import { viewLines } from "./progress.js";

const options = z.strictObject({
  ...rows.dataset,
  ...describeViewOptions.pick({ model: true }).shape,
  out: rows.output("DIR|FILE.png", "Write a picture of what the network sees: this file, or view.png in this folder."),
  overwrite: rows.overwrite,
  count: option(z.int().min(1).max(64).default(4), {
    help: "Images in the picture: those with the smallest defects first, then other defective ones, then good ones.",
  }),
  ...describeViewOptions.omit({ model: true }).shape,
});

type Options = z.input<typeof options>;

export const view = command({
  name: "view",
  description:
    "Says what the network will see of the images, before a training: regions, scales and tiles, and how large the labelled defects are to it. With --out it draws some of the images so. Nothing is trained.",
  options,
  examples: [
    "supersimplenet view --data data/boards --tiles 256 --scale 0.5 --out view.png",
    "supersimplenet view --data data/boards --roi 10%,10%,80%,80% --ignore logo.png --json",
    "supersimplenet view --data data/boards --model runs/boards/model.safetensors --out pictures",
  ],
  run: (flags) => {
    const file = pictureFile(flags.out);
    return withoutEmptyFolders(file === undefined ? [] : path.dirname(file), () =>
      interruptible((signal) => run(flags, file, signal), "Stopping after the current image."),
    );
  },
});

/** The file of the picture. */
function pictureFile(out: string | undefined): string | undefined {
  if (out === undefined) return undefined;
  return path.resolve(/\.png$/i.test(out) ? out : path.join(out, "view.png"));
}

async function run(flags: Options, file: string | undefined, signal: AbortSignal): Promise<number> {
  const { data, kind, category, fold, ignoreClass, out: _, overwrite, count, ...asked } = flags;
  const { datasets } = await import("../datasets/index.js");
  const { inspectView } = await import("../training/describe_view.js");
  const dataset = await datasets.open(data, { kind, category, fold, ignoreClass });
  if (file !== undefined) await checkPlace(file, flags, dataset, overwrite);
  const onProgress = (done: number, total: number): void => output.progress(`looking at images ${done}/${total}`);
  const { description, eye, smallest } = await inspectView(dataset, { ...asked, signal, onProgress });
  if (file !== undefined) {
    const { viewPicture } = await import("../report/view.js");
    const chosen = byDefects(dataset.samples, smallest).slice(0, options.shape.count.parse(count));
    const drawing = (done: number, total: number): void => output.progress(`drawing ${done}/${total}`);
    await writeWholeFile(file, await viewPicture(chosen, eye, { signal, onProgress: drawing }));
  }
  output.done();
  const { warnings, ...numbers } = description;
  for (const line of viewLines(numbers)) output.result(line);
  for (const warning of warnings) output.warn(warning);
  if (file !== undefined) output.result(`picture: ${file}`);
  output.document({ data: { kind: dataset.kind, root: dataset.root }, ...description, picture: file ?? null });
  return 0;
}

async function checkPlace(file: string, flags: Options, dataset: Dataset, overwrite?: boolean): Promise<void> {
  refuseInDataset("out", file, flags.data);
  const { roi, ignore } = flags.view ?? {};
  const masks = [roi, ignore].filter((area) => typeof area === "string");
  const images = dataset.samples.flatMap(({ image, mask }) => [image, mask]);
  refuseInputs("out", [file], [flags.model, flags.data, ...masks, ...images]);
  refuseExisting("out", file, overwrite);
  await probeFolder(path.dirname(file));
}

/** Those with the smallest defects first, then defective ones whose defects nobody marked, then good ones. */
function byDefects(samples: readonly Sample[], smallest: ReadonlyMap<string, number>): Sample[] {
  const rank = ({ id, label }: Sample): number => smallest.get(id) ?? (label === "anomalous" ? 1e9 : 2e9);
  return [...samples].sort((a, b) => rank(a) - rank(b));
}
