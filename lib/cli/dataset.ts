import path from "node:path";

import { z } from "zod";

import { countSamples } from "../datasets/dataset.js";
import { convertOptions, segmentedOptions } from "../schema/datasets.js";
import { chooseAction, command, interruptible } from "./command.js";
import { withoutEmptyFolders } from "./guards.js";
import * as rows from "./options.js";
import { output } from "./output.js";

const options = z.strictObject({
  out: rows.required("DIR", "Folder to write: new, or empty."),
  ...convertOptions.omit({ signal: true, onProgress: true }).shape,
  ...rows.source,
  ...segmentedOptions.shape,
});

export const dataset = command({
  name: "dataset",
  description:
    "'convert DIR' writes a data set of any kind that is read (folders, published ones, annotations of CVAT, COCO, Label Studio and LabelMe) as a manifest, samples.csv, with PNG masks beside it. docs/guides/data.md tells more.",
  positionals: { usage: "convert DIR", min: 2, max: 2, what: "convert DIR" },
  options,
  examples: [
    "supersimplenet dataset convert cvat-export --out data/bottle",
    "supersimplenet dataset convert instances.json --ignore-class logo,serial --copy --out data/bottle",
  ],
  async run({ out, copy, ...source }, [first, root]) {
    chooseAction(first, ["convert"]);
    const { datasets } = await import("../datasets/index.js");
    const folder = path.resolve(out);
    const converted = await withoutEmptyFolders(path.dirname(folder), () =>
      interruptible(async (signal) => {
        const found = await datasets.open(root!, source);
        for (const warning of found.warnings ?? []) output.warn(warning);
        const onProgress = ({ written, total }: { written: number; total: number }): void =>
          output.progress(`writing ${written}/${total}`);
        return datasets.convert(found, folder, { copy, signal, onProgress });
      }, "Stopping; nothing is left behind."),
    );
    output.done();
    const counts = countSamples(converted);
    const ignore = converted.samples.filter((sample) => sample.ignore !== undefined).length;
    const roi = converted.samples.filter((sample) => sample.roi !== undefined).length;
    const manifest = path.join(folder, "samples.csv");
    output.result(`manifest: ${manifest}`);
    const masks = counts.trainSegmented + counts.testSegmented;
    output.log(
      `${converted.samples.length} images: ${counts.trainNormal} normal and ${counts.trainAnomalous} anomalous to train on, ` +
        `${counts.testNormal} and ${counts.testAnomalous} to test; ${masks} masks, ${ignore} ignore masks, ${roi} regions of interest`,
    );
    output.document({ manifest, images: converted.samples.length, counts, masks, ignore, roi });
    return 0;
  },
});
