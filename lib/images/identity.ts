import { createHash } from "node:crypto";

import { pieces, turns } from "../turns.js";

/** SHA-256 in hexadecimal digits, in some turns of the event loop. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const hash = createHash("sha256");
  const breathe = turns();
  for (const piece of pieces(bytes)) {
    hash.update(piece);
    await breathe(piece.length);
  }
  return hash.digest("hex");
}

/** 64 bits tell all images apart that one model will ever see, and keep model files small. */
export const shortId = (hash: string): string => hash.slice(0, 16);

/** Tells the same image file again, whatever its name: the first 16 hexadecimal digits of its SHA-256. */
export const imageId = async (bytes: Uint8Array): Promise<string> => shortId(await sha256(bytes));
