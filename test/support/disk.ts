import { promises, readlinkSync } from "node:fs";
import type { TestContext } from "node:test";

/** From now on, what is flushed and renamed, in its order: "flush FILE", "rename FROM TO". Linux only. */
export async function diskSteps(t: TestContext): Promise<string[]> {
  const steps: string[] = [];
  const probe = await promises.open(__filename);
  const handles = Object.getPrototypeOf(probe) as promises.FileHandle;
  await probe.close();
  const { sync } = handles;
  t.mock.method(handles, "sync", async function (this: promises.FileHandle) {
    steps.push(`flush ${readlinkSync(`/proc/self/fd/${this.fd}`)}`);
    return sync.call(this);
  });
  const { rename } = promises;
  t.mock.method(promises, "rename", async (from: string, to: string) => {
    steps.push(`rename ${from} ${to}`);
    return rename(from, to);
  });
  return steps;
}

/** The order in which a file is written so that a power failure leaves the old one or the new one, whole. */
export function isSafeOrder(steps: readonly string[], file: string, folder: string): boolean {
  const [, temporary] = /^rename (\S+)/m.exec(steps.join("\n")) ?? [];
  return steps.join("\n") === [`flush ${temporary}`, `rename ${temporary} ${file}`, `flush ${folder}`].join("\n");
}
