// Mutated files of every format that is read: npm run fuzz -- [options], listed by --help
//   default    the readers as the package calls them, in processes of their own (test/fuzz)
//   --native   the C++ readers under libFuzzer, AddressSanitizer and UBSan (native/fuzz; needs clang++)
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { ensureLibtorch } from "./lib/libtorch.mjs";
import { root } from "./lib/paths.mjs";
import { Failure, run, step } from "./lib/steps.mjs";

const usage = `Usage: npm run fuzz -- [options]

  --seconds N    in all (default 60), and at least until memory is judged; with --native for each reader (default 600)
  --inputs N     that many files for each target instead of a time
  --input N      file N alone, of one target: a failure prints this line
  --seed S       another seed gives other files (default 0)
  --target NAME  one target; --target list lists them
  --native       the C++ readers under libFuzzer and sanitizers; needs clang++ (apt-get install clang)`;

const fuzzers = ["pickle", "pytorch_zip", "pytorch_legacy", "feature_file", "bmp"];

/** The least that each number may be. The most is what libFuzzer takes as a seed. */
const least = { seconds: 1, inputs: 1, input: 0, seed: 0 };
const most = 2 ** 32 - 2;

function checked(values) {
  for (const [name, from] of Object.entries(least)) {
    const text = values[name];
    if (text !== undefined && !(/^\d+$/.test(text) && Number(text) >= from && Number(text) <= most))
      throw new Failure(`--${name} is '${text}'.`, `Give a whole number from ${from} to ${most}.`);
  }
  if (values.native && (values.inputs !== undefined || values.input !== undefined))
    throw new Failure("--native takes no number of files.", "Use --seconds.");
  if (values.input !== undefined && (values.target === undefined || values.inputs !== undefined))
    throw new Failure("--input is one file of one target.", "Give --target, and no --inputs.");
  return values;
}

async function native({ seconds = "600", seed = "0", target }) {
  if (target === "list") return console.log(fuzzers.join("\n"));
  const build = path.join(root, "build-fuzz");
  const chosen = target === undefined ? fuzzers : fuzzers.filter((name) => name === target);
  if (chosen.length === 0) throw new Failure(`There is no reader '${target}'.`, `One of ${fuzzers.join(", ")}.`);
  await step("fuzzers", async (progress) => {
    const { libtorch } = await ensureLibtorch({ compile: true, progress });
    progress("compiling");
    for (const [what, ...args] of [
      ["configure", "-S", root, "-B", build, "-DSUPERSIMPLENET_FUZZ=ON", "-DCMAKE_CXX_COMPILER=clang++"],
      ["compile", "--build", build, "--target", "fuzzers", "--parallel", String(os.availableParallelism())],
    ]) {
      const libtorchFlag = what === "configure" ? [`-DSUPERSIMPLENET_LIBTORCH=${libtorch.folder}`] : [];
      const { status, output } = await run("cmake", [...args, ...libtorchFlag]);
      if (status !== 0)
        throw new Failure(`CMake could not ${what} the fuzzers.`, "clang++ is needed: apt-get install clang.", output);
    }
    return { state: "built in build-fuzz" };
  });
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-fuzz-"));
  const seeds = await run(process.execPath, [path.join(root, "dist", "test", "fuzz", "corpus.js"), folder]);
  if (seeds.status !== 0) throw new Failure("The seeds could not be written.", "Run 'npm run setup'.", seeds.output);
  let failed = 0;
  for (const name of chosen) {
    const found = path.join(folder, `${name}-found`);
    mkdirSync(found);
    const program = path.join(build, `fuzz_${name}`);
    const limits = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1", "-verbosity=0"];
    const { status, output } = await run(program, [
      path.join(folder, name),
      `-max_total_time=${seconds}`,
      `-seed=${Number(seed) + 1}`, // libFuzzer draws one for 0
      `-artifact_prefix=${found}/`,
      ...limits,
    ]);
    const stat = (key) => Number(new RegExp(`stat::${key}:\\s+(\\d+)`).exec(output)?.[1]);
    const kept = readdirSync(path.join(folder, name)).length;
    if (status === 0 && stat("number_of_executed_units") > 0) {
      console.log(
        `${name}: ${stat("number_of_executed_units")} files in ${seconds} s, ${kept} kept, peak ${stat("peak_rss_mb")} MB, no fault`,
      );
      continue;
    }
    failed++;
    console.log(output.split("\n").slice(-60).join("\n"));
    for (const file of readdirSync(found)) {
      const bytes = readFileSync(path.join(found, file)).length;
      console.log(
        `${name}: failed on ${path.join(found, file)} (${bytes} bytes). Again: ${program} ${path.join(found, file)}`,
      );
    }
  }
  process.exitCode = failed > 0 ? 1 : 0;
}

try {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string" },
      inputs: { type: "string" },
      input: { type: "string" },
      seed: { type: "string" },
      target: { type: "string" },
      native: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help) console.log(usage);
  else if (checked(values).native) await native(values);
  else {
    const options = Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn(process.execPath, [path.join(root, "dist", "test", "fuzz", "main.js"), ...options], {
      stdio: "inherit",
    });
    child.on("exit", (code) => (process.exitCode = code ?? 1));
  }
} catch (error) {
  if (error instanceof Failure) console.error(error.report());
  else console.error(String(error.message ?? error));
  process.exitCode = 1;
}
