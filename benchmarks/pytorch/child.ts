import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

/** child.py as a process: one command at a time or several, answered in order. */
export class Child {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting: Waiting[] = [];

  constructor(python: string, threads: number) {
    const script = path.resolve(__dirname, "../../../benchmarks/pytorch/child.py");
    this.#process = spawn(python, ["-B", script], {
      env: { ...process.env, OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) },
    });
    this.#process.stderr.pipe(process.stderr);
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      const answer = JSON.parse(line) as { error?: string };
      const waiting = this.#waiting.shift();
      if (answer.error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(`PyTorch: ${answer.error}`));
    });
    const fail = (reason: string) => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`${python} ended: ${reason}`));
    };
    this.#process.on("error", (error) => fail(error.message));
    this.#process.on("close", (code, signal) => fail(`${signal ?? `exit code ${code}`}`));
  }

  send<T>(request: { command: string } & Record<string, unknown>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ resolve: resolve as (answer: unknown) => void, reject });
      this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    });
  }

  end(): void {
    this.#process.stdin.end();
  }
}
