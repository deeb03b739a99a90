import path from "node:path";

import { z } from "zod";

import { cachedWeights, packaged } from "../backbones/catalogue.js";
import { architectures } from "../schema/common.js";
import { asWritten, defaultText } from "../schema/describe.js";
import { type Flag, flagsOf, placeholder, readFlag } from "../schema/flags.js";
import { bare, choicesOf } from "../schema/option.js";
import type { Regime } from "../schema/regimes.js";
import { trainerOptions } from "../schema/training.js";
import { HttpError } from "../server/errors.js";
import type { TrainingFlags, TrainingOption } from "./types.js";

/** Those that matter most, in this order. */
const main = ["backbone", "image-size", "epochs", "false-reject", "seed"];

/** What a page must not set: files by their paths, and what the studio decides. */
const left = new Set(["init", "device", "threads", "memory-mib", "cache-dir", "backbone-weights"]);
const distributed = /^(distributed|no-distributed|rank-timeout|join-timeout|nccl)$/;

const flags: readonly Flag[] = flagsOf(trainerOptions).filter(
  ({ name, type, row }) =>
    !left.has(name) && !distributed.test(name) && !(bare(type) instanceof z.ZodString) && row.placeholder !== "FILE",
);

/** Of what may be a file too: a page gives the rest. */
const mayBeFile = ({ row }: Flag): boolean => /\|FILE\b/.test(row.placeholder ?? "");

/** The options of a training, for a form: the same rows as on the command line, with the defaults of the regime. */
export const trainingOptions = (regime: Regime): TrainingOption[] =>
  flags
    .map((flag): TrainingOption => {
      const { name, row, sets, type, group } = flag;
      return {
        flag: name,
        help: row.help,
        takes: sets === undefined ? placeholder(flag).replace(/\|FILE\b/, "") : "",
        standard: (sets === undefined && defaultText(flag, (value) => asWritten(value, row), regime)) || null,
        choices: name === "backbone" ? backbones() : sets === undefined ? choicesFor(type) : ["yes"],
        group: group ?? "Training",
        main: main.includes(name),
      };
    })
    .sort((a, b) => orderOf(a) - orderOf(b));

/** Those with trained weights on this machine. The package has resnet18's own. */
const backbones = (): string[] =>
  architectures.filter((name) => name === packaged.architecture || cachedWeights(name) !== undefined);

function orderOf({ flag, main: isMain }: TrainingOption): number {
  return isMain ? main.indexOf(flag) : main.length;
}

function choicesFor(type: z.ZodType): string[] | null {
  const inner = bare(type);
  if (inner instanceof z.ZodBoolean) return ["true", "false"];
  const choices = choicesOf(type);
  return choices ? [...choices] : null;
}

/** Throws BAD_REQUEST for an option that is none, INVALID_OPTION for a value that is none. */
export function checkFlags(given: TrainingFlags): void {
  for (const [name, written] of Object.entries(given)) {
    const flag = flags.find((one) => one.name === name);
    if (!flag) throw new HttpError("BAD_REQUEST", `There is no option '${name.slice(0, 64)}' here.`);
    if (mayBeFile(flag) && !/^\d+(,\d+){3}$/.test(written))
      throw new HttpError(
        "BAD_REQUEST",
        `'${name}' is a rectangle here, as 10,20,300,200. Files are for the command line.`,
      );
    if (flag.sets === undefined) readFlag(`--${name}`, flag, written);
    if (name === "backbone" && !backbones().includes(written))
      throw new HttpError(
        "BAD_REQUEST",
        `There are no trained weights of ${written} on this machine. Download them with: supersimplenet weights pull ${written}`,
      );
  }
}

/** The command line of a training, without the program's name, as it is called in the project's folder. */
export function trainCommand({ folder, data, out, flags: given }: TrainingCall): string[] {
  const inside = path.relative(folder, data);
  const written = Object.entries(given).map(([name, value]) => {
    const flag = flags.find((one) => one.name === name);
    return flag?.sets !== undefined ? `--${name}` : `--${name}=${value}`;
  });
  const { backbone } = given;
  const isPackaged = backbone === packaged.architecture && cachedWeights(packaged.architecture) === undefined;
  if (isPackaged) written.push("--backbone-weights=distilled");
  const report = path.join(out, "report.html");
  return [
    "train",
    "--data",
    inside.startsWith("..") ? data : inside || ".",
    "--out",
    out,
    "--report",
    report,
    ...written,
  ];
}

interface TrainingCall {
  /** Of the project. */
  folder: string;
  data: string;
  /** From the project's folder. */
  out: string;
  flags: TrainingFlags;
}
