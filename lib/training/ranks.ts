import { call, invalid, option, shown, SuperSimpleNetError, text } from "../errors.js";
import type { NativeGroup } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { distributedOptions } from "../schema/training.js";
import type { DistributedOptions, TrainerOptions } from "../schema/types.js";

/** One process of a training with several, everything settled (docs/guides/several-processes.md). */
export interface RankSettings extends Required<Omit<DistributedOptions, "localRank">> {
  localRank: number | undefined;
  /** Processes on this machine, if the launcher says. */
  localWorldSize: number | undefined;
  /** torchrun serves the store at masterPort itself. */
  launcherStore: boolean;
}

/** The environment variables that stand for options, as torchrun sets them. */
const variables = {
  rank: "RANK",
  worldSize: "WORLD_SIZE",
  masterAddress: "MASTER_ADDR",
  masterPort: "MASTER_PORT",
} as const;

type Distributed = NonNullable<TrainerOptions["distributed"]>;

/** Throws INVALID_OPTION if the rank is not below worldSize. */
export function checkRank(where: string, distributed: Distributed): void {
  if (typeof distributed !== "object") return;
  const { rank, worldSize = Infinity } = distributed;
  if (rank !== undefined && rank >= worldSize)
    throw invalid(
      where,
      "distributed.rank",
      `an integer from 0 to ${worldSize - 1}, as there are ${worldSize} processes,`,
      rank,
    );
}

/** A number that the environment gives. Throws INVALID_OPTION. */
function environmentNumber(where: string, name: string, min: number, max: number): number | undefined {
  const written = process.env[name];
  if (written === undefined || written === "") return undefined;
  const value = /^\d+$/.test(written) ? Number(written) : NaN;
  if (value >= min && value <= max) return value;
  const what = text`${call(where)}: expected an integer from ${min} to ${max} for ${name} in the environment but received ${shown(written)}.`;
  throw new SuperSimpleNetError("INVALID_OPTION", what, { value: written });
}

/**
 * Settles the option with what the environment says. Undefined for a training by this process alone. Throws
 * INVALID_OPTION.
 */
export function rankSettings(where: string, distributed: Distributed): RankSettings | undefined {
  if (distributed === false) return undefined;
  const options = distributedOptions.parse(distributed === "auto" ? {} : distributed);
  const number = environmentNumber.bind(undefined, where);
  const worldSize = options.worldSize ?? number("WORLD_SIZE", 1, 4096) ?? 1;
  if (worldSize === 1) return undefined;
  const settings = {
    worldSize,
    rank: options.rank ?? number("RANK", 0, worldSize - 1),
    masterAddress: options.masterAddress ?? (process.env["MASTER_ADDR"] || undefined),
    masterPort: options.masterPort ?? number("MASTER_PORT", 1, 65535),
  };
  for (const [name, value] of Object.entries(settings)) {
    if (value !== undefined) continue;
    const variable = variables[name as keyof typeof settings];
    const what = text`${call(where)}: there are ${worldSize} processes, but ${variable} is not set, so this one does not know its ${name}.`;
    const fix = text`Start it as docs/guides/several-processes.md says, or train alone with ${option("distributed")} false (on the command line: off).`;
    throw new SuperSimpleNetError("INVALID_OPTION", what, { option: `distributed.${name}`, fix });
  }
  checkRank(where, settings);
  return {
    ...options,
    ...(settings as { [Name in keyof typeof settings]: NonNullable<(typeof settings)[Name]> }),
    localRank: options.localRank ?? number("LOCAL_RANK", 0, 4095),
    localWorldSize: number("LOCAL_WORLD_SIZE", 1, 4096),
    // With another address or port, its store is not the one that is meant.
    launcherStore:
      !(options.masterAddress ?? options.masterPort) && process.env["TORCHELASTIC_USE_AGENT_STORE"] === "True",
  };
}

/** This process among those that train together. Every method but `fail` is called by all ranks in the same order. */
export class Ranks {
  private constructor(
    readonly settings: RankSettings,
    readonly native: NativeGroup,
  ) {}

  /**
   * Of a training that begins. Nothing is connected yet: `native.join` does that. The keys in the store are the same for
   * every training. Numbers would not do: a rank that was refused has started fewer trainings than the others, and
   * torchrun's agents count restarts differently.
   */
  static of(settings: RankSettings): Ranks {
    return new Ranks(settings, engine().createGroup({ ...settings, prefix: "supersimplenet" }));
  }

  /** Rank 0 writes files; the others write nothing. */
  get first(): boolean {
    return this.settings.rank === 0;
  }

  async gather<T>(value: T): Promise<T[]> {
    const parts = await this.native.gather(Buffer.from(JSON.stringify(value)));
    return parts.map((part) => JSON.parse(Buffer.from(part).toString("utf8")) as T);
  }

  /** Rank 0's value. */
  async fromFirst<T>(value: T | undefined): Promise<T> {
    return (await this.gather(value ?? null))[0] as T;
  }

  /** Throws RANKS_DIFFER, on every rank, naming what some rank has otherwise than rank 0. */
  async agree(values: Record<string, unknown>): Promise<void> {
    const [first, ...others] = (await this.gather(values)) as [Record<string, unknown>, ...Record<string, unknown>[]];
    const short = (value: unknown): string => (JSON.stringify(value) ?? "nothing").slice(0, 60);
    const problems = others.flatMap((other, i) =>
      [...new Set([...Object.keys(first), ...Object.keys(other)])]
        .filter((name) => JSON.stringify(first[name]) !== JSON.stringify(other[name]))
        .map((name) => `rank ${i + 1} has ${name} ${short(other[name])}, rank 0 has ${short(first[name])}`),
    );
    if (problems.length > 0) {
      const message = `The ranks do not train the same: ${problems.slice(0, 5).join("; ")}${problems.length > 5 ? `; and ${problems.length - 5} more` : ""}. Start all of them with the same options and the same images.`;
      throw new SuperSimpleNetError("RANKS_DIFFER", message, { problems });
    }
  }

  fail(error: unknown): void {
    const code = error instanceof SuperSimpleNetError ? error.code : "INTERNAL";
    this.native.fail(code, error instanceof Error ? error.message : String(error));
  }

  /** The images of a batch of `total` that this rank works on; there may be none. */
  share(total: number): { first: number; count: number } {
    const { rank, worldSize } = this.settings;
    const first = Math.floor((rank * total) / worldSize);
    return { first, count: Math.floor(((rank + 1) * total) / worldSize) - first };
  }
}
