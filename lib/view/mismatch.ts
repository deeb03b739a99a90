import { type Text, SuperSimpleNetError } from "../errors.js";

export interface Size {
  width: number;
  height: number;
}

export const sizeText = ({ width, height }: Size): string => `${width}x${height}`;

/** VIEW_MISMATCH: an image that a view cannot be applied to. `reason` is a sentence. */
export const mismatch = (name: string, reason: string, fix?: Text): SuperSimpleNetError =>
  new SuperSimpleNetError("VIEW_MISMATCH", `Image ${name} does not fit the view: ${reason}`, { path: name, fix });
