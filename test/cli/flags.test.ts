import assert from "node:assert/strict";
import { test } from "node:test";

import { z } from "zod";

import { type Command, wrongUsage } from "../../lib/cli/command.js";
import { commands } from "../../lib/cli/commands.js";
import { helpText, parse, spellingOf } from "../../lib/cli/parse.js";
import { SuperSimpleNetError } from "../../lib/index.js";
import { check } from "../../lib/schema/check.js";
import { flagsOf, flagTerm } from "../../lib/schema/flags.js";
import { bare } from "../../lib/schema/option.js";
import { trainerOptions } from "../../lib/schema/training.js";

const load = (name: string): Promise<Command> => commands.find((entry) => entry.name === name)!.load();

test("every flag of every command appears once in its --help, with a sentence and what it takes", async () => {
  for (const entry of commands) {
    const command = await entry.load();
    assert.equal(command.name, entry.name);
    const help = helpText(command, 100);
    for (const line of help.slice(0, help.indexOf("\nExamples:")).split("\n"))
      assert.ok(line.length <= 100 || line.startsWith("Usage:"), `${entry.name}: ${line}`);
    const names = flagsOf(command.options).map(({ name }) => name);
    assert.deepEqual(names, [...new Set(names)], `${entry.name}: a flag's name stands twice`);
    for (const flag of flagsOf(command.options)) {
      const lines = help.split("\n").filter((line) => `${line} `.startsWith(`  ${flagTerm(flag)} `));
      assert.equal(lines.length, 1, `${entry.name} ${flagTerm(flag)}`);
      assert.match(flag.row.help, /^[A-Z].*\.$/, `${entry.name} --${flag.name}`);
    }
  }
});

/** A text that the flag takes. */
function textFor(type: z.ZodType, written: string | undefined): string {
  const inner = bare(type);
  if (written?.includes("HEIGHTxWIDTH")) return "64x96";
  if (inner instanceof z.ZodEnum) return String(inner.options[0]);
  if (inner instanceof z.ZodBoolean) return "true";
  if (inner instanceof z.ZodNumber)
    return ["1", "0.5", "2", "500"].find((text) => type.safeParse(Number(text)).success)!;
  return "auto";
}

const special: Record<string, [written: string, value: unknown]> = {
  layers: ["layer1,layer3", ["layer1", "layer3"]],
  heads: ["low-resolution", "lowResolution"],
  distributed: ["off", false],
  "lr-milestones": ["0.5,0.9", [0.5, 0.9]],
  "noise-std": ["relative:2", { relative: 2 }],
  "noise-schedule": ["2,0.5,0.3", { from: 2, to: 0.5, over: 0.3 }],
  "noise-vectors": ["64", 64],
  "distance-weight": ["3,2", { w: 3, p: 2 }],
  shard: ["2/3", { index: 2, count: 3 }],
  categories: ["a,b", ["a", "b"]],
  "ignore-class": ["logo,serial", ["logo", "serial"]],
  to: ["csv:x", ["csv:x"]],
  keep: ["unsure,random:0.5", ["unsure", "random:0.5"]],
  "poll-ms": ["500", 500],
  data: ["x", "x"],
  index: ["http://localhost/simple", "http://localhost/simple"],
  "serve model": ["a=x", { a: "x" }],
  roi: ["1,2,30,40", { x: 1, y: 2, width: 30, height: 40 }],
  ignore: ["10%,0%,50%,25%", { x: 0.1, y: 0, width: 0.5, height: 0.25, unit: "fractions" }],
  tiles: ["64", 64],
  "tile-scales": ["whole,0.5", ["whole", 0.5]],
  "export batch": ["dynamic", "dynamic"],
  opset: ["17", 17],
};

test("every flag sets the option that the schema says, and nothing else", async () => {
  for (const entry of commands) {
    const command = await entry.load();
    const flags = flagsOf(command.options);
    const required = flags.filter(({ path, type }) => path.length === 1 && !type.isOptional());
    const positionals = Array<string>(command.positionals?.min ?? 0).fill("x");
    for (const flag of flags) {
      const known = special[`${entry.name} ${flag.name}`] ?? special[flag.name];
      const written = known?.[0] ?? textFor(flag.type, flag.row.written);
      const others = required.filter(({ name }) => name !== flag.name);
      const args = others.flatMap((other) => [`--${other.name}`, textFor(other.type, other.row.written)]);
      args.push(`--${flag.name}`, ...(flag.sets === undefined ? [written] : []));
      let { options } = parse(command, [...positionals, ...args]);
      for (const { path } of others) delete options[path[0]!];
      for (const name of flag.path.slice(0, -1)) {
        assert.deepEqual(Object.keys(options), [name]);
        options = options[name] as typeof options;
      }
      assert.deepEqual(Object.keys(options), [flag.path.at(-1)], `${entry.name} --${flag.name}`);
      const value = options[flag.path.at(-1)!];
      if (flag.sets !== undefined) assert.equal(value, flag.sets);
      else if (known) assert.deepEqual(value, known[1]);
      else
        assert.equal(Array.isArray(value) ? value.join("x") : String(value), written, `${entry.name} --${flag.name}`);
    }
  }
});

test("an error about a grouped option names the flag, and the command for the function", async () => {
  const spelled = async (name: string, work: () => unknown): Promise<string> => {
    const spelling = spellingOf(await load(name));
    try {
      work();
    } catch (error) {
      return (error as SuperSimpleNetError).messageFor(spelling);
    }
    return assert.fail("no error");
  };
  const clip = (): unknown => check("new Trainer", trainerOptions, { optimizer: { gradientClip: -1 } });
  const message = "expected a number at least 0 for --gradient-clip but received -1.";
  assert.equal(await spelled("train", clip), `train: ${message}`);
  assert.equal(await spelled("experiment", clip), `experiment: ${message}`);
  assert.equal(
    await spelled("evaluate", clip),
    "evaluate: expected a number at least 0 for 'optimizer.gradientClip' but received -1.",
  );
  const files = (): never => {
    throw wrongUsage("data/batchSize/'imageSize'.png is wrong.", { option: "imageSize" });
  };
  assert.equal(await spelled("train", files), "train: data/batchSize/'imageSize'.png is wrong.");
});

test("what belongs to --distributed goes with it in any order, and does not matter when it is off", async () => {
  const command = await load("train");
  const distributed = (...args: string[]): unknown =>
    parse(command, ["--data", "x", "--out", "y", ...args]).options["distributed"];
  assert.deepEqual(distributed("--rank-timeout", "5", "--distributed", "auto"), { timeoutSeconds: 5 });
  assert.deepEqual(distributed("--distributed", "auto", "--rank-timeout", "5"), { timeoutSeconds: 5 });
  assert.equal(distributed("--distributed", "off", "--rank-timeout", "5"), false);
  assert.equal(distributed("--rank-timeout", "5", "--distributed", "off"), false);
});
