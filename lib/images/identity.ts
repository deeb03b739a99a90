import { createHash } from "node:crypto";

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** 64 bits tell all images apart that one model will ever see, and keep model files small. */
export const shortId = (hash: string): string => hash.slice(0, 16);

/** Tells the same image file again, whatever its name: the first 16 hexadecimal digits of its SHA-256. */
export const imageId = (bytes: Uint8Array): string => shortId(sha256(bytes));
