import assert from "node:assert/strict";
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from "node:fs";

/**
 * Runs a command with some folders mounted onto themselves with another option, in a namespace of its own: anybody may
 * mount there, and what is mounted goes with the process.
 */
export function inNamespace(
  mounts: readonly (readonly [option: "noexec" | "exec" | "ro", folder: string])[],
  command: readonly string[],
  env: Record<string, string> = {},
): SpawnSyncReturns<string> {
  // In the order that is given: a later mount may lie in an earlier one.
  const script = `while [ "$1" != -- ]; do mount --bind "$2" "$2" && mount -o "remount,bind,$1" "$2" || exit 99; shift 2; done; shift; exec "$@"`;
  const places = mounts.flatMap(([option, folder]) => [option, folder]);
  return spawnSync(
    "unshare",
    ["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", ...places, "--", ...command],
    { encoding: "utf8", env: { ...process.env, ...env } },
  );
}

/** Whether that is allowed here. */
export const mountsHere = process.platform === "linux" && inNamespace([["noexec", "/tmp"]], ["true"]).status === 0;

/** Runs a command with a file system in memory of this size at the folder, in the same way. */
export const withSmallFileSystem = (folder: string, size: string, ...command: string[]): SpawnSyncReturns<string> =>
  spawnSync(
    "unshare",
    [
      "--user",
      "--map-root-user",
      "--mount",
      "sh",
      "-c",
      'mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@"',
      folder,
      size,
      ...command,
    ],
    { encoding: "utf8" },
  );

/** Fills a small file system with a file, up to so many bytes. */
export function fillDisk(file: string, free = 0): void {
  const filler = openSync(file, "w");
  const block = Buffer.alloc(4096);
  assert.throws(
    () => {
      for (;;) writeSync(filler, block);
    },
    { code: "ENOSPC" },
  );
  if (free > 0) ftruncateSync(filler, fstatSync(filler).size - free);
  closeSync(filler);
}
