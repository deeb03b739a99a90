import path from "node:path";

import type { Point, Polygon } from "../../images/polygons.js";
import { turns } from "../../turns.js";
import { oneProblem } from "../dataset.js";
import { addShape, type AnnotatedImage, annotationLoader, type Annotations, note, splitOf } from "./annotated.js";
import { annotationFiles, filesLike, type Json, listOf, objectOf, readJson, textOf } from "./files.js";
import { checkSize, cocoCounts } from "./runs.js";
import { boxOf, checkedRuns, Damaged, numberOf, polygonOf, quoted, type Runs, type Shape, wholeOf } from "./shapes.js";

const LAYOUT = `  annotations/instances_train.json     COCO instances; or in the folder itself
  annotations/instances_test.json      train, val and test in the name say the split
  images/*.png                         or beside it, or in other folders below`;

const looksLikeCoco = (text: string): boolean =>
  /^\s*\{/.test(text) &&
  /"(images|annotations)"\s*:\s*\[/.test(text) &&
  /"(image_id|categories|category_id)"\s*:/.test(text);

/** The split that a file's name says: instances_train2017.json. */
const splitOfFile = (file: string): AnnotatedImage["split"] =>
  path.parse(file).name.split(/[-_. ]/).map(splitOf).find((split) => split !== undefined); // prettier-ignore

function polygonsOf(segmentation: readonly unknown[]): Polygon[] {
  return segmentation.map((part) => {
    const numbers = listOf(part);
    if (numbers.length % 2 === 1) throw new Damaged("a polygon has an odd number of coordinates");
    const points = Array.from({ length: numbers.length / 2 }, (_, i): Point => {
      const [x, y] = [numbers[2 * i], numbers[2 * i + 1]];
      return [numberOf(x, "a coordinate"), numberOf(y, "a coordinate")];
    });
    return polygonOf(points);
  });
}

function runsOf(segmentation: Json): Runs {
  const [height, width] = listOf(segmentation["size"]).map((side) => wholeOf(side, "a side of its mask", 1));
  if (height === undefined || width === undefined) throw new Damaged("its mask has no size");
  checkSize(width, height);
  const { counts } = segmentation;
  if (typeof counts !== "string" && !Array.isArray(counts)) throw new Damaged("its mask has no counts");
  const lengths = typeof counts === "string" ? cocoCounts(counts) : (counts as number[]);
  return checkedRuns({ left: 0, top: 0, width, height, counts: lengths, byColumn: true });
}

/** What an annotation covers: its polygons or runs; its box where it has neither. */
function coverage(annotation: Json, image: AnnotatedImage): Omit<Shape, "label"> {
  const { segmentation, bbox } = annotation;
  if (Array.isArray(segmentation) && segmentation.length > 0) return { polygons: polygonsOf(segmentation) };
  if (typeof segmentation === "object" && segmentation !== null && !Array.isArray(segmentation)) {
    const runs = runsOf(segmentation as Json);
    const { width = runs.width, height = runs.height } = image;
    if (runs.width !== width || runs.height !== height)
      throw new Damaged(`its mask is ${runs.width} x ${runs.height} but the image ${width} x ${height}`);
    return { runs };
  }
  const [x, y, width, height] = listOf(bbox).map((value) => numberOf(value, "a number of its box"));
  if (height === undefined) throw new Damaged("it has neither a segmentation nor a box");
  return { polygons: [boxOf([x!, y!], [x! + width!, y! + height])] };
}

async function readCoco(file: string): Promise<Pick<Annotations, "images" | "problems">> {
  const read = objectOf(await readJson(file));
  for (const name of ["images", "annotations", "categories"])
    if (!Array.isArray(read[name])) throw oneProblem(file, `it has no list '${name}'.`, file);
  const breathe = turns();
  const split = splitOfFile(file);
  const names = new Map<unknown, string>();
  for (const category of listOf(read["categories"]).map(objectOf)) {
    const name = textOf(category["name"]);
    if (name !== undefined) names.set(category["id"], name);
  }
  const images = new Map<unknown, AnnotatedImage>();
  for (const value of listOf(read["images"]).map(objectOf)) {
    const image: AnnotatedImage = { file, name: textOf(value["file_name"]) ?? "", shapes: [], damaged: [] };
    if (split !== undefined) image.split = split;
    for (const side of ["width", "height"] as const)
      if (typeof value[side] === "number") note(image, "size", () => (image[side] = wholeOf(value[side], side, 1)));
    if (images.has(value["id"])) note(image, "id", () => { throw new Damaged(`${quoted(value["id"])} is that of another image too`); }); // prettier-ignore
    images.set(images.has(value["id"]) ? Symbol("twice") : value["id"], image);
    await breathe(64);
  }
  const problems: string[] = [];
  for (const annotation of listOf(read["annotations"]).map(objectOf)) {
    const image = images.get(annotation["image_id"]);
    const what = `annotation ${quoted(annotation["id"])}`;
    if (image === undefined) {
      problems.push(
        `${path.basename(file)}: ${what} is of the image ${quoted(annotation["image_id"])}, which the file does not have.`,
      );
      continue;
    }
    note(image, what, () => {
      const label = names.get(annotation["category_id"]);
      if (label === undefined) throw new Damaged(`there is no category ${quoted(annotation["category_id"])}`);
      addShape(image, { label, ...coverage(annotation, image) });
    });
    await breathe(4096);
  }
  return { images: [...images.values()], problems };
}

/** Beside captions and keypoints of the same images, only the instances. */
async function filesOf(root: string, isAFile: boolean): Promise<string[]> {
  const files = await filesLike(await annotationFiles(root, isAFile, ".json"), looksLikeCoco);
  const instances = files.filter((file) => /^instances/i.test(path.basename(file)));
  return instances.length > 0 ? instances : files;
}

/** COCO's instances: polygons and runs of several images in one file. */
export const coco = annotationLoader({
  kind: "coco",
  summary: "COCO instances (JSON), images beside it",
  layout: LAYOUT,
  filesOf,
  read: readCoco,
});
