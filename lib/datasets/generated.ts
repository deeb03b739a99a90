import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";

import { z } from "zod";

import { throwIfAborted } from "../errors.js";
import { prefetch } from "../images/pipeline.js";
import { sharp } from "../images/sharp.js";
import { Random } from "../random.js";
import { check, checkPath, checkValue } from "../schema/check.js";
import { generatedOptions } from "../schema/datasets.js";
import type { Settings } from "../schema/types.js";
import { makeFolder } from "../write.js";
import { folder, RECIPE } from "./folder.js";
import { type Defect, renderScene } from "./surface.js";
import type { Dataset } from "./dataset.js";
import { namesThere, notOurs, writeWholeFolder } from "./whole_folder.js";

/** Options of datasets.generated. */
export interface GeneratedOptions extends Settings<typeof generatedOptions> {
  onProgress?: (progress: { written: number; total: number }) => void;
}

const WHERE = "datasets.generated";

/** What decides the pixels, as it is written beside them. */
function recipeOf(options: z.output<typeof generatedOptions>) {
  const { imageSize, seed, trainNormal, trainAnomalous, trainSegmented = trainAnomalous } = options;
  checkValue(WHERE, "trainSegmented", z.int().min(0).max(trainAnomalous), trainSegmented);
  const { testNormal, testAnomalous, defects } = options;
  // In the order of recipes that were written before.
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
  };
}

type Recipe = ReturnType<typeof recipeOf>;

interface Plan {
  image: string;
  mask?: string;
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
    for (let i = 0; i < normal; i++) plans.push({ image: `${split}/good/${name(i)}`, key: `${split} good ${i}` });
    for (let i = 0; i < anomalous; i++) {
      const defect = recipe.defects[i % recipe.defects.length]!;
      const file = name(Math.floor(i / recipe.defects.length));
      const truth = split === "train" ? `ground_truth/train/${defect}` : `ground_truth/${defect}`;
      plans.push({
        image: `${split}/${defect}/${file}`,
        key: `${split} ${defect} ${i}`,
        defect,
        ...(i < segmented ? { mask: `${truth}/${file.replace(".png", "_mask.png")}` } : {}),
      });
    }
  }
  return plans;
}

/**
 * Makes a data set to try things on: PNG images of brushed, printed sheet metal with and without defects, in the layout
 * of datasets.folder, with an exact mask for every test defect. The same options give the same pixels.
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
  const result = async (): Promise<Dataset> => ({ ...(await folder(base)), kind: "generated" });
  if (await alreadyThere(base, recipeText)) return result();
  throwIfAborted(signal);

  const plans = plan(recipe);
  const [height, width] = recipe.imageSize;
  await writeWholeFolder(base, async (target) => {
    const writes = new Set<Promise<void>>(); // under way; they outlive a cancelled prefetch
    const write = async (file: string, pixels: Uint8Array, channels: 1 | 3): Promise<void> => {
      const image = sharp(pixels, { raw: { width, height, channels } });
      // 1 channel would otherwise be stored as RGB.
      const png = await (channels === 1 ? image.toColourspace("b-w") : image).png({ compressionLevel: 6 }).toBuffer();
      await makeFolder(path.dirname(path.join(target, file)));
      await writeFile(path.join(target, file), png);
    };
    for (const split of ["train", "test"] as const) await makeFolder(path.join(target, split, "good"));
    // Even when empty: it tells that no mask of a test image belongs to a training image of the same name.
    if (recipe.trainAnomalous > 0) await makeFolder(path.join(target, "ground_truth", "train"));
    let written = 0;
    let turn = Promise.resolve(); // an image of many pixels takes a while: the event loop has its turn before each
    const encode = async ({ image, mask, defect, key }: Plan): Promise<void> => {
      await (turn = turn.then(() => nextTurn()));
      throwIfAborted(signal);
      const scene = renderScene(new Random(recipe.seed, "generated", key), height, width, defect);
      await write(image, scene.pixels, 3);
      const white = scene.mask.map((value) => value * 255);
      if (mask !== undefined) await write(mask, white, 1);
    };
    const tracked = (item: Plan): Promise<void> => {
      const done = encode(item).finally(() => writes.delete(done));
      writes.add(done);
      return done;
    };
    try {
      for await (const _ of prefetch(plans, tracked, { signal, ahead: 3 }))
        onProgress?.({ written: ++written, total: plans.length });
    } finally {
      await Promise.allSettled(writes); // one of them could write into the folder after it was removed
    }
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
