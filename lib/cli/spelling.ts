import type { Spelling } from "../errors.js";
import { isCheckout } from "../native/locate.js";

/** How this program is called here: a checkout has no `supersimplenet` on the PATH, and npm finds its scripts inside it only. */
export const program = !isCheckout
  ? "supersimplenet"
  : process.env["npm_package_name"] === "supersimplenet"
    ? "npm run -s supersimplenet --"
    : `node ${quoted(process.argv[1]!)}`;

/** An argument as a POSIX shell reads it. */
export function quoted(argument: string): string {
  return /^[\w./:=,@%+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

/** Error texts without a command, as before one is known. */
export const programSpelling: Spelling = {
  option: (path) => `'${path}'`,
  call: (name) => name,
  command: (line) => `'${program} ${line}'`,
};
