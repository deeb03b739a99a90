import type { z } from "zod";

import { fitOptions, trainerOptions } from "./training.js";

/** A call of the API that takes options. */
export interface EntryPoint {
  call: string;
  summary: string;
  schema: z.ZodType;
}

/** Every one, in the order of the reference. */
export const entryPoints: readonly EntryPoint[] = [
  { call: "new Trainer(options)", summary: "Training.", schema: trainerOptions },
  { call: "trainer.fit(dataset, options)", summary: "One run of a training.", schema: fitOptions },
];
