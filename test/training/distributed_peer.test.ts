// A rank among processes that are not what it expects: the other end of its connections is written here, byte by byte.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readdirSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import os from "node:os";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { NativeGroup } from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { failure } from "../datasets/files.js";

const MiB = 2 ** 20;
const magic = 0x53534e2d72616e6bn;
const data = 0n;
const failed = 2n;

const words = (...values: (bigint | number)[]): Buffer => Buffer.from(BigUint64Array.from(values, BigInt).buffer);
const header = (type: bigint, sequence: number, bytes: number): Buffer => words(magic, type, sequence, bytes);

/** A connection whose bytes wait until they are taken. */
class Wire {
  #received = Buffer.alloc(0);

  private constructor(readonly socket: Socket) {
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => (this.#received = Buffer.concat([this.#received, chunk])));
  }

  static async to(t: TestContext, host: string, port: number): Promise<Wire> {
    const socket = connect(port, host);
    t.after(() => socket.destroy());
    await once(socket, "connect");
    return new Wire(socket);
  }

  async take(bytes: number): Promise<Buffer> {
    while (this.#received.length < bytes) {
      if (this.socket.closed) throw new Error("the connection has ended");
      await sleep(5);
    }
    const taken = this.#received.subarray(0, bytes);
    this.#received = this.#received.subarray(bytes);
    return taken;
  }
}

interface Meeting {
  rank0: NativeGroup;
  joined: Promise<void>;
  /** Calls rank 0. */
  call(): Promise<Wire>;
  token: bigint;
  greeting(rank: number, token: bigint, size: number): Buffer;
  /** Calls as that rank and is answered. */
  meet(rank: number): Promise<Wire>;
}

/** Rank 0 in this process waits for the others; what it has left in the store is read as c10d::TCPStore's clients do. */
async function meeting(t: TestContext, size: number, masterAddress = "127.0.0.1"): Promise<Meeting> {
  const server = createServer();
  await once(server.listen(0, masterAddress), "listening");
  const masterPort = (server.address() as AddressInfo).port;
  await once(server.close(), "close");
  const rank0 = engine().createGroup({
    rank: 0,
    worldSize: size,
    masterAddress,
    masterPort,
    launcherStore: false,
    timeoutSeconds: 20,
    joinTimeoutSeconds: 10,
    prefix: "test",
  });
  const joined = rank0.join();
  joined.catch(() => undefined);
  t.after(() => rank0.leave());

  let store: Wire | undefined;
  while (!store) store = await Wire.to(t, masterAddress, masterPort).catch(() => sleep(20, undefined));
  const key = "/test/rank 0";
  const [validate, get, wait] = [0, 3, 6];
  store.socket.write(
    Buffer.concat([
      Buffer.of(validate, 0xce, 0xf7, 0x85, 0x3c),
      Buffer.of(wait),
      words(1, key.length),
      Buffer.from(key),
    ]),
  );
  await store.take(1);
  store.socket.write(Buffer.concat([Buffer.of(get), words(key.length), Buffer.from(key)]));
  const [host, port, text] = (await store.take(Number((await store.take(8)).readBigUInt64LE()))).toString().split(" ");
  const token = BigInt(text!);

  const call = (): Promise<Wire> => Wire.to(t, host!, Number(port));
  const greeting: Meeting["greeting"] = (rank, token, size) => words(magic, token, rank, size);
  const meet = async (rank: number): Promise<Wire> => {
    const wire = await call();
    wire.socket.write(greeting(rank, token, size));
    assert.deepEqual(await wire.take(32), greeting(0, token, size));
    return wire;
  };
  return { rank0, joined, call, token, greeting, meet };
}

/** Rank 0 of two, and rank 1's end of the connection when both have joined. */
async function pair(t: TestContext, masterAddress?: string): Promise<{ rank0: NativeGroup; rank1: Wire }> {
  const { rank0, joined, meet } = await meeting(t, 2, masterAddress);
  const rank1 = await meet(1);
  rank1.socket.write(header(data, 0, 0));
  await joined;
  assert.deepEqual(await rank1.take(32), header(data, 0, 0));
  return { rank0, rank1 };
}

for (const address of ["127.0.0.1", "::1"]) {
  const absent = !Object.values(os.networkInterfaces()).some((addresses) =>
    addresses!.some((entry) => entry.address === address),
  );
  test(`a message that comes in pieces, at ${address}`, { skip: absent && "no such address" }, async (t) => {
    const { rank0, rank1 } = await pair(t, address);
    const message = Buffer.concat([header(data, 1, 70 * MiB + 5), randomBytes(70 * MiB + 5)]);
    const gathered = rank0.allGather(Buffer.from("mine"));
    for (let at = 0, size = 7; at < message.length; at += size, size *= 3) {
      rank1.socket.write(message.subarray(at, at + size));
      await sleep(5);
    }
    const [mine, theirs] = await gathered;
    assert.equal(Buffer.from(mine!).toString(), "mine");
    assert.ok(message.subarray(32).equals(theirs!));
    assert.deepEqual(await rank1.take(36), Buffer.concat([header(data, 1, 4), Buffer.from("mine")]));
  });
}

test("memory is taken for what has come, not for what is announced", async (t) => {
  const { rank0, rank1 } = await pair(t);
  const gathered = rank0.allGather(Buffer.alloc(0));
  const before = process.memoryUsage().rss;
  rank1.socket.write(Buffer.concat([header(data, 1, 900 * MiB), Buffer.alloc(MiB)]));
  await sleep(1500);
  const taken = (process.memoryUsage().rss - before) / MiB;
  assert.ok(taken < 100, `${taken} MiB`);
  rank1.socket.destroy();
  await assert.rejects(gathered, failure("RANK_FAILED", "rank 1 (127.0.0.1) has ended"));
});

for (const [what, message] of [
  ["more than any rank sends", header(data, 1, 2 ** 31)],
  ["a type that does not exist", header(7n, 1, 0)],
  ["messages that nobody has asked for", Buffer.concat([header(data, 1, 0), header(data, 2, 0), header(data, 3, 0)])],
  ["something else", Buffer.from("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")],
] as const) {
  test(`a rank that sends ${what}`, async (t) => {
    const { rank0, rank1 } = await pair(t);
    rank1.socket.write(message);
    await assert.rejects(rank1.take(Infinity), /has ended/);
    // What came before that still counts.
    const exchanges = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) await rank0.allGather(Buffer.alloc(0));
    };
    await assert.rejects(
      exchanges(),
      failure("RANK_FAILED", "rank 1 (127.0.0.1) sent something that is not understood"),
    );
  });
}

