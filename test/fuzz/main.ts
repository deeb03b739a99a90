/** npm run fuzz: every target for a part of the time, and a table. Run by scripts/fuzz.mjs; not a test itself. */
import path from "node:path";
import { parseArgs } from "node:util";

import { againLine, fuzz } from "./run.js";
import { targets } from "./targets.js";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      inputs: { type: "string" },
      input: { type: "string" },
      seed: { type: "string", default: "0" },
      target: { type: "string" },
    },
  });
  if (values.target === "list") return console.log(Object.keys(targets).join("\n"));
  const names = Object.keys(targets).filter((name) => values.target === undefined || name === values.target);
  if (names.length === 0) {
    console.error(`The targets are ${Object.keys(targets).join(", ")}.`);
    process.exitCode = 1;
    return;
  }
  const limit =
    values.input !== undefined
      ? { first: Number(values.input), inputs: 1 }
      : values.inputs !== undefined
        ? { inputs: Number(values.inputs) }
        : { seconds: Number(values.seconds) / names.length };
  const found = path.resolve("fuzz-found");
  let all = 0;
  console.log("| target | files | read | refused | files a second | MiB at the end | grown by, MiB |");
  console.log("|---|---|---|---|---|---|---|");
  for (const target of names) {
    const options = { module: path.join(__dirname, "targets.js"), target, seed: Number(values.seed), found, ...limit };
    const { read, refused, seconds, failures, rss, growth } = await fuzz(options);
    const files = read + refused + failures.length;
    all += files;
    const rate = Math.round(files / seconds);
    console.log(`| ${target} | ${files} | ${read} | ${refused} | ${rate} | ${rss.at(-1) ?? "-"} | ${growth ?? "-"} |`);
    if (files === 0) failures.push({ input: 0, what: "nothing was read", file: "" });
    for (const failed of failures) {
      process.exitCode = 1;
      const { input, what, file } = failed;
      console.log(`\n${target}, file ${input}: ${what}\n${file === "" ? "" : `The file is ${file}. `}Again:`);
      console.log(`  ${againLine(options, failed)}\n`);
    }
  }
  console.log(`${all} files${process.exitCode === 1 ? "" : ", no failure"}`);
}

void main();
