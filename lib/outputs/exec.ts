import { spawn } from "node:child_process";

import { type Delivery, type Receiver, Refused } from "./spooled.js";

/** EX_DATAERR of sysexits.h: the program says that it will never take this result. */
const dataError = 65;

/** Runs a command of the shell for every result, one after the other, with the result as JSON on its standard input. */
export function exec(command: string, timeoutMs: number): Receiver {
  return {
    batch: 1,
    async send(deliveries, signal) {
      for (const delivery of deliveries) await run(command, delivery, timeoutMs, signal);
    },
    close: () => Promise.resolve(),
  };
}

function run(command: string, { id, result }: Delivery, timeoutMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    // A process group of its own, so that what it has started ends with it.
    const child = spawn(command, {
      shell: true,
      detached: true,
      stdio: ["pipe", "ignore", "pipe"],
      env: { ...process.env, SUPERSIMPLENET_DELIVERY: id },
    });
    let said = "";
    let why: string | undefined;
    const kill = (reason: string): void => {
      why ??= reason;
      try {
        process.kill(-child.pid!, "SIGKILL");
      } catch {
        // It has ended.
      }
    };
    const stop = (): void => kill("it was stopped");
    const timer = setTimeout(() => kill(`it ran longer than ${timeoutMs / 1000} s`), timeoutMs);
    signal.addEventListener("abort", stop, { once: true });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-500)));
    child.stdin.on("error", () => undefined); // it need not read
    child.stdin.end(`${JSON.stringify(result)}\n`);
    child.on("error", reject);
    child.on("close", (code, ended) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      if (code === 0 && why === undefined) return resolve();
      const message = why ?? `it ended with ${ended ?? `exit code ${code}`}${said.trim() ? `: ${said.trim()}` : ""}`;
      reject(code === dataError ? new Refused(message) : new Error(message));
    });
  });
}
