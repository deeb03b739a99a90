// Writes the reference of options and of the command line from the schemas: docs/reference/options.md and cli.md.
//   npm run docs             writes
//   npm run docs -- --check  only says which file is out of date; exit code 1 if one is
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { root } from "./lib/paths.mjs";

const require = createRequire(import.meta.url);
const built = (name) => require(path.join(root, "dist", "lib", name));
const generated = "<!-- Generated from lib/schema by 'npm run docs'. Edit the rows there. -->";

const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const table = (head, rows) =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");
const code = (text) => (text === "" ? "" : `\`${text}\``);

function optionsReference(flags) {
  const { entryPoints } = built("schema/entry_points.js");
  const { entries } = built("schema/option.js");
  const { tableRow } = built("schema/describe.js");
  const sections = entryPoints.map(({ call, summary, schema }) => {
    // An experiment's training has the trainer's options again.
    const own = entries(schema).filter(({ path: place }) => place[0] !== "training" || place.length === 1);
    const rows = own.map((entry) => {
      const [option, flag, takes, standard, help] = tableRow(entry);
      return [code(option), flags.has(flag) ? code(flag) : "", takes, standard, help];
    });
    return `## ${call}\n\n${summary}\n\n${table(["option", "flag", "takes", "default", "meaning"], rows)}\n`;
  });
  const intro =
    "Every option of the API. A name with a dot stands in a group: `optimizer.gradientClip` is\n" +
    '`{ optimizer: { gradientClip: 1 } }`. Every option may be left out, unless its default says "required".\n';
  return `${generated}\n\n# Options\n\n${intro}\n${sections.join("\n")}`;
}

function cliReference(commands) {
  const { helpText } = built("cli/parse.js");
  const sections = [];
  for (const { name, summary, command } of commands) {
    const help = helpText(command, 100).trimEnd();
    sections.push(`## ${name}\n\n${summary[0].toUpperCase()}${summary.slice(1)}.\n\n\`\`\`\n${help}\n\`\`\`\n`);
  }
  return `${generated}\n\n# Command line\n\nWhat \`supersimplenet COMMAND --help\` prints.\n\n${sections.join("\n")}`;
}

const commands = [];
for (const entry of built("cli/commands.js").commands) commands.push({ ...entry, command: await entry.load() });
const { flagsOf, flagTerm } = built("schema/flags.js");
const flags = new Set(commands.flatMap(({ command }) => flagsOf(command.options).map(flagTerm)));

const check = process.argv.includes("--check");
for (const [name, text] of [
  ["options.md", optionsReference(flags)],
  ["cli.md", cliReference(commands)],
]) {
  const file = path.join(root, "docs", "reference", name);
  if (existsSync(file) && readFileSync(file, "utf8") === text) continue;
  if (check) {
    console.error(`docs/reference/${name} is out of date: run 'npm run docs' and commit the result.`);
    process.exitCode = 1;
  } else writeFileSync(file, text);
}
