import { SuperSimpleNetError } from "../errors.js";
import type { NativeGroup } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { checkBoolean, checkNumber, invalid, rejectUnknown } from "../options.js";
import type { DistributedOptions, TrainerOptions } from "./options.js";

/** One process of a training with several, everything settled (docs/distributed.md). */
export interface RankSettings extends Required<Omit<DistributedOptions, "localRank">> {
  localRank: number | undefined;
  /** Processes on this machine, if the launcher says. */
  localWorldSize: number | undefined;
  /** torchrun serves the store at masterPort itself. */
  launcherStore: boolean;
}

/** Defaults in seconds. */
export const rankDefaults = { timeoutSeconds: 60, joinTimeoutSeconds: 300 } as const;

/** The environment variables that torchrun sets, and which of the options stand for them. */
const variables = {
  rank: "RANK",
  worldSize: "WORLD_SIZE",
  masterAddress: "MASTER_ADDR",
  masterPort: "MASTER_PORT",
  localRank: "LOCAL_RANK",
} as const;
const names = [...Object.keys(variables), ...Object.keys(rankDefaults), "nccl"];

/** Throws UNKNOWN_OPTION or INVALID_OPTION for what is wrong in the option itself. */
export function checkDistributed(where: string, option: unknown): void {
  if (option === "auto" || option === false) return;
  if (typeof option !== "object" || option === null || Array.isArray(option))
    throw invalid(where, "distributed", "'auto', false or an object", option);
  rejectUnknown(option, names, `${where}, distributed`);
  const o = option as DistributedOptions;
  const integer = (name: "rank" | "worldSize" | "masterPort" | "localRank", min: number, max: number): void => {
    if (o[name] !== undefined) checkNumber(where, `distributed.${name}`, o[name], { min, max, integer: true });
  };
  integer("worldSize", 1, 4096);
  integer("rank", 0, (o.worldSize ?? 4096) - 1);
  integer("masterPort", 1, 65535);
  integer("localRank", 0, 4095);
  if (o.masterAddress !== undefined && (typeof o.masterAddress !== "string" || o.masterAddress === ""))
    throw invalid(where, "distributed.masterAddress", "a host name or an address", o.masterAddress);
  if (o.timeoutSeconds !== undefined)
    checkNumber(where, "distributed.timeoutSeconds", o.timeoutSeconds, { min: 1, max: 86400 });
  if (o.joinTimeoutSeconds !== undefined)
    checkNumber(where, "distributed.joinTimeoutSeconds", o.joinTimeoutSeconds, { min: 1, max: 86400 });
  if (o.nccl !== undefined) checkBoolean(where, "distributed.nccl", o.nccl);
}

/** The option, with what it leaves open taken from the environment; undefined for a training by this process alone. Throws INVALID_OPTION. */
export function rankSettings(
  where: string,
  option: NonNullable<TrainerOptions["distributed"]>,
): RankSettings | undefined {
  if (option === false) return undefined;
  const given = option === "auto" ? {} : option;
  const variable = (name: string, min: number, max: number): number | undefined => {
    const text = process.env[name];
    if (text === undefined || text === "") return undefined;
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max))
      throw invalid(where, name, `an integer from ${min} to ${max} in the environment`, text);
    return value;
  };
  const worldSize = given.worldSize ?? variable("WORLD_SIZE", 1, 4096) ?? 1;
  if (worldSize === 1) return undefined;
  const settings = {
    worldSize,
    rank: given.rank ?? variable("RANK", 0, worldSize - 1),
    masterAddress: given.masterAddress ?? (process.env["MASTER_ADDR"] || undefined),
    masterPort: given.masterPort ?? variable("MASTER_PORT", 1, 65535),
  };
  for (const [name, value] of Object.entries(settings)) {
    if (value !== undefined) continue;
    const message = `${where}: there are ${worldSize} processes, but ${variables[name as keyof typeof settings]} is not set, so this one does not know its ${name}. Start it as docs/distributed.md says, or set distributed to false (--distributed off).`;
    throw new SuperSimpleNetError("INVALID_OPTION", message);
  }
  if (settings.rank! >= worldSize)
    throw invalid(
      where,
      "distributed.rank",
      `an integer from 0 to ${worldSize - 1}, as there are ${worldSize} processes,`,
      settings.rank,
    );
  return {
    ...(settings as { [Name in keyof typeof settings]: NonNullable<(typeof settings)[Name]> }),
    ...rankDefaults,
    ...Object.fromEntries(
      Object.keys(rankDefaults).flatMap((name) =>
        given[name as keyof typeof rankDefaults] === undefined
          ? []
          : [[name, given[name as keyof typeof rankDefaults]]],
      ),
    ),
    localRank: given.localRank ?? variable("LOCAL_RANK", 0, 4095),
    localWorldSize: variable("LOCAL_WORLD_SIZE", 1, 4096),
    nccl: given.nccl ?? true,
    launcherStore: process.env["TORCHELASTIC_USE_AGENT_STORE"] === "True",
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
    const { rank, worldSize, masterAddress, masterPort, launcherStore, timeoutSeconds, joinTimeoutSeconds } = settings;
    return new Ranks(
      settings,
      engine().createGroup({
        rank,
        worldSize,
        masterAddress,
        masterPort,
        launcherStore,
        timeoutSeconds,
        joinTimeoutSeconds,
        prefix: "supersimplenet",
      }),
    );
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
