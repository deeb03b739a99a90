import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, test } from "node:test";

import { applyThreads } from "../../lib/native/device.js";
import { failure } from "../datasets/files.js";

const variable = "SUPERSIMPLENET_THREADS";
const before = process.env[variable];
after(() => {
  if (before === undefined) delete process.env[variable];
  else process.env[variable] = before;
});

test("the default is set once; later only the option changes the threads", async () => {
  process.env[variable] = "two";
  await assert.rejects(applyThreads("test", undefined), failure("INVALID_OPTION", variable));
  process.env[variable] = "1";
  assert.equal(await applyThreads("test", undefined), 1);
  assert.equal(await applyThreads("test", 2), 2);
  assert.equal(
    await applyThreads("test", undefined),
    2,
    "a second user without the option leaves a running training alone",
  );
  await assert.rejects(applyThreads("test", 0), failure("INVALID_OPTION", "threads"));
  assert.equal(await applyThreads("test", undefined), 2);
});

// Large stacks in a limited address space stop threads from being started for every user; a limit of processes is not for root.
test(
  "threads that cannot all be started: how many can be, and the process lives",
  { skip: process.platform !== "linux" && "needs Linux's ulimit" },
  (t) => {
    const script = `
    const { applyThreads } = require(${JSON.stringify(require.resolve("../../lib/native/device.js"))});
    const { engine } = require(${JSON.stringify(require.resolve("../../lib/native/engine.js"))});
    const tried = (threads) => applyThreads("test", threads).then((set) => "set " + (set === threads), (error) => error.code + " " + error.message);
    (async () => {
      console.log(await tried(2));
      const message = await tried(1024);
      console.log(message);
      console.log(await applyThreads("test", undefined));
      console.log(await tried(Math.max(1, Number(/about (\\d+)/.exec(message)[1]) - 16)));
      await engine().randomHeads(384, 0);
      console.log(await tried(1));
    })();`;
    // Not with as many arenas of malloc's as there are threads, which take address space too.
    const limited = (program: string) =>
      spawnSync(
        "sh",
        ["-c", 'ulimit -S -s 65536 && ulimit -S -v 25165824 && exec "$0" -e "$1"', process.execPath, program],
        { encoding: "utf8", env: { ...process.env, MALLOC_ARENA_MAX: "1" } },
      );
    if (limited("").status !== 0) return t.skip("the limits cannot be set here");
    const child = limited(script);
    assert.deepEqual(
      { status: child.status, signal: child.signal, stderr: child.stderr },
      { status: 0, signal: null, stderr: "" },
    );
    const lines = child.stdout.trim().split("\n");
    assert.match(
      lines[1]!,
      /^INVALID_OPTION Only about \d+ threads can be started here, not 1024: .* Set 'threads' or SUPERSIMPLENET_THREADS to less\.$/,
    );
    assert.deepEqual(lines.toSpliced(1, 1), ["set true", "2", "set true", "set true"]);
  },
);
