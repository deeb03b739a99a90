import path from "node:path";

import { isImageFile } from "../../images/formats.js";
import type { Point } from "../../images/polygons.js";
import { turns } from "../../turns.js";
import { oneProblem } from "../dataset.js";
import { addShape, type AnnotatedImage, annotationLoader, type Annotations, note } from "./annotated.js";
import { annotationFiles, filesLike, type Json, listOf, objectOf, readJson, textOf } from "./files.js";
import { brushRuns } from "./runs.js";
import { boxOf, Damaged, ellipseOf, numberOf, polygonOf, type Shape, turned, wholeOf } from "./shapes.js";

const LAYOUT = `  project.json       Label Studio's export "JSON"
  images/*.png       or beside it, or in other folders below; the prefix of uploads ("1a2b3c4d-") may be missing`;

const looksLikeLabelStudio = (text: string): boolean =>
  /^\s*\[/.test(text) && /"annotations"\s*:\s*\[/.test(text) && /"(data|result)"\s*:/.test(text);

type Read = (value: Json, width: number, height: number) => Omit<Shape, "label">;

/** A share of a side in percent, in pixels. */
const share = (value: unknown, side: number, what: string): number => (numberOf(value, what) * side) / 100;

/** By the type of a region, which is also the name of the list of its classes. */
const readers = new Map(
  Object.entries<Read>({
    polygonlabels: ({ points }, width, height) => ({
      polygons: [
        polygonOf(
          listOf(points).map((point): Point => {
            const [x, y] = listOf(point);
            return [share(x, width, "a coordinate"), share(y, height, "a coordinate")];
          }),
        ),
      ],
    }),
    rectanglelabels(value, width, height) {
      const [x, y] = [share(value["x"], width, "x"), share(value["y"], height, "y")];
      const across = share(value["width"], width, "width");
      const down = share(value["height"], height, "height");
      return { polygons: [turned(boxOf([x, y], [x + across, y + down]), [x, y], rotationOf(value))] };
    },
    ellipselabels(value, width, height) {
      const centre: Point = [share(value["x"], width, "x"), share(value["y"], height, "y")];
      const rx = share(value["radiusX"], width, "radiusX");
      const ry = share(value["radiusY"], height, "radiusY");
      return { polygons: [turned(ellipseOf(centre, rx, ry), centre, rotationOf(value))] };
    },
    brushlabels: ({ rle }, width, height) => ({ runs: brushRuns(rle, width, height) }),
  }),
);

const rotationOf = ({ rotation = 0 }: Json): number => numberOf(rotation, "rotation");

/** Regions that have no area, or none of their own: their class lies in another region. */
const NOT_READ: readonly string[] = [
  "keypointlabels",
  "vectorlabels",
  "polygon",
  "rectangle",
  "ellipse",
  "brush",
  "labels",
];

/** What the image is called: the path in a storage, the file of an upload, or the end of an address. */
function nameOf(task: Json): string {
  const data = objectOf(task["data"]);
  const written =
    textOf(data["image"]) ??
    Object.values(data)
      .map(textOf)
      .find((value) => value !== undefined && isImageFile(plainName(value))) ?? // prettier-ignore
    textOf(task["file_upload"]) ??
    "";
  return plainName(written);
}

/** Without the address before it: /data/local-files/?d=folder/a%20b.png is folder/a b.png. */
function plainName(written: string): string {
  const local = /[?&]d=([^&]*)/.exec(written)?.[1];
  const name = local ?? written.replace(/[?#].*$/, "").replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*\//i, "");
  try {
    return decodeURIComponent(name).replace(/^\/+/, "");
  } catch {
    return name; // a per cent sign of its own
  }
}

function addResult(image: AnnotatedImage, result: Json, what: string): void {
  const type = textOf(result["type"]) ?? "";
  const reader = readers.get(type);
  if (reader === undefined && !NOT_READ.includes(type)) return; // choices, texts, ratings
  note(image, `${what} (${type})`, () => {
    if (reader === undefined) throw new Damaged("regions of this type are not read. Label with polygons or a brush");
    const value = objectOf(result["value"]);
    const label = textOf(listOf(value[type])[0]);
    if (label === undefined) throw new Damaged("it has no class");
    if (numberOf(result["image_rotation"] ?? 0, "image_rotation") % 360 !== 0)
      throw new Damaged("it was drawn on the image turned. Turn the image itself");
    const width = wholeOf(result["original_width"], "original_width", 1);
    const height = wholeOf(result["original_height"], "original_height", 1);
    if (width !== (image.width ??= width) || height !== (image.height ??= height))
      throw new Damaged(`it was drawn on ${width} x ${height} pixels, another on ${image.width} x ${image.height}`);
    addShape(image, { label, ...reader(value, width, height) });
  });
}

async function readLabelStudio(file: string): Promise<Pick<Annotations, "images" | "warnings">> {
  const tasks = await readJson(file);
  if (!Array.isArray(tasks)) throw oneProblem(file, "it is not a list of tasks. Export it as 'JSON'.", file);
  const breathe = turns();
  const images: AnnotatedImage[] = [];
  let skipped = 0;
  let choices = 0;
  for (const task of tasks.map(objectOf)) {
    const annotations = listOf(task["annotations"])
      .map(objectOf)
      .filter((annotation) => annotation["was_cancelled"] !== true);
    const truths = annotations.filter((annotation) => annotation["ground_truth"] === true);
    const image: AnnotatedImage = { file, name: nameOf(task), shapes: [], damaged: [] };
    const own = /(?:^|\/)[0-9a-f]{8}-([^/]+)$/.exec(image.name)?.[1]; // before it was uploaded
    if (own !== undefined) image.otherName = own;
    if (annotations.length === 0) {
      skipped++;
      continue;
    }
    images.push(image);
    let number = 0;
    for (const { result } of truths.length > 0 ? truths : annotations)
      for (const region of listOf(result).map(objectOf)) {
        if (region["type"] === "choices") choices++;
        addResult(image, region, `region ${++number}`);
        await breathe(4096 + listOf(objectOf(region["value"])["rle"]).length);
      }
  }
  const name = path.basename(file);
  const warnings: string[] = [];
  if (skipped > 0)
    warnings.push(`${name}: ${skipped === 1 ? "1 task without an annotation is" : `${skipped} tasks without an annotation are`} left out.`); // prettier-ignore
  if (choices > 0)
    warnings.push(`${name}: ${choices === 1 ? "1 choice for an image is" : `${choices} choices for images are`} not read. Label defects as regions.`); // prettier-ignore
  return { images, warnings };
}

const filesOf = async (root: string, isAFile: boolean): Promise<string[]> =>
  filesLike(await annotationFiles(root, isAFile, ".json"), looksLikeLabelStudio);

/** Label Studio: polygons, rectangles, ellipses and brushes of several images in one file. */
export const labelstudio = annotationLoader({
  kind: "labelstudio",
  summary: "Label Studio's export (JSON), images beside it",
  layout: LAYOUT,
  filesOf,
  read: readLabelStudio,
});
