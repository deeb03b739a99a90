import { setTimeout as sleep } from "node:timers/promises";

/** Waits until it is so. The test's own time limit ends a wait in vain. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}
