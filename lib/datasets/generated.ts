import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";

import { z } from "zod";

import { invalid, throwIfAborted } from "../errors.js";
import { maskPng } from "../images/mask.js";
import { prefetch } from "../images/pipeline.js";
import { pngOf } from "../images/png.js";
import { rectangleText } from "../images/rectangle.js";
import { check, checkPath, checkValue } from "../schema/check.js";
import { generatedOptions } from "../schema/datasets.js";
import type { Settings } from "../schema/types.js";
import { inTurns } from "../turns.js";
import { makeFolder } from "../write.js";
import { folder, RECIPE } from "./folder.js";
import { manifest } from "./manifest.js";
import { type Part, partSteps } from "./part.js";
import type { Defect } from "./surface.js";
import type { Dataset, Split } from "./dataset.js";
import { namesThere, notOurs, writeWholeFolder } from "./whole_folder.js";

/** Options of datasets.generated. */
export interface GeneratedOptions extends Settings<typeof generatedOptions> {
  onProgress?: (progress: { written: number; total: number }) => void;
}

const WHERE = "datasets.generated";
const MANIFEST = "samples.csv";

/** What decides the pixels, as it is written beside them. */
function recipeOf(options: z.output<typeof generatedOptions>) {
  const { imageSize, seed, trainNormal, trainAnomalous, trainSegmented = trainAnomalous } = options;
  checkValue(WHERE, "trainSegmented", z.int().min(0).max(trainAnomalous), trainSegmented);
  const { testNormal, testAnomalous, defects, defectSize, background, ignoreRegion } = options;
  const most = Math.floor(Math.min(...imageSize) / (background ? 4 : 2));
  if (defectSize !== undefined && defectSize[1] > most)
    throw invalid(WHERE, "defectSize", `at most half of the part's shorter side, here ${most} pixels,`, defectSize);
  // In the order of recipes that were written before, with what came later only where it is asked for.
  return {
    generator: 1,
    imageSize,
    seed,
    trainNormal,
    trainAnomalous,
    trainSegmented,
    testNormal,
    testAnomalous,
    defects,
    ...(defectSize !== undefined && { defectSize }),
    ...(background && { background }),
    ...(ignoreRegion && { ignoreRegion }),
  };
}

type Recipe = ReturnType<typeof recipeOf>;

interface Plan {
  image: string;
  split: Split;
  mask?: string;
  ignore?: string;
  defect?: Defect;
  /** Of the image's random stream: so a larger data set begins with the images of a smaller one. */
  key: string;
}

/** Files to write, with paths relative to the root. */
function plan(recipe: Recipe): Plan[] {
  const plans: Plan[] = [];
  const name = (index: number): string => `${String(index).padStart(3, "0")}.png`;
  for (const [split, normal, anomalous, segmented] of [
    ["train", recipe.trainNormal, recipe.trainAnomalous, recipe.trainSegmented],
    ["test", recipe.testNormal, recipe.testAnomalous, recipe.testAnomalous],
  ] as const) {
    const ignored = (kind: string, file: string): Pick<Plan, "ignore"> =>
      recipe.ignoreRegion ? { ignore: `ignore/${split}/${kind}/${file.replace(".png", "_mask.png")}` } : {};
    for (let i = 0; i < normal; i++)
      plans.push({ image: `${split}/good/${name(i)}`, split, key: `${split} good ${i}`, ...ignored("good", name(i)) });
    for (let i = 0; i < anomalous; i++) {
      const defect = recipe.defects[i % recipe.defects.length]!;
      const file = name(Math.floor(i / recipe.defects.length));
      const truth = split === "train" ? `ground_truth/train/${defect}` : `ground_truth/${defect}`;
      plans.push({
        image: `${split}/${defect}/${file}`,
        split,
        key: `${split} ${defect} ${i}`,
        defect,
        ...(i < segmented ? { mask: `${truth}/${file.replace(".png", "_mask.png")}` } : {}),
        ...ignored(defect, file),
      });
    }
  }
  return plans;
}

