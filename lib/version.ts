import { readFileSync } from "node:fs";
import path from "node:path";

import { packageFolder } from "./native/locate.js";

/** This package's version, as package.json states it. */
export const packageVersion = (
  JSON.parse(readFileSync(path.join(packageFolder, "package.json"), "utf8")) as { version: string }
).version;
