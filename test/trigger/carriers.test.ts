import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect as connectTcp } from "node:net";
import path from "node:path";
import { before, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { connect } from "mqtt";

import { Detector, openTrigger, type Result, type Trigger, type TriggerOptions, watchFolder } from "../../lib/index.js";
import { maxConnections } from "../../lib/server/connections.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { broker } from "../support/broker.js";
import { until } from "../support/until.js";
import { freePort, scratchFolder, smallDataset, tinier, train } from "../training/support.js";
import { drop } from "../watch/kill.js";

const limit = { timeout: 60_000 };
const scratch = scratchFolder();
let detector: Detector;
before(async () => {
  detector = await Detector.load(await train(await smallDataset(scratch), tinier), { threads: 1 });
});

interface Line {
  folder: string;
  trigger: Trigger;
  results: Result[];
  stop(): Promise<void>;
}

/** A folder that is watched, with a trigger. */
async function line(t: TestContext, address: string, options: TriggerOptions = {}): Promise<Line> {
  const folder = path.join(await temporaryFolder(t), "camera");
  mkdirSync(folder);
  const trigger = await openTrigger(address, options);
  const results: Result[] = [];
  const end = new AbortController();
  let ready = (): void => undefined;
  const isReady = new Promise<void>((resolve) => (ready = resolve));
  const watching = watchFolder(detector, folder, {
    settleMs: 20,
    signal: end.signal,
    trigger: trigger.sequence,
    onReady: () => ready(),
    onResult: (result) => void results.push(result),
  });
  const stop = async (): Promise<void> => {
    end.abort();
    await watching;
    await trigger.close();
  };
  t.after(stop);
  await isReady;
  return { folder, trigger, results, stop };
}

interface Answer {
  status: number;
  body: Record<string, unknown> & { error?: { code: string } };
}

function ask(base: string, target: string, part?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const method = part === undefined ? "GET" : "POST";
  return new Promise((resolve, reject) => {
    const sent = request(`${base}${target}`, { method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (more: string) => (text += more));
      response.on("end", () => resolve({ status: response.statusCode!, body: JSON.parse(text) as Answer["body"] }));
    });
    sent.on("error", reject);
    sent.end(part === undefined ? undefined : JSON.stringify({ part }));
  });
}

test(
  "http: part number in, part number and verdict out, and only images after 'busy' are the part's",
  limit,
  async (t) => {
    const { folder, trigger, results, stop } = await line(t, "http://127.0.0.1:0");
    const { address } = trigger;
    assert.deepEqual((await ask(address, "/state")).body, { state: "ready" });
    // One that is not complete yet when the part comes.
    writeFileSync(path.join(folder, "stray.png"), "");
    const busy = await ask(address, "/trigger", "4711");
    assert.deepEqual(busy, { status: 200, body: { state: "busy", part: "4711" } });
    assert.equal((await ask(address, "/trigger", "4712")).body.error!.code, "BUSY");
    await drop(folder, "stray.png", 10);
    await until(() => results.length === 1);
    const waiting = ask(address, "/state?wait=30000");
    await drop(folder, "a.png", 20);
    const { body } = await waiting;
    assert.equal(body["part"], "4711");
    assert.equal(body["verdict"], results[1]!.verdict);
    assert.equal((await ask(address, "/trigger", "4712")).body.error!.code, "NOT_ACKNOWLEDGED");
    assert.deepEqual(await ask(address, "/ack", "4711"), { status: 200, body: { state: "ready" } });
    await drop(folder, "b.png", 30);
    await until(() => results.length === 3);
    await stop();
    const parts = results.map(({ path: file, part }) => [path.basename(file!), part]);
    assert.deepEqual(parts, [
      ["stray.png", undefined],
      ["a.png", "4711"],
      ["b.png", undefined],
    ]);
  },
);

test("http: an image that cannot be read, wrong requests, and who may ask", limit, async (t) => {
  const tokenFile = path.join(await temporaryFolder(t), "token");
  writeFileSync(tokenFile, "0123456789abcdef0123456789abcdef\n");
  const { trigger, stop } = await line(t, "http://127.0.0.1:0", { tokenFile, timeoutMs: 100 });
  const { address } = trigger;
  const token = { authorization: "Bearer 0123456789abcdef0123456789abcdef" };
  const status = async (target: string, part?: unknown, headers: Record<string, string> = token): Promise<number> =>
    (await ask(address, target, part, headers)).status;
  assert.equal(await status("/state", undefined, {}), 401);
  assert.equal(await status("/trigger", "1", {}), 401);
  assert.equal(await status("/state", undefined, { ...token, host: "evil.example" }), 403);
  assert.equal(await status("/state", undefined, { ...token, origin: "http://evil.example" }), 403);
  assert.equal(await status("/trigger", ""), 400);
  assert.equal(await status("/trigger", "x".repeat(5000)), 413);
  assert.equal(await status("/state?wait=x"), 400);
  assert.equal(await status("/nothing"), 404);
  assert.equal(await status("/ack", "1"), 200);
  assert.equal(await status("/trigger", "1"), 200);
  const { body } = await ask(address, "/state?wait=30000", undefined, token);
  assert.deepEqual([body["part"], body["verdict"], body["error"]], ["1", "none", "NO_IMAGE"]);
  await stop();
});

