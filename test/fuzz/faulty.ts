/** Targets with a fault each, to see that it is noticed. */
import { readFileSync } from "node:fs";

import type { Target } from "./targets.js";

const kept: Buffer[] = [];
/** Every 100th file has the fault. */
const byHundreds = (fault: () => unknown): (() => Target) => {
  return () => ({
    file: "f",
    codes: [],
    atOnce: 1,
    make: (random) => Buffer.from([random.integer(100)]),
    async read(file) {
      if (readFileSync(file)[0] === 0) await fault();
    },
  });
};

export const targets: Record<string, () => Target> = {
  crash: byHundreds(() => process.abort()),
  busy: byHundreds(() => {
    for (;;);
  }),
  waits: byHundreds(() => new Promise(() => {})),
  untyped: byHundreds(() => {
    throw new TypeError("on purpose");
  }),
  /** Every file. */
  leak: () => ({
    file: "f",
    codes: [],
    make: () => Buffer.alloc(1),
    read: async () => void kept.push(Buffer.alloc(2 ** 20, 1)),
  }),
};