test("strangers, those of another group and those that are there already do not join", async (t) => {
  const { joined, call, token, greeting, meet } = await meeting(t, 3);
  const rank1 = await meet(1);
  for (const bytes of [
    Buffer.from("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    greeting(2, token ^ 1n, 3),
    greeting(1, token, 3),
    greeting(0, token, 3),
    greeting(3, token, 3),
  ]) {
    const stranger = await call();
    stranger.socket.write(bytes);
    await assert.rejects(stranger.take(1), /has ended/);
  }
  const rank2 = await meet(2);
  for (const wire of [rank1, rank2]) wire.socket.write(header(data, 0, 0));
  await joined;
});

test("a rank that expects another number of ranks: both learn it", async (t) => {
  const { joined, call, token, greeting } = await meeting(t, 2);
  const wire = await call();
  wire.socket.write(greeting(2, token, 3));
  assert.deepEqual(await wire.take(32), greeting(0, token, 2));
  await assert.rejects(joined, failure("RANKS_DIFFER", "rank 2 expects 3 ranks, rank 0 expects 2"));
});

test("a rank that fails while others are still awaited: those that have come learn it at once", async (t) => {
  const reason = "[ABORTED] on purpose";
  for (const [fails, expected] of [
    [
      (rank1: Wire) => rank1.socket.write(Buffer.concat([header(failed, 0, reason.length), Buffer.from(reason)])),
      `rank 1 (127.0.0.1) has stopped: ${reason}`,
    ],
    [(rank1: Wire) => rank1.socket.destroy(), "rank 1 (127.0.0.1) has ended"],
  ] as const) {
    const { joined, meet } = await meeting(t, 3);
    fails(await meet(1));
    await assert.rejects(joined, failure("RANK_FAILED", expected));
  }

  const { rank0, joined, meet } = await meeting(t, 3);
  const rank1 = await meet(1);
  rank0.fail("ABORTED", "on purpose");
  assert.deepEqual(
    await rank1.take(32 + reason.length),
    Buffer.concat([header(failed, 0, reason.length), Buffer.from(reason)]),
  );
  await assert.rejects(joined, failure("ABORTED", "on purpose"));
});

test(
  "no descriptor is left for a rank that comes",
  { skip: process.platform !== "linux" && "uses prlimit" },
  async (t) => {
    const { joined, call } = await meeting(t, 2);
    const limit = (descriptors: string): unknown =>
      execFileSync("prlimit", ["--pid", String(process.pid), `--nofile=${descriptors}:`]);
    const before = execFileSync(
      "prlimit",
      ["--pid", String(process.pid), "--nofile", "--output=SOFT", "--noheadings"],
      { encoding: "utf8" },
    ).trim();
    // 64 more than the highest one: prlimit itself needs some to be started, when all that are taken below are closed again.
    limit(String(Math.max(...readdirSync("/proc/self/fd").map(Number)) + 64));
    const taken: number[] = [];
    try {
      assert.throws(() => {
        for (;;) taken.push(openSync("/dev/null", "r"));
      }, /EMFILE/);
      closeSync(taken.pop()!); // for this end
      call().catch(() => undefined); // may be cut off before it has noticed that it was connected
      await assert.rejects(joined, failure("RANK_FAILED", "a rank that calls cannot be answered: Too many open files"));
    } finally {
      taken.forEach((fd) => closeSync(fd));
      limit(before);
    }
  },
);

test(
  "a process that is started meanwhile inherits no connection",
  { skip: process.platform !== "linux" && "reads /proc" },
  async (t) => {
    const inherited = (): string[] =>
      execFileSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).match(
        /(?:[3-9]|\d\d+) -> (?:socket|pipe):.*/g,
      ) ?? [];
    const before = inherited();
    const { joined, meet } = await meeting(t, 2);
    assert.deepEqual(inherited(), before, "while it joins");
    const rank1 = await meet(1);
    assert.deepEqual(inherited(), before, "connected");
    rank1.socket.write(header(data, 0, 0));
    await joined;
  },
);