test("http: connections are limited, and those that say nothing do not keep it from closing", limit, async () => {
  const trigger = await openTrigger("http://127.0.0.1:0");
  const port = Number(new URL(trigger.address).port);
  let ended = 0;
  const closed = Array.from({ length: maxConnections + 1 }, () => {
    const socket = connectTcp(port, "127.0.0.1").on("error", () => undefined);
    return new Promise<void>((resolve) => socket.resume().once("close", () => resolve(void ended++)));
  });
  await Promise.race(closed);
  await sleep(100); // for more that would end
  assert.equal(ended, 1);
  await trigger.close();
  await Promise.all(closed);
});

test("mqtt: the sequence over a broker that is restarted, and who comes late reads the state", limit, async (t) => {
  const port = await freePort();
  const messages: { topic: string; payload: string; retain: boolean }[] = [];
  const first = await broker(port, messages);
  const changes: (string | undefined)[] = [];
  const address = `mqtt://127.0.0.1:${port}/line/3`;
  const { folder, results, stop } = await line(t, address, { onChange: (_, error) => changes.push(error) });
  const plc = connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 50 });
  const heard: Record<string, unknown>[] = [];
  plc.on("connect", () => plc.subscribe(["line/3/state", "line/3/refused"], { qos: 1 }));
  plc.on("message", (_, payload) => void heard.push(JSON.parse(payload.toString()) as Record<string, unknown>));
  const last = (): Record<string, unknown> => heard.at(-1) ?? {};
  const say = (topic: string, part: unknown, retain = false) =>
    plc.publishAsync(`line/3/${topic}`, JSON.stringify({ part }), { qos: 2, retain });

  await until(() => last()["state"] === "ready");
  await say("trigger", "4711");
  await until(() => last()["state"] === "busy");
  await say("trigger", "4712");
  await until(() => last()["code"] === "BUSY");
  await drop(folder, "a.png", 10);
  await until(() => last()["state"] === "done");
  assert.equal(last()["part"], "4711");
  assert.equal(last()["verdict"], results[0]!.verdict);

  await first.kill();
  await until(() => changes.length === 1);
  heard.length = 0;
  const second = await broker(port, messages);
  await until(() => last()["state"] === "done");
  assert.equal(last()["part"], "4711", "who comes back reads where the part stands");
  await until(() => changes.length === 2);
  await say("ack", "4711");
  await until(() => last()["state"] === "ready");
  await stop();
  await until(() => last()["state"] === "offline");
  await plc.endAsync();
  await second.kill();
  assert.ok(messages.filter(({ topic }) => topic === "line/3/state").every(({ retain }) => retain));
});

test("mqtt: a retained trigger is of an earlier day", limit, async (t) => {
  const port = await freePort();
  const messages: { topic: string; payload: string; retain: boolean }[] = [];
  const running = await broker(port, messages);
  const plc = connect(`mqtt://127.0.0.1:${port}`);
  await plc.publishAsync("cell/trigger", JSON.stringify({ part: "old" }), { qos: 1, retain: true });
  const { trigger, stop } = await line(t, `mqtt://127.0.0.1:${port}/cell`);
  await until(() => messages.some(({ topic, payload }) => topic === "cell/state" && /ready/.test(payload)));
  await plc.publishAsync("cell/trigger", JSON.stringify({ part: "new" }), { qos: 1 });
  await until(() => trigger.sequence.state.state === "busy");
  assert.deepEqual(trigger.sequence.state, { state: "busy", part: "new" });
  await stop();
  await plc.endAsync();
  await running.kill();
});

test("mqtt: a trigger that the broker delivers again repeats the verdict, and starts nothing", limit, async (t) => {
  const port = await freePort();
  const messages: { topic: string; payload: string; retain: boolean }[] = [];
  const running = await broker(port, messages);
  const { folder, trigger, results, stop } = await line(t, `mqtt://127.0.0.1:${port}/cell`);
  const { sequence } = trigger;
  const plc = connect(`mqtt://127.0.0.1:${port}`);
  const say = (topic: string, part: string) => plc.publishAsync(`cell/${topic}`, JSON.stringify({ part }), { qos: 1 });
  await say("trigger", "1");
  await until(() => sequence.state.state === "busy");
  await drop(folder, "a.png", 10);
  await until(() => sequence.state.state === "done");
  const { state: _, ...verdict } = sequence.state as unknown as Record<string, unknown>;
  await say("ack", "1");
  await until(() => sequence.state.state === "ready");
  const states: string[] = [];
  sequence.onState(({ state }) => states.push(state));

  running.deliverAgain("cell/trigger", JSON.stringify({ part: "1" }));
  const refused = () => messages.filter(({ topic }) => topic === "cell/refused");
  await until(() => refused().length === 1);
  const message = "The part has its verdict already.";
  assert.deepEqual(JSON.parse(refused()[0]!.payload), { code: "REPEATED", message, ...verdict });
  assert.equal(verdict["verdict"], results[0]!.verdict);
  assert.deepEqual(states, []);
  // One that did not come the first time.
  running.deliverAgain("cell/trigger", JSON.stringify({ part: "2" }));
  await until(() => sequence.state.state === "busy");
  await stop();
  await plc.endAsync();
  await running.kill();
});

test("addresses that are none, that strangers reach, and that are taken", limit, async (t) => {
  const wrong = ["", "http://127.0.0.1/path", "https://127.0.0.1", "mqtt://", "mqtt://broker/a+b", "opc.tcp://plc"];
  for (const address of wrong) await assert.rejects(openTrigger(address), failure("INVALID_OPTION", "trigger"));
  await assert.rejects(openTrigger("http://0.0.0.0:0"), failure("INVALID_OPTION", "no token is asked for"));
  const first = await openTrigger("http://127.0.0.1:0");
  t.after(() => first.close());
  await assert.rejects(openTrigger(first.address), failure("INVALID_OPTION", "cannot listen"));
});
