import assert from "node:assert/strict";

import type { z } from "zod";

import { invalid } from "../errors.js";
import { type Area, plainView, type View, type viewOptions } from "../schema/view.js";
import { checkArea, readArea } from "./areas.js";

/** The view as options give it. */
export type ViewGroup = z.output<typeof viewOptions>;

const areas = ["roi", "ignore"] as const;

/** Checks how the options of a view go together. Throws INVALID_OPTION. */
export function checkView(where: string, view: ViewGroup): void {
  const { fit = "stretch", scale, tiles } = view;
  const { size, overlap, scales } = tiles;
  for (const name of areas) {
    const area = view[name];
    if (area !== undefined && typeof area !== "string") checkArea(where, `view.${name}`, area);
  }
  if (size === undefined) {
    if (overlap !== undefined) throw invalid(where, "view.tiles.overlap", "nothing without tiles", overlap);
    if (scales !== undefined) throw invalid(where, "view.tiles.scales", "nothing without tiles", scales);
    if (scale !== undefined && fit === "stretch")
      throw invalid(where, "view.scale", "nothing without tiles, unless fit is 'pad' or 'crop',", scale);
    return;
  }
  if (overlap !== undefined && overlap >= size)
    throw invalid(where, "view.tiles.overlap", `an integer below the tiles' side, ${size},`, overlap);
  if (view.fit !== undefined && !scales?.includes("whole"))
    throw invalid(where, "view.fit", "nothing with tiles, unless the image is seen as a whole too,", view.fit);
  if (fit === "crop")
    throw invalid(
      where,
      "view.fit",
      "'stretch' or 'pad' beside tiles, because the whole must show what they show,",
      fit,
    );
}

/** Reads the masks that are files. Errors: those of decodeMask; INVALID_OPTION for one that marks nothing. */
export async function readView(where: string, view: ViewGroup): Promise<ViewGroup> {
  const read = async (name: (typeof areas)[number]): Promise<Area | undefined> => {
    const area = view[name];
    return typeof area === "string" ? readArea(where, `view.${name}`, area) : area;
  };
  return { ...view, roi: await read("roi"), ignore: await read("ignore") };
}

/** With everything filled in, as a model file holds it. Masks have been read. */
export function viewOf({ roi, ignore, fit, scale, tiles: { size, overlap, scales } }: ViewGroup): View {
  assert(typeof roi !== "string" && typeof ignore !== "string", "the masks of a view are read before it is used");
  const tiles = size === undefined ? null : { size, overlap: overlap ?? Math.floor(size / 4), scales: scales ?? [1] };
  return {
    roi: roi ?? plainView.roi,
    ignore: ignore ?? plainView.ignore,
    fit: fit ?? plainView.fit,
    scale: scale ?? (tiles ? 1 : null),
    tiles,
  };
}

/** The options that make this view. */
export function optionsOfView({ roi, ignore, fit, scale, tiles }: View): ViewGroup {
  return {
    roi: roi ?? undefined,
    ignore: ignore ?? undefined,
    fit: tiles && !tiles.scales.includes("whole") ? undefined : fit,
    scale: scale ?? undefined,
    tiles: tiles ?? {},
  };
}
