import { readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";

import { fileError, SuperSimpleNetError } from "../errors.js";
import { prefetch, throwIfAborted } from "../images/pipeline.js";
import { sharp } from "../images/sharp.js";
import { checkChoice, checkNumber, checkPath, invalid, rejectUnknown } from "../options.js";
import { Random } from "../random.js";
import { makeFolder, makeUniqueFolder } from "../write.js";
import { folder } from "./folder.js";
import { type Defect, DEFECTS, renderScene } from "./surface.js";
import type { Dataset } from "./types.js";

export interface GeneratedOptions {
  /** [height, width] in pixels, 64 to 2048. Default [256, 256]. */
  imageSize?: readonly [number, number];
  seed?: number;
  /** Normal training images. Default 96. */
  trainNormal?: number;
  /** Anomalous training images. Default 0. */
  trainAnomalous?: number;
  /** How many of those get a mask. Default: all. */
  trainSegmented?: number;
  /** Default 24. */
  testNormal?: number;
  /** Default 24; each with a mask. */
  testAnomalous?: number;
  /** Which defects, taken in turn. Default: scratch, pits, missing_print, stain, dent. */
  defects?: readonly Defect[];
  signal?: AbortSignal | undefined;
  onProgress?: (progress: { written: number; total: number }) => void;
}

type Recipe = Required<Omit<GeneratedOptions, "signal" | "onProgress">> & { generator: 1 };

const WHERE = "datasets.generated";
const RECIPE = "generated.json";

function readOptions(options: GeneratedOptions): Recipe {
  rejectUnknown(
    options,
    [
      "imageSize",
      "seed",
      "trainNormal",
      "trainAnomalous",
      "trainSegmented",
      "testNormal",
      "testAnomalous",
      "defects",
      "signal",
      "onProgress",
    ],
    WHERE,
  );
  const count = (name: string, value: number, max = 100_000): number =>
    checkNumber(WHERE, name, value, { min: 0, max, integer: true });
  const imageSize = options.imageSize ?? [256, 256];
  if (!Array.isArray(imageSize) || imageSize.length !== 2)
    throw invalid(WHERE, "imageSize", "[height, width]", imageSize);
  for (const side of imageSize) checkNumber(WHERE, "imageSize", side, { min: 64, max: 2048, integer: true });
  const defects = options.defects ?? DEFECTS;
  if (!Array.isArray(defects) || defects.length === 0) throw invalid(WHERE, "defects", "at least one defect", defects);
  for (const defect of defects) checkChoice(WHERE, "defects", defect, DEFECTS);
  const trainAnomalous = count("trainAnomalous", options.trainAnomalous ?? 0);
  return {
    generator: 1,
    imageSize: [imageSize[0]!, imageSize[1]!],
    seed: checkNumber(WHERE, "seed", options.seed ?? 0, { min: 0, integer: true }),
    trainNormal: count("trainNormal", options.trainNormal ?? 96),
    trainAnomalous,
    trainSegmented: count("trainSegmented", options.trainSegmented ?? trainAnomalous, trainAnomalous),
    testNormal: count("testNormal", options.testNormal ?? 24),
    testAnomalous: count("testAnomalous", options.testAnomalous ?? 24),
    defects: [...defects],
  };
}

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
  checkPath("datasets.generated", "root", root, "a folder");
  const recipe = readOptions(options);
  const { signal, onProgress } = options;
  const base = path.resolve(root);
  const recipeText = `${JSON.stringify(recipe, undefined, 2)}\n`;
  const result = async (): Promise<Dataset> => ({ ...(await folder(base)), kind: "generated" });
  if (await alreadyThere(base, recipeText)) return result();
  throwIfAborted(signal);

  const plans = plan(recipe);
  const [height, width] = recipe.imageSize as [number, number];
  let temporary: string | undefined;
  const writes = new Set<Promise<void>>(); // under way; they outlive a cancelled prefetch
  try {
    await makeFolder(path.dirname(base));
    temporary = await makeUniqueFolder(path.join(path.dirname(base), `.${path.basename(base)}.`));
    const target = temporary;
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
      if (mask !== undefined)
        await write(
          mask,
          scene.mask.map((value) => value * 255),
          1,
        );
    };
    const tracked = (item: Plan): Promise<void> => {
      const done = encode(item).finally(() => writes.delete(done));
      writes.add(done);
      return done;
    };
    for await (const _ of prefetch(plans, tracked, { signal, ahead: 3 }))
      onProgress?.({ written: ++written, total: plans.length });
    await writeFile(path.join(target, RECIPE), recipeText);
    await rmdir(base).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await rename(target, base);
  } catch (error) {
    await Promise.allSettled(writes); // one of them could write into the folder after it was removed
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true, maxRetries: 3 });
    throw fileError(error, "write data set", base);
  }
  return result();
}

/** True: made before by the same recipe. False: nothing there. Throws when something else is. */
async function alreadyThere(base: string, recipeText: string): Promise<boolean> {
  let names: string[];
  try {
    names = await readdir(base);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw fileError(error, "write data set", base);
  }
  if (names.length === 0) return false;
  const found = names.includes(RECIPE) ? await readFile(path.join(base, RECIPE), "utf8").catch(() => "") : "";
  if (found === recipeText) return true;
  const what = found === "" ? "it is not empty" : "it holds a data set generated with other options";
  throw new SuperSimpleNetError(
    "FILE_ERROR",
    `Cannot write data set ${base}: ${what}. Choose another folder, or delete this one.`,
    { path: base },
  );
}
