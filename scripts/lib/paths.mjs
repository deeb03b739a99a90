import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The package's folder. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** A checkout has sources to compile; an installed package has dist/ and prebuilds/. */
export const isCheckout = existsSync(path.join(root, "tsconfig.json"));
