import { SuperSimpleNetError } from "../errors.js";

/** A package that only who wants this output installs. Throws INVALID_OPTION with the command that installs it. */
export async function optionalPackage<T>(name: string, version: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new SuperSimpleNetError("INVALID_OPTION", `The package ${name} is not installed, or does not open.`, {
      cause,
      option: "to",
      fix: `Install it beside supersimplenet: 'npm install ${name}@${version}'.`,
    });
  }
}