/**
 * Makes a data set to try things on: PNG images of brushed, printed sheet metal with and without defects, in the layout
 * of datasets.folder, with an exact mask for every test defect. The same options give the same pixels. With `background` a
 * samples.csv beside them has the rectangle of each part as its roi.
 *
 * All of it is written to a temporary folder beside `root`, then renamed. A `root` that this made before with the same
 * options is opened again; any other folder that is not empty is an error (FILE_ERROR). Other errors: INVALID_OPTION,
 * NO_PERMISSION, NO_SPACE, ABORTED.
 *
 *     const data = await datasets.generated("plates", { trainNormal: 96, seed: 0 });
 */
export async function generated(root: string, options: GeneratedOptions = {}): Promise<Dataset> {
  checkPath(WHERE, "root", root, "a folder");
  const settings = check(WHERE, generatedOptions, options);
  const recipe = recipeOf(settings);
  const { signal } = settings;
  const { onProgress } = options;
  const base = path.resolve(root);
  const recipeText = `${JSON.stringify(recipe, undefined, 2)}\n`;
  const listed = recipe.background === true;
  const result = async (): Promise<Dataset> => ({
    ...(await (listed ? manifest(path.join(base, MANIFEST)) : folder(base))),
    kind: "generated",
  });
  if (await alreadyThere(base, recipeText)) return result();
  throwIfAborted(signal);

  const plans = plan(recipe);
  const [height, width] = recipe.imageSize;
  await writeWholeFolder(base, async (target) => {
    const writes = new Set<Promise<string>>(); // under way; they outlive a cancelled prefetch
    const write = async (file: string, png: Promise<Buffer>): Promise<void> => {
      await makeFolder(path.dirname(path.join(target, file)));
      await writeFile(path.join(target, file), await png);
    };
    for (const split of ["train", "test"] as const) await makeFolder(path.join(target, split, "good"));
    // Even when empty: it tells that no mask of a test image belongs to a training image of the same name.
    if (recipe.trainAnomalous > 0) await makeFolder(path.join(target, "ground_truth", "train"));
    const rows = ["image,label,mask,split,defect,ignore,roi"];
    // One is drawn at a time, for what it takes while it is drawn; others are encoded meanwhile.
    let drawing: Promise<unknown> = Promise.resolve();
    const draw = ({ defect, key }: Plan): Promise<Part> => {
      const { seed, defectSize, background = false, ignoreRegion = false } = recipe;
      const steps = partSteps({ seed, key, height, width, defect, defectSize, background, ignoreRegion });
      const drawn = drawing.then(async () => {
        await nextTurn();
        return inTurns(steps, signal);
      });
      drawing = drawn.catch(() => undefined);
      return drawn;
    };
    const encode = async (item: Plan): Promise<string> => {
      const { image, mask, ignore, split, defect = "" } = item;
      const part = await draw(item);
      await write(image, pngOf({ data: part.pixels, width, height, channels: 3 }));
      for (const [file, pixels] of [
        [mask, part.mask],
        [ignore, part.ignore],
      ] as const)
        // prettier-ignore
        if (file !== undefined && pixels !== undefined) await write(file, maskPng({ pixels, width, height }));
      const roi = part.roi === undefined ? "" : rectangleText(part.roi);
      return [image, defect === "" ? "normal" : "anomalous", mask, split, defect, ignore, roi].join(",");
    };
    const tracked = (item: Plan): Promise<string> => {
      const done = encode(item).finally(() => writes.delete(done));
      writes.add(done);
      return done;
    };
    try {
      for await (const row of prefetch(plans, tracked, { signal, ahead: 3 })) {
        rows.push(row);
        onProgress?.({ written: rows.length - 1, total: plans.length });
      }
    } finally {
      await Promise.allSettled(writes); // one of them could write into the folder after it was removed
    }
    if (listed) await writeFile(path.join(target, MANIFEST), `${rows.join("\n")}\n`);
    await writeFile(path.join(target, RECIPE), recipeText);
  });
  return result();
}

/** True: made before by the same recipe. False: nothing there. Throws when something else is. */
async function alreadyThere(base: string, recipeText: string): Promise<boolean> {
  const names = await namesThere(base);
  if (names.length === 0) return false;
  const found = names.includes(RECIPE) ? await readFile(path.join(base, RECIPE), "utf8").catch(() => "") : "";
  if (found === recipeText) return true;
  throw notOurs(base, found === "" ? "it is not empty" : "it holds a data set generated with other options");
}
