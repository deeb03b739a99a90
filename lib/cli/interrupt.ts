import { output } from "./output.js";

/** npm passes a Ctrl-C on that the terminal has sent to both of us: within this time it is the same one. */
const sameMs = 500;

/** Runs `work` with a signal that Ctrl-C (SIGINT) or SIGTERM aborts. A second one ends the process at once. */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  hint = "Stopping after the current step.",
): Promise<T> {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (): void => {
    if (controller.signal.aborted) {
      if (performance.now() - first < sameMs) return;
      process.exit(130);
    }
    first = performance.now();
    output.log(`${hint} Press Ctrl-C again to stop at once.`);
    controller.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}
