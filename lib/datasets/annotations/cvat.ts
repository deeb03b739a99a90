import path from "node:path";

import type { SaxesParser, SaxesTagPlain } from "saxes";

import type { Point, Polygon } from "../../images/polygons.js";
import { pieces, turns } from "../../turns.js";
import { oneProblem } from "../dataset.js";
import { addShape, type AnnotatedImage, annotationLoader, type Annotations, note, splitOf } from "./annotated.js";
import { annotationFiles, filesLike, readAnnotationFile, textOf } from "./files.js";
import { textRuns } from "./runs.js";
import { boxOf, Damaged, ellipseOf, numberOf, polygonOf, quoted, type Shape, turned, wholeOf } from "./shapes.js";

const LAYOUT = `  annotations.xml        CVAT's export "CVAT for images 1.1"
  images/*.png           or beside it, or in other folders below`;

type Attributes = Record<string, string>;

/** What is drawn and has no area; a track is what videos have. */
const NOT_READ: readonly string[] = ["polyline", "points", "cuboid", "skeleton"];

const looksLikeCvat = (text: string): boolean => /<annotations\b/.test(text);

function pointsOf(text: string | undefined): Point[] {
  return (text ?? "").split(";").map((pair) => {
    const [x, y, ...more] = pair.split(",");
    if (more.length > 0) throw new Damaged(`'points' has ${quoted(pair)}, not X,Y`);
    return [numberOf(x, "a coordinate"), numberOf(y, "a coordinate")];
  });
}

const readers = new Map(
  Object.entries<(attributes: Attributes) => Omit<Shape, "label">>({
    polygon: ({ points }) => ({ polygons: [polygonOf(pointsOf(points))] }),
    box: (box) => {
      const [left, top, right, bottom] = (["xtl", "ytl", "xbr", "ybr"] as const).map((name) =>
        numberOf(box[name], name),
      );
      const corners = boxOf([left!, top!], [right!, bottom!]);
      return { polygons: [spun(corners, [(left! + right!) / 2, (top! + bottom!) / 2], box)] };
    },
    ellipse: (ellipse) => {
      const [cx, cy, rx, ry] = (["cx", "cy", "rx", "ry"] as const).map((name) => numberOf(ellipse[name], name));
      return { polygons: [spun(ellipseOf([cx!, cy!], rx!, ry!), [cx!, cy!], ellipse)] };
    },
    mask: (mask) => {
      const box = {
        left: wholeOf(mask["left"], "left", -1e9),
        top: wholeOf(mask["top"], "top", -1e9),
        width: wholeOf(mask["width"], "width", 1),
        height: wholeOf(mask["height"], "height", 1),
      };
      return { runs: textRuns(mask["rle"] ?? "", box) };
    },
  }),
);

const spun = (points: Polygon, centre: Point, { rotation = "0" }: Attributes): Polygon =>
  turned(points, centre, numberOf(rotation, "rotation"));

/** Takes an annotations.xml, tag by tag. */
class CvatReader {
  readonly images: AnnotatedImage[] = [];
  readonly #open: string[] = [];
  #tags = 0;
  #image: AnnotatedImage | undefined;
  #count = 0;

  constructor(private readonly file: string) {}

  get warnings(): string[] {
    if (this.#tags === 0) return [];
    const images = this.#tags === 1 ? "1 tag of an image is" : `${this.#tags} tags of images are`;
    return [`${path.basename(this.file)}: ${images} not read. Draw defects as shapes.`];
  }

  enter({ name, attributes }: Pick<SaxesTagPlain, "name" | "attributes">): void {
    this.#open.push(name);
    if (this.#open[0] !== "annotations")
      throw new Damaged(`its outermost element is ${quoted(name)}, not 'annotations'`);
    if (this.#open.length === 2 && name === "track")
      throw new Damaged("it is annotated as a video. Export it as 'CVAT for images 1.1'");
    if (this.#open.length === 2 && name === "image") this.#begin(attributes);
    else if (this.#image !== undefined && this.#open.length === 3) this.#add(this.#image, name, attributes);
  }

  leave(): void {
    if (this.#open.length === 2) this.#image = undefined;
    this.#open.pop();
  }

  #begin({ name, width, height, subset }: Attributes): void {
    const image: AnnotatedImage = { file: this.file, name: name ?? "", shapes: [], damaged: [] };
    this.#image = image;
    this.#count = 0;
    this.images.push(image);
    const split = splitOf(subset ?? "");
    if (split !== undefined) image.split = split;
    for (const [which, value] of [
      ["width", width],
      ["height", height],
    ] as const)
      // prettier-ignore
      if (value !== undefined) note(image, "size", () => (image[which] = wholeOf(value, which, 1)));
  }

  #add(image: AnnotatedImage, kind: string, attributes: Attributes): void {
    const read = readers.get(kind);
    if (kind === "tag") this.#tags++;
    if (read === undefined && !NOT_READ.includes(kind)) return;
    note(image, `${kind} ${++this.#count}`, () => {
      if (read === undefined) throw new Damaged(`${kind}s have no area and are not read. Draw a polygon or a mask`);
      const label = textOf(attributes["label"]);
      if (label === undefined) throw new Damaged("it has no label");
      addShape(image, { label, ...read(attributes) });
    });
  }
}

/** Reads one file in turns. Nothing is expanded but XML's own five entities: a document type is refused. */
async function readCvat(file: string): Promise<Pick<Annotations, "images" | "warnings">> {
  const bytes = await readAnnotationFile(file);
  const { SaxesParser: Parser } = await import("saxes");
  const reader = new CvatReader(file);
  const parser: SaxesParser = new Parser();
  parser.on("doctype", () => {
    throw new Damaged("it has a document type (DOCTYPE), which annotations have no use for");
  });
  parser.on("error", (error) => {
    throw new Damaged(`it is not valid XML: ${error.message}`);
  });
  parser.on("opentag", (tag) => reader.enter(tag as SaxesTagPlain));
  parser.on("closetag", () => reader.leave());
  const decoder = new TextDecoder("utf-8");
  const breathe = turns();
  try {
    for (const piece of pieces(bytes)) {
      parser.write(decoder.decode(piece, { stream: true }));
      await breathe(piece.length);
    }
    parser.write(decoder.decode()).close();
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    throw oneProblem(file, `${error.message}.`, file);
  }
  return { images: reader.images, warnings: reader.warnings };
}

const filesOf = async (root: string, isAFile: boolean): Promise<string[]> =>
  filesLike(await annotationFiles(root, isAFile, ".xml"), looksLikeCvat);

/** CVAT's own format for images: polygons, boxes, ellipses and masks, of many images in one file. */
export const cvat = annotationLoader({
  kind: "cvat",
  summary: "annotations.xml of CVAT (CVAT for images 1.1), images beside it",
  layout: LAYOUT,
  filesOf,
  read: readCvat,
});
