import { createHash } from "node:crypto";

import { tensorsSha256 } from "../backbones/check.js";
import type { Model } from "./model.js";

/** Tells which network judged an image, whatever its file is called: 16 hexadecimal digits over the backbone and the heads. */
export async function networkChecksum(model: Model): Promise<string> {
  const hash = createHash("sha256").update(model.config.backbone.sha256);
  return hash
    .update(await tensorsSha256(model.heads))
    .digest("hex")
    .slice(0, 16);
}
