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
    const after = withInterfaces(before, path.join(root, file));
    if (after !== before) writeFileSync(path.join(root, file), after);
  }
}

function withInterfaces(text, file) {
  const schemaOf = (name) => schemaNamed(name, text, file);
  const callbacks = [];
  return text
    .replace(/^export type (\w+) = Settings<typeof (\w+)>;$/gm, (_, type, name) => {
      return `export interface ${type} {\n${members(schemaOf(name), [])}\n}`;
    })
    .replace(/^(export interface \w+) extends Settings<typeof (\w+)> \{/gm, (_, head, name) => {
      callbacks.push(...Object.entries(schemaOf(name).shape).filter(([member]) => isCallback(member)));
      return `${head} {\n${members(schemaOf(name), [])}`;
    })
    .replace(/^    (on[A-Z]\w*)\??[:(]/gm, (line, name) => {
      const [, type] = callbacks.find(([callback]) => callback === name) ?? [];
      return type ? `    /** ${built("option.js").rowOf(type).help} */\n${line}` : line;
    });
}

/** Callbacks have types that are written by hand. */
const isCallback = (name) => /^on[A-Z]/.test(name);

/** The schema of this name: declared in the file itself, or imported there. */
function schemaNamed(name, text, file) {
  const imports = [...text.matchAll(/^import .*\{([^}]*)\} from "(.*)";$/gm)];
  const from = imports.find(([, names]) => names.split(/[\s,]+/).includes(name));
  const module = from ? path.join(path.dirname(file), from[2]) : file.replace(/\.d\.ts$/, ".js");
  const schema = require(module)[name];
  if (!schema) throw new Error(`${file} names ${name}, which is no schema`);
  return schema;
}

function members(schema, place) {
  const { bare, rowOf } = built("option.js");
  const { defaultText, asCode, typeText } = built("describe.js");
  const indent = "    ".repeat(place.length + 1);
  return Object.entries(bare(schema).shape)
    .filter(([name]) => !isCallback(name))
    .map(([name, type]) => {
      const row = rowOf(type);
      const here = [...place, name];
      const declared = `${indent}${name}${type.isOptional() ? "?" : ""}`;
      if (!row) return `${indent}/** ${type.description}. */\n${declared}: {\n${members(type, here)}\n${indent}};`;
      const standard = defaultText({ path: here, type, row }, asCode);
      const comment = `${row.help}${standard === undefined ? "" : ` Default: ${standard}.`}`;
      return `${indent}/** ${comment} */\n${declared}: ${typeText(type, row.type)};`;
    })
    .join("\n");
}
