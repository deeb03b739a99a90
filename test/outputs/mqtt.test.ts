import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "mqtt";

import { openOutputs } from "../../lib/outputs/open.js";
import type { Result } from "../../lib/outputs/output.js";
import { temporaryFolder } from "../datasets/files.js";
import { freePort } from "../training/support.js";
import { names, resultOf, statusOf } from "./support.js";
import { broker } from "../support/broker.js";
import { until } from "../support/until.js";

test("mqtt: results with QoS 1, a retained status, over a restart of the broker", { timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const messages: { topic: string; payload: string; retain: boolean }[] = [];
  const results = (): string[] =>
    messages
      .filter(({ topic }) => topic === "line/3/result")
      .map(({ payload }) => (JSON.parse(payload) as Result).path!);
  const first = await broker(port, messages);
  const output = await openOutputs([`mqtt://127.0.0.1:${port}/line/3`], {
    stateDir: await temporaryFolder(t),
    retryDelayMs: 20,
  });
  for (const name of names(3)) await output.write(resultOf(name));
  await until(() => results().length === 3);
  assert.ok(
    messages.some(({ topic, payload, retain }) => topic === "line/3/status" && /online/.test(payload) && retain),
  );

  await first.kill();
  await until(() => statusOf(output).error !== undefined);
  for (const name of names(3, 3)) assert.equal(await output.write(resultOf(name)), true);
  assert.equal(statusOf(output).waiting, 3);
  const second = await broker(port, messages);
  await until(() => statusOf(output).waiting === 0);
  assert.equal(statusOf(output).error, undefined);
  assert.deepEqual([...new Set(results())], names(6));

  // A reader that comes later learns at once that it is there, and later that it has gone.
  const reader = connect(`mqtt://127.0.0.1:${port}`);
  const told: string[] = [];
  reader.on("message", (_, payload) => void told.push((JSON.parse(payload.toString()) as { state: string }).state));
  await reader.subscribeAsync("line/3/status", { qos: 1 });
  await until(() => told.length > 0);
  await output.close();
  await until(() => told.length > 1);
  assert.deepEqual(told, ["online", "offline"]);
  await reader.endAsync();
  await second.kill();
});

test("mqtt: the broker says that a process has gone which could not say so itself", { timeout: 60_000 }, async (t) => {
  const { spawn } = await import("node:child_process");
  const port = await freePort();
  const messages: { topic: string; payload: string; retain: boolean }[] = [];
  const running = await broker(port, messages);
  const script = `require(process.argv[1]).openOutputs(["mqtt://127.0.0.1:${port}/cell"], { stateDir: process.argv[2] })
    .then(() => setInterval(() => undefined, 1000));`;
  const child = spawn(process.execPath, [
    "-e",
    script,
    require.resolve("../../lib/outputs/open.js"),
    await temporaryFolder(t),
  ]);
  await until(() => messages.some(({ payload }) => /online/.test(payload)));
  child.kill("SIGKILL");
  await until(() => messages.some(({ topic, payload }) => topic === "cell/status" && /offline/.test(payload)));
  await running.kill();
});
