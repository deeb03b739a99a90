import assert from "node:assert/strict";
import { test } from "node:test";

import { type Refusal, TriggerRefused, TriggerSequence, type TriggerState } from "../../lib/trigger/sequence.js";
import { resultOf } from "../outputs/support.js";
import { until } from "../support/until.js";

const result = resultOf("a.png", { verdict: "defect", score: 0.75 });

/** A sequence, and all of its states. */
function begun(timeoutMs = 10_000, look = () => Promise.resolve()) {
  const sequence = new TriggerSequence(timeoutMs);
  const states: TriggerState[] = [];
  sequence.onState((state) => states.push(state));
  sequence.begin(look);
  return { sequence, states, names: () => states.map(({ state }) => state) };
}

const refused = (code: Refusal) => (error: unknown) => error instanceof TriggerRefused && error.code === code;

test("ready, busy, done, acknowledged: one part after the other", async () => {
  const { sequence, states, names } = begun();
  for (const part of ["1", "2"]) {
    await sequence.trigger(part);
    const attempt = sequence.claim()!;
    assert.equal(attempt.part, part);
    assert.equal(sequence.claim(), undefined, "the next image is not the part's");
    sequence.judged(attempt, result);
    sequence.acknowledge(part);
  }
  sequence.end();
  assert.deepEqual(names(), ["ready", "busy", "done", "ready", "busy", "done", "ready", "offline"]);
  const { time } = result;
  assert.deepEqual(states[2], { state: "done", part: "1", verdict: "defect", score: 0.75, regions: 1, time });
});

test("what the state does not allow is refused and changes nothing, and repetitions change nothing", async () => {
  const { sequence, names } = begun();
  assert.equal(sequence.claim(), undefined, "nobody told of a part");
  sequence.acknowledge("0");
  for (const part of ["", "x".repeat(129), 7, undefined])
    await assert.rejects(sequence.trigger(part), refused("BAD_PART"));
  await sequence.trigger("1");
  await sequence.trigger("1");
  await assert.rejects(sequence.trigger("2"), refused("BUSY"));
  assert.throws(() => sequence.acknowledge("1"), refused("BUSY"));
  const attempt = sequence.claim()!;
  sequence.judged(attempt, result);
  sequence.judged(attempt, result);
  await assert.rejects(sequence.trigger("2"), refused("NOT_ACKNOWLEDGED"));
  assert.throws(() => sequence.acknowledge("2"), refused("OTHER_PART"));
  sequence.acknowledge("1");
  sequence.acknowledge("1");
  sequence.end();
  await assert.rejects(sequence.trigger("2"), refused("OFFLINE"));
  assert.throws(() => sequence.acknowledge("1"), refused("OFFLINE"));
  assert.deepEqual(names(), ["ready", "busy", "done", "ready", "offline"]);
});

test("a part without an image, or whose image is late or unreadable, has no verdict, and says why", async () => {
  const { sequence, states } = begun(30);
  const isDone = (): boolean => sequence.state.state === "done";
  await sequence.trigger("1");
  await until(isDone);
  sequence.acknowledge("1");
  await sequence.trigger("2");
  sequence.claim();
  await until(isDone);
  sequence.acknowledge("2");
  await sequence.trigger("3");
  const third = sequence.claim()!;
  assert.ok(sequence.release(third));
  assert.equal(sequence.claim(), third, "the image was not complete");
  sequence.unreadable(third);
  sequence.acknowledge("3");
  await sequence.trigger("4");
  sequence.release(sequence.claim()!, true);
  await until(isDone);
  const done = states.filter((state) => state.state === "done");
  assert.deepEqual(
    done.map(({ part, verdict, error }) => [part, verdict, error]),
    [
      ["1", "none", "NO_IMAGE"],
      ["2", "none", "TOO_LATE"],
      ["3", "none", "IMAGE_UNREADABLE"],
      ["4", "none", "IMAGE_UNREADABLE"],
    ],
  );
  sequence.end();
});

test("a part that is triggered again gets no verdict of its first image", async () => {
  const { sequence } = begun(30);
  await sequence.trigger("1");
  const late = sequence.claim()!;
  await until(() => sequence.state.state === "done");
  sequence.acknowledge("1");
  await sequence.trigger("1");
  assert.equal(sequence.release(late), false);
  sequence.judged(late, result);
  sequence.unreadable(late);
  assert.equal(sequence.state.state, "busy");
  sequence.judged(sequence.claim()!, result);
  assert.equal(sequence.state.state, "done");
  sequence.end();
});

test("a trigger that is delivered again: the verdict of a part that has one, at most so many, and else as any", async () => {
  const { sequence, names } = begun();
  const again = (part: string) => sequence.trigger(part, { redelivered: true });
  await again("1");
  await again("1");
  sequence.judged(sequence.claim()!, result);
  const { state: _, ...verdict } = sequence.state as TriggerState & { state: "done" };
  const isRepeated = (error: unknown) => {
    assert.deepEqual((error as TriggerRefused).verdict, verdict);
    return refused("REPEATED")(error);
  };
  await assert.rejects(again("1"), isRepeated);
  sequence.acknowledge("1");
  await assert.rejects(again("1"), isRepeated);
  await sequence.trigger("2");
  await assert.rejects(again("1"), isRepeated);
  await assert.rejects(again("3"), refused("BUSY"));
  sequence.judged(sequence.claim()!, result);
  sequence.acknowledge("2");
  assert.deepEqual(names(), ["ready", "busy", "done", "ready", "busy", "done", "ready"]);

  await sequence.trigger("1");
  await again("1"); // of the second attempt
  assert.deepEqual(sequence.state, { state: "busy", part: "1" });
  sequence.judged(sequence.claim()!, result);
  sequence.acknowledge("1");
  for (let i = 0; i < 1000; i++) {
    await sequence.trigger(`more ${i}`);
    sequence.judged(sequence.claim()!, result);
    sequence.acknowledge(`more ${i}`);
  }
  await again("1");
  assert.deepEqual(sequence.state, { state: "busy", part: "1" });
  sequence.end();
});

test("a repetition waits for 'busy' too, an older look at the folder says nothing of a newer part, and an end ends", async () => {
  const looks: (() => void)[] = [];
  const { sequence } = begun(40, () => new Promise((resolve) => looks.push(resolve)));
  const first = sequence.trigger("1");
  const again = sequence.trigger("1");
  await until(() => sequence.state.state === "done");
  sequence.acknowledge("1");
  const second = sequence.trigger("1");
  looks[0]!();
  await Promise.all([first, again]);
  assert.equal(sequence.state.state, "ready", "the second look is under way");
  const repeated = sequence.trigger("1").then(() => sequence.state.state);
  looks[1]!();
  await second;
  assert.equal(await repeated, "busy");
  sequence.end();
  sequence.begin(() => new Promise((resolve) => looks.push(resolve)));
  const interrupted = sequence.trigger("2");
  sequence.end();
  looks[2]!();
  await assert.rejects(interrupted, refused("OFFLINE"));
});

test("a folder that cannot be looked at in time: no verdict, and never a late 'busy'", async () => {
  let look = (): void => undefined;
  const { sequence, names } = begun(20, () => new Promise((resolve) => (look = resolve)));
  const triggered = sequence.trigger("1");
  await assert.rejects(sequence.trigger("2"), refused("BUSY"));
  await until(() => sequence.state.state === "done");
  look();
  await triggered;
  assert.deepEqual(names(), ["ready", "done"]);
  sequence.end();
});
