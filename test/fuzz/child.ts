/**
 * Reads mutated files of one target: node --expose-gc child.js TARGETS SEED FOLDER. Run by run.ts, which sends it
 * batches; not a test itself.
 */
import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import path from "node:path";

import { SuperSimpleNetError } from "../../lib/errors.js";
import { Random } from "../../lib/random.js";
import type { Target } from "./targets.js";

/** Inputs `first` to `first + count - 1`. `slowly`: one after the other, each announced. */
export interface Batch {
  target: string;
  first: number;
  count: number;
  slowly: boolean;
}

export interface Failed {
  input: number;
  what: string;
  /** Where the input was put. */
  file: string;
}

export type Answer =
  { alive: true } | { at: number; file: string } | { read: number; refused: number; failed: Failed[]; rss: number };

const [, , targetsFile, seed, folder] = process.argv as [string, string, string, string, string];
const answer = (what: Answer): void => void process.send!(what);

/** undefined: it was read. */
function fault({ codes, promises }: Target, error: unknown): string | undefined {
  if (promises?.(error)) return undefined;
  if (!(error instanceof SuperSimpleNetError))
    return `untyped error: ${error instanceof Error ? error.stack : String(error)}`;
  return codes.includes(error.code) ? undefined : `${error.code}: ${error.message}`;
}

interface Prepared {
  target: Target;
  /** Folders, one for each file that is read at the same time. */
  slots: string[];
}

async function prepare(name: string): Promise<Prepared> {
  const { targets } = (await import(targetsFile)) as {
    targets: Record<string, (scratch: string) => Target | Promise<Target>>;
  };
  const target = await targets[name]!(mkdtempSync(path.join(folder, "seed-")));
  const slots: string[] = [];
  for (let i = 0; i < (target.atOnce ?? 32); i++) {
    const slot = path.join(folder, name, String(i));
    mkdirSync(path.dirname(path.join(slot, target.file)), { recursive: true });
    await target.prepare?.(slot);
    slots.push(slot);
  }
  return { target, slots };
}

const prepared = new Map<string, Promise<Prepared>>();

async function run({ target: name, first, count, slowly }: Batch): Promise<Answer> {
  if (!prepared.has(name)) prepared.set(name, prepare(name));
  const { target, slots } = await prepared.get(name)!;
  let told = performance.now();
  answer({ alive: true });
  const out = { read: 0, refused: 0, failed: [] as Failed[] };
  let next = first;
  const work = async (slot: string): Promise<void> => {
    while (next < first + count) {
      const input = next++;
      const file = path.join(slot, target.file);
      writeFileSync(file, await target.make(new Random(Number(seed), name, input)));
      if (performance.now() - told > 1000) ((told = performance.now()), answer({ alive: true }));
      if (slowly) await new Promise((resolve) => process.send!({ at: input, file } satisfies Answer, resolve));
      try {
        await target.read(file, slot);
        out.read++;
      } catch (error) {
        const what = fault(target, error);
        if (what === undefined) {
          out.refused++;
          continue;
        }
        const kept = path.join(folder, `${name}-failed-${input}`);
        copyFileSync(file, kept);
        out.failed.push({ input, what, file: kept });
      }
    }
  };
  await Promise.all((slowly ? slots.slice(0, 1) : slots).map(work));
  for (let i = 0; i < 2; i++) ((globalThis as unknown as { gc(): void }).gc(), await new Promise(setImmediate));
  return { ...out, rss: process.memoryUsage().rss };
}

process.on("message", (batch: Batch) => void run(batch).then(answer));
process.on("disconnect", () => process.exit());
