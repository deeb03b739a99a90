import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { regimePresets } from "../../lib/schema/presets.js";

const root = path.resolve(__dirname, "../../..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");
const filesIn = (folder: string, pattern: RegExp): string[] =>
  (readdirSync(path.join(root, folder), { recursive: true }) as string[])
    .filter((file) => pattern.test(file))
    .map((file) => `${folder}/${file}`);

const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  ...filesIn("docs", /\.md$/).filter((page) => !/^docs\/api\//.test(page)),
];
const help = (...command: string[]): string =>
  execFileSync(process.execPath, [path.join(root, "dist/lib/cli/main.js"), ...command, "--help"], { encoding: "utf8" });
const commands = [...help().matchAll(/^ {2}([a-z]+) /gm)].map((match) => match[1]!);

test("errors.md has one heading per error code, and no other", () => {
  const codes = [...read("lib/errors.ts").matchAll(/^ {2}\| "([A-Z_]+)"/gm)].map((match) => match[1]);
  assert.ok(codes.length > 20);
  const headings = [...read("docs/reference/errors.md").matchAll(/^## (\S+)$/gm)].map((match) => match[1]);
  assert.deepEqual(headings, codes);
});

test("method.md has the headings that code and texts refer to", () => {
  assert.deepEqual(
    [...read("docs/method.md").matchAll(/^## (.+)$/gm)].map((match) => match[1]),
    [
      "Features",
      "Heads",
      "Low-resolution heads",
      "Synthetic anomalies",
      "Targets and distance weight",
      "Losses",
      "Training",
      "Regimes",
      "Inference",
      "Checkpoints and file formats",
      "Metrics",
      "Ablations",
      "Noise",
    ],
  );
});

test("method.md has the presets of the regimes", () => {
  const page = read("docs/method.md");
  const shown = (value: unknown): string =>
    typeof value === "object" ? `w ${(value as { w: number }).w}, p ${(value as { p: number }).p}` : String(value);
  const presets = Object.values(regimePresets).map(({ optimizer, anomalies, masks }) => ({
    ...optimizer,
    ...anomalies,
    ...masks,
  }));
  for (const option of Object.keys(presets[0]!) as (keyof (typeof presets)[0])[]) {
    const row = new RegExp(`^\\| \`(?:\\w+\\.)?${option}\` \\|(.*)\\|$`, "m").exec(page)?.[1]?.split(" | ");
    assert.deepEqual(
      row?.slice(0, presets.length).map((cell) => cell.trim()),
      presets.map((preset) => shown(preset[option])),
      option,
    );
  }
});

test("dependencies.md has a line for every dependency", () => {
  const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;
  const page = read("docs/dependencies.md");
  for (const name of Object.keys({ ...dependencies, ...devDependencies }))
    assert.match(page, new RegExp(`^\\| \`${name}\` \\|`, "m"));
});

test("the pages name the versions of libtorch that are pinned", () => {
  const { version, cuda } = JSON.parse(read("native/libtorch.json")) as { version: string; cuda: { version: string } };
  for (const [page, pinned] of Object.entries({
    "docs/guides/install.md": version,
    "docs/reference/errors.md": version,
    "docs/guides/gpu.md": cuda.version,
  })) {
    const named = [...read(page).matchAll(/\b2\.\d+\.\d+\b/g)].map(([name]) => name);
    assert.ok(named.length > 1, page);
    for (const name of named) assert.equal(name, pinned, page);
  }
});

test("links between the documents lead somewhere", () => {
  for (const page of pages) {
    for (const [, link] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link!)) continue;
      const [file, anchor] = link!.split("#");
      const target = file ? path.join(path.dirname(page), file) : page;
      assert.ok(existsSync(path.join(root, target)), `${page}: ${link}`);
      if (!anchor) continue;
      const anchors = [...read(target).matchAll(/^#+ (.+)$/gm)].map((match) =>
        match[1]!
          .toLowerCase()
          .replace(/[^\w\s-]/g, "")
          .replaceAll(" ", "-"),
      );
      assert.ok(anchors.includes(anchor), `${page}: ${link}: no such heading`);
    }
  }
});

test("every document can be reached from the README", () => {
  const reached = new Set(["README.md"]);
  for (const page of reached)
    for (const [, link] of read(page).matchAll(/\]\(([^)\s#:]+\.md)[^)]*\)/g))
      reached.add(path.join(path.dirname(page), link!));
  assert.deepEqual(
    pages.filter((page) => !reached.has(page)),
    [],
  );
});

test("files and folders of the repository that the documents name exist", () => {
  for (const page of pages)
    for (const [, name] of read(page).matchAll(/`((?:lib|native|test|scripts|benchmarks|docs|examples)\/[\w./-]*)`/g))
      assert.ok(existsSync(path.join(root, name!)), `${page}: ${name}`);
});

test("documents that sources, tests and workflows name exist", () => {
  const sources = ["lib", "native", "scripts", "test", "benchmarks", "examples", ".github"].flatMap((folder) =>
    filesIn(folder, /\.(ts|mjs|sh|py|cc|h|cu|cuh|yml)$/),
  );
  assert.ok(sources.length > 100);
  for (const file of sources)
    for (const [name] of read(file).matchAll(/\bdocs\/[\w/-]+\.md\b/g))
      assert.ok(existsSync(path.join(root, name)), `${file}: ${name}`);
});

test("every npm script, file and command that the documents and the workflows call exists", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  assert.ok(commands.length > 8);
  let seen = 0;
  for (const page of [...pages, ...filesIn(".github/workflows", /\.yml$/)]) {
    const text = read(page);
    for (const [, name] of text.matchAll(/npm run (?:-s )?([a-z][\w:-]*)/g))
      assert.ok(name! in scripts, `${page}: npm run ${name}`);
    for (const [, name] of text.matchAll(
      /(?:npx supersimplenet|supersimplenet --|^supersimplenet|`supersimplenet) ([a-z]+)/gm,
    ))
      assert.ok(commands.includes(name!), `${page}: supersimplenet ${name}`);
    for (const [, file] of text.matchAll(
      /(?:run: |node (?:--[\w-]+ )*)((?:\.ci|scripts|dist|benchmarks|examples)\/[\w./-]+)/g,
    )) {
      assert.ok(existsSync(path.join(root, file!.replace(/^dist\/(.*)\.js$/, "$1.ts"))), `${page}: ${file}`);
      seen += 1;
    }
  }
  assert.ok(seen > 3, `${seen}`);
});

/** Flags of npm, node, pip, cmake, torchrun, docker, esbuild, TensorBoard, and of our scripts and benchmarks. */
const foreign = new Set(
  (
    "omit include ignore-scripts no-save expose-gc test test-name-pattern no-deps only-binary python-version platform " +
    "dest build parallel no-python nproc-per-node nnodes rdzv-endpoint max-restarts gpus napi strip args " +
    "bundle external packages outfile prefix cuda wheel trial check seconds only python onnxruntime maps algorithm version " +
    "target native inputs input soak detections rounds trainings minutes kills beside before profile name estimate-steps " +
    "logdir"
  ).split(" "),
);

test("every flag that the documents name belongs to the command it is given to, or to some command", () => {
  const flags = new Map(
    commands.map((name) => [name, new Set([...help(name).matchAll(/--([a-z][a-z-]*)/g)].map((match) => match[1]!))]),
  );
  const all = new Set([...flags.values()].flatMap((set) => [...set]));
  assert.ok(all.size > 60, `${all.size}`);
  let seen = 0;
  for (const page of pages) {
    const code = [...read(page).matchAll(/```[^]*?```|`[^`\n]+`/g)].flatMap(([text]) => text.split("\n"));
    for (const line of code) {
      const known = flags.get(/supersimplenet (?:-- )?([a-z]+)/.exec(line)?.[1] ?? "");
      for (const [, name] of line.matchAll(/(?<![\w-])--([a-z][a-z-]*)/g)) {
        assert.ok(known?.has(name!) || foreign.has(name!) || (!known && all.has(name!)), `${page}: --${name}: ${line}`);
        seen += 1;
      }
    }
  }
  assert.ok(seen > 100, `${seen}`);
});

test("the documents are easy to read: lines of 120 characters, paragraphs of five lines", () => {
  for (const page of pages.filter((name) => !/^docs\/reference\/(options|cli)\.md$/.test(name))) {
    let lines = 0;
    let code = false;
    for (const [i, line] of read(page).split("\n").entries()) {
      if (line.startsWith("```")) code = !code;
      const prose = !code && line !== "" && !/^(\||#|```|!\[|<!--)/.test(line);
      if (prose) assert.ok(line.length <= 120, `${page}:${i + 1}: ${line.length} characters`);
      lines = prose && !/^\s*([-*]|\d+\.) /.test(line) ? lines + 1 : 0;
      assert.ok(lines <= 5, `${page}:${i + 1}: a paragraph of more than five lines`);
    }
  }
});
