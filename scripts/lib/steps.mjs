// One line per step, the running of commands, and the fingerprints that tell whether a step is up to date.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";

import { root } from "./paths.mjs";

/** A step that cannot go on: what is wrong, and what to do about it. */
export class Failure extends Error {
  constructor(message, fix, output = "") {
    super(message);
    this.fix = fix;
    this.output = output;
  }
  report() {
    return [this.output.trimEnd(), `\nfailed: ${this.message}`, `what to do: ${this.fix}`].filter(Boolean).join("\n");
  }
}

/**
 * Runs one step and prints one line about it: "name: what came out (seconds)". `body(progress)` returns {state}, the text
 * after the name; progress(text) shows where it is, on a terminal at once, in a log every 30 seconds.
 */
export async function step(name, body) {
  const start = performance.now();
  const live = process.stdout.isTTY === true;
  let shown = 0;
  const write = (text) => process.stdout.write(live ? `\r\x1b[K${text}` : `${text}\n`);
  const progress = (text) => {
    const now = performance.now();
    if (!live && shown !== 0 && now - shown < 30_000) return;
    shown = now;
    write(live ? `${name}: ${text}`.slice(0, (process.stdout.columns ?? 80) - 1) : `${name}: ${text}`);
  };
  try {
    const { state } = await body(progress);
    const seconds = (performance.now() - start) / 1000;
    write(`${name}: ${state}${seconds >= 1 ? ` (${seconds.toFixed(0)} s)` : ""}`);
    if (live) process.stdout.write("\n");
  } catch (error) {
    write(`${name}: FAILED`);
    if (live) process.stdout.write("\n");
    throw error;
  }
}

/** Runs a command in the package's folder; resolves to {status, output}, status undefined when it cannot be started. */
export function run(command, args, { env = process.env, onLine, cwd = root } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32" && /npm|npx/.test(command),
    });
    let output = "";
    let rest = "";
    const take = (chunk) => {
      output += chunk;
      const lines = (rest + chunk).split(/\r?\n|\r/);
      rest = lines.pop();
      for (const line of lines) onLine?.(line);
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    child.on("error", (error) => resolve({ status: undefined, output: String(error.message) }));
    child.on("close", (status) => resolve({ status: status ?? 1, output }));
  });
}

/** Every file under the given files and folders (relative to the package), sorted; what does not exist is left out. */
export function filesUnder(entries) {
  const out = [];
  const walk = (entry) => {
    const stat = statSync(path.join(root, entry), { throwIfNoEntry: false });
    if (stat?.isDirectory()) for (const name of readdirSync(path.join(root, entry))) walk(path.join(entry, name));
    else if (stat) out.push(entry);
  };
  entries.forEach(walk);
  return out.sort();
}

/** A hash over the names and contents of files, and over `extra`. */
export function fingerprint(files, extra = "") {
  const hash = createHash("sha256").update(extra);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(path.join(root, file)));
  return hash.digest("hex");
}

export const stampIs = (file, value) => {
  try {
    return readFileSync(path.join(root, file), "utf8") === value;
  } catch {
    return false; // never written: the step has not been done
  }
};

export function writeStamp(file, value) {
  const full = path.join(root, file);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(`${full}.tmp`, value);
  renameSync(`${full}.tmp`, full);
}
