import path from "node:path";

import { SuperSimpleNetError } from "../../errors.js";
import { isFolder } from "../../files/input.js";
import { decodeMask } from "../../images/mask.js";
import type { Point } from "../../images/polygons.js";
import { findName, listFolder } from "../listing.js";
import type { Loader } from "../loader.js";
import { addShape, type AnnotatedImage, annotatedDataset, type Annotations, note } from "./annotated.js";
import { filesLike, imageRoot, type Json, listOf, objectOf, readJson, textOf } from "./files.js";
import { boxOf, Damaged, ellipseOf, numberOf, polygonOf, quoted, type Runs, type Shape, wholeOf } from "./shapes.js";

const LAYOUT = `  000.png 000.json ...             an image and what LabelMe saved of it, side by side
  train/000.png train/000.json     or in folders; those called train and test are the splits`;

/** How deep folders are looked into. */
const DEPTH = 4;

const looksLikeLabelMe = (text: string): boolean =>
  /^\s*\{/.test(text) && /"shapes"\s*:\s*\[/.test(text) && /"(imagePath|flags|imageData|version)"\s*:/.test(text);

/** The JSON files of a folder and of those below it; with `most` only so many are looked for. */
async function jsonFiles(folder: string, depth = DEPTH, most = Infinity): Promise<string[]> {
  const { files, folders } = await listFolder(folder);
  const found = files.filter((name) => /\.json$/i.test(name)).map((name) => path.join(folder, name));
  for (const name of folders)
    if (depth > 0 && found.length < most)
      found.push(...(await jsonFiles(path.join(folder, name), depth - 1, most - found.length)));
  return found.slice(0, most);
}

function pointsOf(shape: Json): Point[] {
  return listOf(shape["points"]).map((point) => {
    const [x, y] = listOf(point);
    return [numberOf(x, "a coordinate"), numberOf(y, "a coordinate")];
  });
}

function corners(shape: Json): [Point, Point] {
  const points = pointsOf(shape);
  const [first, second] = points;
  if (first === undefined || second === undefined)
    throw new Damaged(`it has ${points.length === 1 ? "1 point" : `${points.length} points`}; 2 are needed`);
  return [first, second];
}

const readers = new Map(
  Object.entries<(shape: Json) => Omit<Shape, "label">>({
    polygon: (shape) => ({ polygons: [polygonOf(pointsOf(shape))] }),
    rectangle(shape) {
      const points = pointsOf(shape);
      return { polygons: [points.length > 2 ? polygonOf(points) : boxOf(...corners(shape))] };
    },
    circle(shape) {
      const [centre, edge] = corners(shape);
      const radius = Math.hypot(edge[0] - centre[0], edge[1] - centre[1]);
      return { polygons: [ellipseOf(centre, radius, radius)] };
    },
  }),
);

/** The mask of a shape of type "mask": a PNG of its box, whose first point is its upper left corner. */
async function runsOf(shape: Json): Promise<Runs> {
  const [corner] = pointsOf(shape);
  const text = textOf(shape["mask"]);
  if (corner === undefined || text === undefined) throw new Damaged("it has no points or no mask");
  const [left, top] = corner.map(Math.round) as [number, number];
  const { pixels, width, height } = await decodeMask(Buffer.from(text, "base64"), "in 'mask'").catch(
    (error: unknown) => {
      throw error instanceof SuperSimpleNetError ? new Damaged(error.message.replace(/\.$/, "")) : error;
    },
  );
  const counts: number[] = [];
  for (let at = 0, inside = 0; at < pixels.length; inside = 1 - inside) {
    const change = pixels.indexOf(1 - inside, at);
    const end = change < 0 ? pixels.length : change;
    counts.push(end - at);
    at = end;
  }
  return { left, top, width, height, counts, byColumn: false };
}

async function readLabelMe(file: string, read: Json): Promise<AnnotatedImage> {
  const image: AnnotatedImage = { file, name: textOf(read["imagePath"]) ?? "", shapes: [], damaged: [] };
  for (const [side, written] of [
    ["width", read["imageWidth"]],
    ["height", read["imageHeight"]],
  ] as const)
    // prettier-ignore
    if (typeof written === "number") note(image, "size", () => (image[side] = wholeOf(written, side, 1)));
  if (!Array.isArray(read["shapes"])) note(image, "shapes", () => { throw new Damaged("it has no list of them"); }); // prettier-ignore
  for (const [i, value] of listOf(read["shapes"]).entries()) {
    const shape = objectOf(value);
    const type = textOf(shape["shape_type"]) ?? "polygon"; // old files have polygons alone
    let runs: Runs | Damaged | undefined;
    if (type === "mask")
      runs = await runsOf(shape).catch((error: unknown) => {
        if (error instanceof Damaged) return error;
        throw error;
      });
    note(image, `shape ${i + 1} (${type})`, () => {
      if (runs instanceof Damaged) throw runs;
      const label = textOf(shape["label"]);
      if (label === undefined) throw new Damaged("it has no label");
      if (runs !== undefined) return addShape(image, { label, runs });
      const reader = readers.get(type);
      if (reader === undefined)
        throw new Damaged(`shapes of the type ${quoted(type)} have no area and are not read. Draw a polygon`);
      addShape(image, { label, ...reader(shape) });
    });
  }
  return image;
}

/** Whether a folder is laid out as datasets.folder reads it: JSON files in it are then beside the point. */
async function isPlainFolder(root: string): Promise<boolean> {
  const train = findName((await listFolder(root)).folders, "train");
  const inside = train === undefined ? [] : (await listFolder(path.join(root, train))).folders;
  return ["good", "ok", "normal"].some((name) => findName(inside, name) !== undefined);
}

const accepts = async (root: string, isAFile: boolean): Promise<boolean> => {
  const some = isAFile ? [root] : await jsonFiles(root, DEPTH, 3);
  return (await filesLike(some, looksLikeLabelMe)).length > 0;
};

/** LabelMe: one JSON file beside each image, with polygons, rectangles, circles and masks. */
export const labelme: Loader = {
  kind: "labelme",
  summary: "images with LabelMe's JSON files beside them",
  layout: LAYOUT,
  takes: ["ignoreClass"],
  matches: async (root, isAFile) => (isAFile || !(await isPlainFolder(root))) && (await accepts(root, isAFile)),
  accepts,
  async load(root, options) {
    const isAFile = !(await isFolder(root));
    const files: string[] = [];
    const read: Annotations = { images: [], files, problems: [], warnings: [] };
    for (const file of isAFile ? [root] : await jsonFiles(root)) {
      try {
        const saved = objectOf(await readJson(file));
        if (!("shapes" in saved || "imagePath" in saved)) continue; // another program's
        read.images.push(await readLabelMe(file, saved));
      } catch (error) {
        if (!(error instanceof SuperSimpleNetError)) throw error;
        read.problems.push(error.message);
      }
      files.push(file);
    }
    return annotatedDataset("labelme", imageRoot(root, isAFile), read, options);
  },
};
