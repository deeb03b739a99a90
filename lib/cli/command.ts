import type { z } from "zod";

import { call, type ErrorDetails, SuperSimpleNetError, type Text, text } from "../errors.js";
import { didYouMean } from "../schema/nearest.js";
import { output } from "./output.js";

/** What a command takes and does. Its flags, their checks and --help follow from the schema of its options. */
export interface Command<Schema extends z.ZodObject = z.ZodObject> {
  name: string;
  /** What it does, for its own --help. */
  description: string;
  options: Schema;
  /** Arguments that are not options; absent when it takes none. */
  positionals?: { usage: string; min: number; max?: number; what: string };
  examples: readonly string[];
  /** `options`: what was given, in groups as in the schema, without defaults. Resolves to the exit code. */
  run(options: z.input<Schema>, positionals: readonly string[]): Promise<number>;
}

/** Infers the types of `run`'s options from the schema. */
export function command<Schema extends z.ZodObject>(definition: Command<Schema>): Command<Schema> {
  return definition;
}

/** INVALID_OPTION that begins with the name of the command that runs, and of its action if it has several. */
export function wrongUsage(what: Text, details: ErrorDetails & { action?: string } = {}): SuperSimpleNetError {
  const action = details.action === undefined ? "" : ` ${details.action}`;
  return new SuperSimpleNetError("INVALID_OPTION", text`${call("supersimplenet")}${action}: ${what}`, details);
}

/** The action of a command that has several. */
export function chooseAction<Action extends string>(written: string | undefined, actions: readonly Action[]): Action {
  const action = actions.find((name) => name === written);
  if (action !== undefined) return action;
  const near = didYouMean(written ?? "", actions);
  const details = near === undefined ? {} : { fix: `Did you mean '${near}'?` };
  throw wrongUsage(`expected one of ${actions.join(", ")} but received '${written}'.`, details);
}

/** npm passes a Ctrl-C on that the terminal has sent to both of us: within this time it is the same one. */
const sameMs = 500;

/** After this time the process no longer waits for what does not end by itself. */
const patienceMs = 5000;

/**
 * Runs `work` with a signal that Ctrl-C (SIGINT) or SIGTERM aborts. A second one ends the process at once. So does the
 * first one, once `work` has ended, where a file still does not answer: process.exit() would wait for it.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  hint = "Stopping after the current step.",
): Promise<T> {
  const controller = new AbortController();
  let first = 0;
  let received: NodeJS.Signals | undefined;
  const stopListening = (): void => {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    process.off("disconnect", onDisconnect);
  };
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      if (performance.now() - first < sameMs) return;
      stopListening();
      process.kill(process.pid, name);
      return;
    }
    first = performance.now();
    received = name;
    output.log(`${hint} Press Ctrl-C again to stop at once.`);
    controller.abort();
  };
  // Of a program that started this one with a channel, nobody is left to take what comes of the work.
  const onDisconnect = (): void => controller.abort();
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  if (process.connected) process.on("disconnect", onDisconnect);
  else if (process.connected === false) controller.abort(); // it had a channel, and its program is gone already
  process.channel?.unref();
  try {
    return await work(controller.signal);
  } finally {
    stopListening();
    if (received !== undefined) setTimeout(() => process.kill(process.pid, received), patienceMs).unref();
  }
}
