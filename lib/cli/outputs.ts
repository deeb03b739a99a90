import { z } from "zod";

import type { Output } from "../outputs/output.js";
import { outputOptions, to } from "../schema/outputs.js";
import { output } from "./output.js";

/** The flags of every command with outputs. */
export const outputFlags = { to, ...outputOptions.omit({ retryDelayMs: true, onChange: true }).shape };

const flags = z.strictObject(outputFlags);
export type OutputFlags = z.input<typeof flags>;

/** Takes the flags of outputs out of a command's. */
export function splitOutputFlags<Flags extends OutputFlags>(
  given: Flags,
): { outputs: OutputFlags; others: Omit<Flags, keyof OutputFlags> } {
  const { to, stateDir, spoolMiB, webhookSecretFile, mqttPasswordFile, execTimeoutMs, ...others } = given;
  return { outputs: { to, stateDir, spoolMiB, webhookSecretFile, mqttPasswordFile, execTimeoutMs }, others };
}

/** Throws INVALID_OPTION for a form that does not exist, before a model is loaded. */
export async function checkFlagged({ to = [] }: OutputFlags): Promise<void> {
  const { placeOf } = await import("../outputs/places.js");
  for (const written of to) placeOf("openOutputs", written);
}

/** In the log: what fails, and what works again. */
export const toldChange = (name: string, error: string | undefined): void =>
  error === undefined ? output.log(`${name} works again`) : output.warn(`${name}: ${error}`);

/** The outputs that --to names; failures are told in the log. Undefined: none. */
export async function openFlagged({ to = [], ...options }: OutputFlags): Promise<Output | undefined> {
  if (to.length === 0) return undefined;
  const { openOutputs } = await import("../outputs/open.js");
  return openOutputs(to, { ...options, onChange: toldChange });
}

/** Closes them, and tells what did not get there. */
export async function closeFlagged(outputs: Output | undefined): Promise<void> {
  if (!outputs) return;
  await outputs.close();
  for (const { output: name, waiting, lost } of outputs.status()) {
    if (waiting > 0) output.warn(`${name}: ${waiting} results wait; the next call with this output sends them.`);
    if (lost > 0) output.warn(`${name}: ${lost} results were given up.`);
  }
}

/** Waits for `work`, then closes what it has opened, one after another, also where one fails. Throws the first error. */
export async function thenClose(work: Promise<void>, ...closers: (() => Promise<void> | undefined)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const step of [() => work, ...closers])
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  if (errors.length > 0) throw errors[0];
}
