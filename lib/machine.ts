import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What a container leaves of the machine. Undefined: no limit is set, or there are no control groups here. */
export interface ContainerLimits {
  /** Processor time per time: 1.5 is one and a half cores. */
  cores: number | undefined;
  memoryBytes: number | undefined;
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** The numbers in a text; what is no number, such as "max", is Infinity. */
const numbersOf = (text: string | undefined): number[] =>
  (text ?? "").split(/\s+/).map((word) => (/^\d+$/.test(word) ? Number(word) : Infinity));

/** The folders of the process's group and of the groups around it: each of them may set a limit. */
function groupFolders(root: string, mount: string, group: string): string[] {
  const folders: string[] = [];
  for (let at = group; ; at = path.posix.dirname(at)) {
    folders.push(path.join(root, mount, at));
    if (at === "/" || at === ".") return folders;
  }
}

/** Limits of Linux's control groups, version 1 and 2. `root`: of the file system, for tests. */
export function containerLimits(root = "/"): ContainerLimits {
  let cores = Infinity;
  let memory = Infinity;
  const quota = ([limit = Infinity, period = Infinity]: readonly number[]): void => {
    if (limit > 0 && limit < Infinity && period > 0 && period < Infinity) cores = Math.min(cores, limit / period);
  };
  for (const line of (textOf(path.join(root, "proc/self/cgroup")) ?? "").split("\n")) {
    const [, controllers, group] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || group === undefined) continue;
    if (controllers === "")
      for (const folder of groupFolders(root, "sys/fs/cgroup", group)) {
        quota(numbersOf(textOf(path.join(folder, "cpu.max"))));
        memory = Math.min(memory, numbersOf(textOf(path.join(folder, "memory.max")))[0]!);
      }
    for (const controller of controllers.split(","))
      for (const folder of groupFolders(root, `sys/fs/cgroup/${controller}`, group)) {
        const read = (name: string): number => numbersOf(textOf(path.join(folder, name)))[0]!;
        if (controller === "cpu") quota([read("cpu.cfs_quota_us"), read("cpu.cfs_period_us")]);
        if (controller === "memory") memory = Math.min(memory, read("memory.limit_in_bytes"));
      }
  }
  // Version 1 writes "no limit" as a number near 2^63.
  return {
    cores: cores < Infinity ? cores : undefined,
    memoryBytes: memory > 0 && memory < 2 ** 60 ? memory : undefined,
  };
}

/** Of this process. Read once: nobody changes them from inside. */
let limits: ContainerLimits | undefined;
const ownLimits = (): ContainerLimits => (limits ??= containerLimits());

/** Cores that this process may keep busy: those of the machine that it may run on, within the container's quota. */
export function availableCores(): number {
  const { cores = Infinity } = ownLimits();
  // With more threads than the quota pays for, the whole process is stopped for a part of each period.
  return Math.max(1, Math.min(os.availableParallelism(), Math.floor(cores)));
}

/** Memory that the container or the machine has for this process and all others in it, in bytes. */
export const memoryLimit = (): number => Math.min(os.totalmem(), ownLimits().memoryBytes ?? Infinity);

/** Frees what nobody holds any more, such as decoded images. For where memory ends: it stops the thread for a while. */
export function collectGarbage(): void {
  // V8 collects by the size of its own heap; Node has no other way to ask it.
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  setFlagsFromString("--no-expose-gc");
}

/** Of the process, read once: 'ulimit -v' of a running process does not change. */
let addressSpace: number | undefined;

/** Address space that 'ulimit -v' leaves this process, in bytes; Infinity without such a limit. */
export function addressSpaceLeft(): number {
  addressSpace ??= numbersOf(/^Max address space\s+(\S+)/m.exec(textOf("/proc/self/limits") ?? "")?.[1])[0]!;
  if (addressSpace === Infinity) return Infinity;
  const kilobytes = /^VmSize:\s+(\d+) kB$/m.exec(textOf("/proc/self/status") ?? "")?.[1];
  return kilobytes === undefined ? Infinity : addressSpace - Number(kilobytes) * 1024;
}
