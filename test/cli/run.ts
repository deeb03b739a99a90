import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";

const main = path.resolve(__dirname, "../../lib/cli/main.js");

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** Called with everything on stderr so far, e.g. to send a signal at the right moment. */
  onStderr?: (soFar: string, kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs the command line in a process of its own, without a terminal, on one thread: the work is tiny. */
export function supersimplenet(args: string[], { env = {}, cwd, onStderr }: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      env: { ...process.env, SUPERSIMPLENET_THREADS: "1", OMP_NUM_THREADS: "1", FORCE_COLOR: "0", ...env },
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const finished: Finished = { code: null, stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (finished.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      finished.stderr += text;
      onStderr?.(finished.stderr, (signal) => child.kill(signal));
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ ...finished, code }));
  });
}

/**
 * The environment in which opening `file` waits in the system, which no program can cancel, as on a lost network drive:
 * until somebody opens `pipe` for writing. undefined where there are no pipes.
 */
export function waitingFor(file: string, pipe: string): Record<string, string> | undefined {
  if (spawnSync("mkfifo", [pipe]).status !== 0) return undefined;
  const hook = `${pipe}.cjs`;
  writeFileSync(
    hook,
    `const fs = require("node:fs/promises"), { open } = fs;
     fs.open = (name, ...rest) => {
       if (name !== ${JSON.stringify(file)}) return open(name, ...rest);
       process.stderr.write("waiting for a file\\n");
       return open(${JSON.stringify(pipe)}, "r");
     };`,
  );
  return { NODE_OPTIONS: `--require ${hook}` };
}
