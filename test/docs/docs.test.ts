import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(__dirname, "../../..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");

test("troubleshooting.md has one heading per error code, and no other", () => {
  const codes = [...read("lib/errors.ts").matchAll(/^ {2}\| "([A-Z_]+)"/gm)].map((match) => match[1]);
  assert.ok(codes.length > 20);
  const headings = [...read("docs/troubleshooting.md").matchAll(/^## (\S+)$/gm)].map((match) => match[1]);
  assert.deepEqual(headings, codes);
});

test("training.md names every option of the trainer and a flag that exists", () => {
  const source = read("lib/training/options.ts");
  const fields = [
    ...source
      .slice(source.indexOf("interface TrainerOptions"), source.indexOf("\n}\n\n/** Defaults"))
      .matchAll(/^ {2}(\w+)\?:/gm),
  ].map((match) => match[1]);
  assert.ok(fields.length > 25);
  const page = read("docs/training.md");
  for (const field of fields)
    assert.match(page, new RegExp(`^\\| \`${field}\` \\|`, "m"), `docs/training.md does not have ${field}`);
  const cli = read("lib/cli/train.ts") + read("lib/cli/shared.ts");
  for (const [, name] of page.matchAll(/`--([a-z-]+)/g))
    assert.ok(new RegExp(`^ {2}"?${name}"?(:|,)`, "m").test(cli), `--${name} is not an option of train`);
});

test("dependencies.md has a line for every dependency", () => {
  const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;
  const page = read("docs/dependencies.md");
  for (const name of Object.keys({ ...dependencies, ...devDependencies }))
    assert.match(page, new RegExp(`^\\| \`${name}\` \\|`, "m"));
});

test("links between the documents lead somewhere", () => {
  const pages = [
    "README.md",
    ...(readdirSync(path.join(root, "docs"), { recursive: true }) as string[])
      .filter((file) => file.endsWith(".md"))
      .map((file) => `docs/${file}`),
  ];
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

test("every npm script, file and command that the documents and the workflows call exists", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const commands = [...read("lib/cli/commands.ts").matchAll(/^ {4}name: "(\w+)"/gm)].map((match) => match[1]!);
  assert.ok(commands.length > 8);
  const pages = [
    "README.md",
    ...["docs", ".github/workflows"].flatMap((folder) =>
      (readdirSync(path.join(root, folder), { recursive: true }) as string[])
        .filter((file) => /\.(md|yml)$/.test(file))
        .map((file) => `${folder}/${file}`),
    ),
  ];
  let seen = 0;
  for (const page of pages) {
    const text = read(page);
    for (const [, name] of text.matchAll(/npm run (?:-s )?([a-z][\w:-]*)/g))
      assert.ok(name! in scripts, `${page}: npm run ${name}`);
    for (const [, name] of text.matchAll(
      /(?:npx supersimplenet|supersimplenet --|^supersimplenet|`supersimplenet) ([a-z]+)/gm,
    ))
      assert.ok(commands.includes(name!), `${page}: supersimplenet ${name}`);
    for (const [, file] of text.matchAll(/(?:run: |node )((?:\.ci|scripts|dist|benchmarks|examples)\/[\w./-]+)/g)) {
      assert.ok(existsSync(path.join(root, file!.replace(/^dist\/(.*)\.js$/, "$1.ts"))), `${page}: ${file}`);
      seen += 1;
    }
  }
  assert.ok(seen > 3, `${seen}`);
});
