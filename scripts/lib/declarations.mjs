// The published types of options. The compiler writes Settings<typeof SCHEMA>, an inference from zod that shows users
// neither a comment nor a readable type. Here it becomes a plain interface, each option with its help and its default.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { root } from "./paths.mjs";
import { filesUnder } from "./steps.mjs";

const require = createRequire(import.meta.url);
const built = (name) => require(path.join(root, "dist", "lib", "schema", name));

/** Rewrites every declaration file below dist/lib that has such a type. */
export function writeDeclarations() {
  for (const file of filesUnder(["dist/lib"]).filter((name) => name.endsWith(".d.ts"))) {
    const before = readFileSync(path.join(root, file), "utf8");
    const after = withInterfaces(before, path.join(root, path.dirname(file)));
    if (after !== before) writeFileSync(path.join(root, file), after);
  }
}

function withInterfaces(text, folder) {
  const membersOf = (name) => members(schemaNamed(name, text, folder), []);
  return text
    .replace(
      /^export type (\w+) = Settings<typeof (\w+)>;$/gm,
      (_, type, name) => `export interface ${type} {\n${membersOf(name)}\n}`,
    )
    .replace(
      /^(export interface \w+) extends Settings<typeof (\w+)> \{/gm,
      (_, head, name) => `${head} {\n${membersOf(name)}`,
    );
}

/** The schema that a declaration file imports under this name. */
function schemaNamed(name, text, folder) {
  const imports = [...text.matchAll(/^import .*\{([^}]*)\} from "(.*)";$/gm)];
  const from = imports.find(([, names]) => names.split(/[\s,]+/).includes(name));
  if (!from) throw new Error(`no import of ${name} was found`);
  return require(path.join(folder, from[2]))[name];
}

function members(schema, place) {
  const { bare, rowOf } = built("option.js");
  const { defaultText, asCode, typeText } = built("describe.js");
  const indent = "    ".repeat(place.length + 1);
  return Object.entries(bare(schema).shape)
    .filter(([name]) => !/^on[A-Z]/.test(name)) // callbacks: their types are written by hand
    .map(([name, type]) => {
      const row = rowOf(type);
      const here = [...place, name];
      const declared = `${indent}${name}${type.isOptional() ? "?" : ""}`;
      if (!row) return `${indent}/** ${type.description} */\n${declared}: {\n${members(type, here)}\n${indent}};`;
      const standard = defaultText({ path: here, type, row }, asCode);
      const comment = `${row.help}${standard === undefined ? "" : ` Default: ${standard}.`}`;
      return `${indent}/** ${comment} */\n${declared}: ${typeText(type, row.type)};`;
    })
    .join("\n");
}
