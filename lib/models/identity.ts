import { fileIdentity, fileSha256 } from "../checksum.js";
import { fileError, SuperSimpleNetError } from "../errors.js";
import { type Model, sourceOf } from "./model.js";

/**
 * SHA-256 of the file that a model was read from or written to, as sha256sum prints it. Null for a model that no file holds,
 * also because it was changed since. Throws FILE_CORRUPT where the file is another one by now, FILE_NOT_FOUND and the like.
 */
export async function modelFileSha256(model: Model): Promise<string | null> {
  const source = sourceOf(model);
  if (source === undefined) return null;
  const { file, identity } = source;
  const read = async (): Promise<string> => {
    const sha256 = await fileSha256(file);
    if ((await fileIdentity(file)) === identity) return sha256;
    throw new SuperSimpleNetError("FILE_CORRUPT", `${file} changed while it was read.`, {
      path: file,
      fix: "Load it again when it is complete.",
    });
  };
  return read().catch((error: unknown) => Promise.reject(fileError(error, "read model", file)));
}
