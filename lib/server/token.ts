import { call, SuperSimpleNetError, text } from "../errors.js";
import { readText } from "../files/input.js";
import { serverOptions } from "../schema/server.js";

/** The token in a file. Errors: FILE_NOT_FOUND and the like, and INVALID_OPTION for what is none. */
export async function readToken(where: string, tokenFile: string): Promise<string> {
  const written = (await readText(tokenFile)).trim();
  if (serverOptions.shape.token.safeParse(written).success) return written;
  const what = text`${call(where)}: ${tokenFile} holds no token. A token has 16 or more characters without spaces.`;
  throw new SuperSimpleNetError("INVALID_OPTION", what, {
    option: "tokenFile",
    path: tokenFile,
    fix: `Make one with 'openssl rand -hex 32 > ${tokenFile}'.`,
  });
}
