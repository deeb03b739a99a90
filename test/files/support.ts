import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";

import { type ErrorCode, SuperSimpleNetError } from "../../lib/errors.js";

/** A folder that is removed after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ssn-files-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const floats = (...values: number[]): Buffer => Buffer.from(new Float32Array(values).buffer);

export async function failsWith(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof SuperSimpleNetError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    if (/^(FILE|PICKLE)_/.test(code))
      assert.ok(error.path && error.message.includes(error.path), `the file of: ${error.message}`);
    return true;
  });
}

/** Reads every truncation and `flips` random changes of a valid file: each must be read or refused, never crash. */
export async function mutate(
  file: string,
  valid: Buffer,
  flips: number,
  read: (path: string) => Promise<unknown>,
): Promise<{ read: number; refused: number }> {
  const allowed: ErrorCode[] = ["FILE_CORRUPT", "PICKLE_REFUSED", "WEIGHTS_INVALID"];
  const outcome = { read: 0, refused: 0 };
  // Many at a time: on a busy machine a round trip to the thread pool takes longer than the reading.
  let running: Promise<void>[] = [];
  const attempt = async (bytes: Buffer, mustFail: boolean): Promise<void> => {
    running.push(attemptOne(`${file}.${running.length}`, bytes, mustFail));
    if (running.length === 64) await settle();
  };
  const settle = async (): Promise<void> => {
    await Promise.all(running);
    running = [];
  };
  const attemptOne = async (file: string, bytes: Buffer, mustFail: boolean): Promise<void> => {
    writeFileSync(file, bytes);
    try {
      await read(file);
      assert.ok(!mustFail, `a file cut to ${bytes.length} of ${valid.length} bytes was read`);
      outcome.read++;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.ok(error instanceof SuperSimpleNetError && allowed.includes(error.code), String(error));
      assert.ok(error.message.includes(file), error.message);
      outcome.refused++;
    }
  };
  for (let length = 0; length < valid.length; length++) await attempt(valid.subarray(0, length), true);
  let state = 12345; // a linear congruential generator: the same mutations every time
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let i = 0; i < flips; i++) {
    const bytes = Buffer.from(valid);
    for (let n = 1 + random(3); n > 0; n--) bytes[random(bytes.length)] = random(256);
    await attempt(bytes, false);
  }
  await settle();
  return outcome;
}
