import { readFileSync, realpathSync } from "node:fs";

/** Where a file lies on a file system that is mounted noexec; undefined where programs may be run from it, or where that is not known. */
export function noexecMount(file: string): string | undefined {
  try {
    const real = realpathSync(file);
    // proc(5): 36 35 98:0 /root /mount/point rw,noexec,relatime ... Of two mounts on one place the later one is seen.
    const mounts = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) => line.split(" "))
      .filter((fields) => fields.length > 5)
      .map(([, , , , place, options]) => ({ place: unescaped(place!), noexec: options!.split(",").includes("noexec") }))
      .filter(({ place }) => place === "/" || real === place || real.startsWith(`${place}/`));
    const longest = Math.max(...mounts.map(({ place }) => place.length));
    const mount = mounts.filter(({ place }) => place.length === longest).at(-1);
    return mount?.noexec ? mount.place : undefined;
  } catch {
    return undefined; // not Linux, or no /proc
  }
}

/** A space in a name is written \040. */
const unescaped = (name: string): string =>
  name.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));

/** What is wrong with a library on such a file system, in a sentence, and how to run it where it lies. */
export const noexecReason = (mount: string): string =>
  `${mount} is mounted noexec: no program or library may be run from there.`;
export const allowExec = (mount: string): string => `Run 'mount -o remount,exec ${mount}' as root`;
