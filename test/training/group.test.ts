// A group of ranks by itself: what it exchanges, who it takes for a rank, and how the others learn that one has failed.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";

import { SuperSimpleNetError } from "../../lib/index.js";
import type { GroupOptions, NativeGroup } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { failure } from "../datasets/files.js";
import type { Answer, Call } from "./group-child.js";
import { freePort } from "./support.js";

/** A rank in a thread of its own, as the engine computes for one rank at a time in each. */
class Rank {
  readonly worker: Worker;

  constructor(t: TestContext, options: GroupOptions) {
    this.worker = new Worker(path.join(__dirname, "group-child.js"), { workerData: options });
    t.after(() => this.worker.terminate());
  }

  async call(call: Call): Promise<unknown> {
    this.worker.postMessage(call);
    const [answer] = (await once(this.worker, "message")) as [Answer];
    if ("code" in answer) throw new SuperSimpleNetError(answer.code as "RANK_FAILED", answer.message);
    return answer.value;
  }

  join = (): Promise<unknown> => this.call({ method: "join" });
  gather = async (bytes: Uint8Array): Promise<Uint8Array[]> =>
    (await this.call({ method: "gather", bytes })) as Uint8Array[];
}

interface Made {
  rank0: NativeGroup;
  others: Rank[];
  options: GroupOptions;
}

/** Rank 0 in this thread, the others that have come in theirs. */
async function made(
  t: TestContext,
  worldSize: number,
  others: number[],
  more: Partial<GroupOptions> = {},
): Promise<Made> {
  const options: GroupOptions = {
    rank: 0,
    worldSize,
    masterAddress: "127.0.0.1",
    masterPort: await freePort(),
    launcherStore: false,
    prefix: "test",
    timeoutSeconds: 20,
    joinTimeoutSeconds: 20,
    ...more,
  };
  const rank0 = engine().createGroup(options);
  const come = others.map((rank) => new Rank(t, { ...options, rank }));
  t.after(() => rank0.leave()); // when the others have been ended: it would wait for them
  return { rank0, others: come, options };
}

async function joined(t: TestContext, worldSize: number, more: Partial<GroupOptions> = {}): Promise<Made> {
  const group = await made(
    t,
    worldSize,
    Array.from({ length: worldSize - 1 }, (_, i) => i + 1),
    more,
  );
  await Promise.all([group.rank0.join(), ...group.others.map((rank) => rank.join())]);
  return group;
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

async function assertWorks({ rank0, others }: Made): Promise<void> {
  const parts = await Promise.all([
    rank0.gather(Buffer.from("0")),
    ...others.map((rank, i) => rank.gather(Buffer.from(`${i + 1}`))),
  ]);
  for (const part of parts) assert.deepEqual(part.map(text), [..."0123"].slice(0, others.length + 1));
}

for (const masterAddress of ["127.0.0.1", "::1"]) {
  const absent = !Object.values(os.networkInterfaces()).some((addresses) =>
    addresses!.some(({ address }) => address === masterAddress),
  );
  test(
    `every rank gets what all gave, of any size, at ${masterAddress}`,
    { skip: absent && "no such address" },
    async (t) => {
      const { rank0, others } = await joined(t, 3, { masterAddress });
      const given = [Buffer.from("few"), Buffer.alloc(0), Buffer.alloc(4 * 2 ** 20 + 5, "many")];
      const all = await Promise.all([
        rank0.gather(given[0]!),
        others[0]!.gather(given[1]!),
        others[1]!.gather(given[2]!),
      ]);
      for (const parts of all) parts.forEach((part, r) => assert.ok(given[r]!.equals(part)));
    },
  );
}

/** The ports at which this process listens. */
function listening(): number[] {
  const inodes = new Set<string>();
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? "");
    } catch {
      // the folder's own descriptor
    }
  }
  return ["tcp", "tcp6"].flatMap((table) =>
    readFileSync(`/proc/self/net/${table}`, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === "0A" && inodes.has(fields[9]!))
      .map((fields) => parseInt(fields[1]!.split(":")[1]!, 16)),
  );
}

test(
  "strangers at the ranks' ports hurt nobody",
  { skip: process.platform !== "linux" && "reads /proc" },
  async (t) => {
    const group = await joined(t, 2);
    const ports = listening();
    assert.ok(ports.includes(group.options.masterPort) && ports.length > 1, String(ports));
    for (const port of ports)
      for (const bytes of [Buffer.alloc(0), Buffer.from("GET / HTTP/1.1\r\n\r\n"), Buffer.alloc(2 ** 16, 0xff)]) {
        const stranger = connect(port, "127.0.0.1");
        stranger.on("error", () => undefined);
        await once(stranger, "connect");
        stranger.write(bytes);
        await sleep(20);
        await assertWorks(group);
        stranger.destroy();
      }
    await sleep(200);
    await assertWorks(group);
  },
);

test("a rank that expects another number of ranks: both learn it", async (t) => {
  const { rank0, options } = await made(t, 2, []);
  const stranger = new Rank(t, { ...options, rank: 2, worldSize: 3 });
  const expected = failure("RANKS_DIFFER", "rank 2 expects 3 ranks, rank 0 expects 2");
  await Promise.all([assert.rejects(rank0.join(), expected), assert.rejects(stranger.join(), expected)]);
});

test("a rank that fails while others are still awaited: those that have come learn it at once", async (t) => {
  for (const fails of [0, 1]) {
    const { rank0, others } = await made(t, 3, [1]);
    const joins = [rank0.join(), others[0]!.join()];
    joins.forEach((join) => join.catch(() => undefined));
    await sleep(1000); // both wait
    const begun = performance.now();
    if (fails === 0) rank0.fail("ABORTED", "on purpose");
    else others[0]!.worker.postMessage({ method: "fail", code: "ABORTED", message: "on purpose" } satisfies Call);
    await assert.rejects(joins[fails]!, failure("ABORTED", "on purpose")).catch(() => undefined);
    await assert.rejects(
      joins[1 - fails]!,
      failure("RANK_FAILED", `rank ${fails} (127.0.0.1) has stopped: [ABORTED] on purpose`),
    );
    assert.ok(performance.now() - begun < 2000);
    await rank0.leave();
  }
});

test("a rank that fails while its engine waits for another", async (t) => {
  const { rank0, others } = await joined(t, 3);
  const waiting = rank0.gather(Buffer.from("for rank 2"));
  waiting.catch(() => undefined);
  const other = others[0]!.gather(Buffer.from("for rank 2"));
  other.catch(() => undefined);
  await sleep(300);
  const begun = performance.now();
  rank0.fail("ABORTED", "on purpose");
  await assert.rejects(waiting, failure("ABORTED", "on purpose"));
  const heard = failure("RANK_FAILED", "rank 0 (127.0.0.1) has stopped: [ABORTED] on purpose");
  await assert.rejects(other, heard);
  await assert.rejects(others[1]!.gather(Buffer.from("too late")), heard);
  await rank0.leave();
  assert.ok(performance.now() - begun < 3000);
});

test("a thread that is terminated while it waits: the other rank learns it, and this process goes on", async (t) => {
  const { rank0, others } = await joined(t, 3);
  others[0]!.gather(Buffer.from("in vain")).catch(() => undefined);
  await sleep(300);
  await others[0]!.worker.terminate();
  const ended = failure("RANK_FAILED", "rank 1 (127.0.0.1) has ended");
  await assert.rejects(rank0.gather(Buffer.alloc(0)), ended);
  await assert.rejects(others[1]!.gather(Buffer.alloc(0)), ended);
  await rank0.leave();
  await assertWorks(await joined(t, 2));
});
