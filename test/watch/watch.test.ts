import assert from "node:assert/strict";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { before, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import sharp from "sharp";

import {
  datasets,
  Detector,
  type Output,
  openOutputs,
  type Result,
  SuperSimpleNetError,
  watchFolder,
  type WatchOptions,
} from "../../lib/index.js";
import { openKeeper } from "../../lib/outputs/keep.js";
import { Journal } from "../../lib/watch/journal.js";
import { Arrivals } from "../../lib/watch/arrivals.js";
import { type RemovalOptions, removeImages } from "../../lib/watch/images.js";
import { failure, temporaryFolder, writeImage } from "../datasets/files.js";
import { resultOf } from "../outputs/support.js";
import { until } from "../support/until.js";
import { scratchFolder, smallDataset, tinier, train } from "../training/support.js";
import { drop, rowsIn } from "./kill.js";

const limit = { timeout: 60_000 };
const scratch = scratchFolder();
let detector: Detector;
before(async () => {
  detector = await Detector.load(await train(await smallDataset(scratch), tinier), { threads: 1 });
});

const noTrouble = { failed: () => undefined, works: () => undefined };

interface Running {
  folder: string;
  results: Result[];
  unreadable: string[];
  troubles: unknown[];
  stop(): Promise<void>;
}

/** Watches until it is stopped. */
async function start(t: TestContext, folder: string, options: WatchOptions = {}): Promise<Running> {
  const controller = new AbortController();
  const running = { folder, results: [] as Result[], unreadable: [] as string[], troubles: [] as unknown[] };
  let ready = (): void => undefined;
  const isReady = new Promise<void>((resolve) => (ready = resolve));
  const watching = watchFolder(detector, folder, {
    settleMs: 20,
    signal: controller.signal,
    onReady: ready,
    onResult: (result) => void running.results.push(result),
    onUnreadable: (_, file) => void running.unreadable.push(path.basename(file)),
    onTrouble: (error) => void running.troubles.push(error),
    ...options,
  });
  const stop = async (): Promise<void> => {
    controller.abort();
    await watching;
  };
  t.after(stop);
  await Promise.race([isReady, watching]);
  return { ...running, stop };
}

const namesOf = (results: readonly Result[]): string[] => results.map((result) => path.basename(result.path!));

for (const pollMs of [undefined, 30])
  test(
    `images that are there, that are renamed into the folder and that grow: each once${pollMs ? ", by polling" : ""}`,
    limit,
    async (t) => {
      const folder = await temporaryFolder(t);
      await drop(folder, "a.png", 10);
      const running = await start(t, folder, { pollMs });
      await until(() => running.results.length === 1);
      await drop(folder, "b.png", 20);
      writeFileSync(path.join(folder, "notes.txt"), "no image");
      writeFileSync(path.join(folder, "x.overlay.png"), "a picture of predict");
      await until(() => running.results.length === 2);
      // A camera that writes slowly: at each piece the image is not yet complete.
      const bytes = readFileSync(path.join(folder, "a.png"));
      for (let at = 0; at < bytes.length; at += 40) {
        appendFileSync(path.join(folder, "c.png"), bytes.subarray(at, at + 40));
        await sleep(8);
      }
      await until(() => running.results.length === 3);
      // The same name again is another image.
      await drop(folder, "b.png", 200);
      await until(() => running.results.length === 4);
      await sleep(150);
      await running.stop();
      assert.deepEqual(namesOf(running.results), ["a.png", "b.png", "c.png", "b.png"]);
      assert.deepEqual(running.troubles, []);
      assert.deepEqual(running.unreadable, []);

      const again = await start(t, folder, { pollMs });
      await drop(folder, "d.png", 30);
      await until(() => again.results.length > 0);
      await again.stop();
      assert.deepEqual(namesOf(again.results), ["d.png"]);
    },
  );

test(
  "an image that ends as its format ends is taken at once, whatever the settling time; others are not",
  limit,
  async (t) => {
    const folder = await temporaryFolder(t);
    const running = await start(t, folder, { settleMs: 600_000 });
    await writeImage(path.join(folder, "a.jpg"));
    await until(() => running.results.length === 1);
    // As it is copied over a network: first its size, then its content.
    const whole = await sharp(path.join(folder, "a.jpg")).png().toBuffer();
    const cut = Buffer.from(whole);
    cut.fill(0, cut.length - 12);
    writeFileSync(path.join(folder, "b.png"), cut);
    writeFileSync(path.join(folder, "c.png"), whole.subarray(0, -1));
    writeFileSync(path.join(folder, "d.bmp"), Buffer.concat([Buffer.from("BM"), Buffer.alloc(1000)]));
    await drop(folder, "e.png", 10);
    await until(() => running.results.length === 2);
    writeFileSync(path.join(folder, "b.png"), whole);
    await until(() => running.results.length === 3);
    await sleep(100);
    await running.stop();
    assert.deepEqual(namesOf(running.results), ["a.jpg", "e.png", "b.png"]);
  },
);

test("recorded images are moved by verdict, unreadable ones too, without writing over another", limit, async (t) => {
  const folder = await temporaryFolder(t);
  const moveTo = path.join(folder, "judged");
  const outputs = await openOutputs([`csv:${path.join(folder, "csv")}`]);
  const running = await start(t, folder, { moveTo, outputs });
  await drop(folder, "a.png", 10);
  await until(() => running.results.length === 1);
  await until(() => !existsSync(path.join(folder, "a.png")));
  await drop(folder, "a.png", 11);
  await until(() => running.results.length === 2 && !existsSync(path.join(folder, "a.png")));
  writeFileSync(path.join(folder, "bad.png"), "no image at all");
  await until(() => running.unreadable.length === 1);
  await until(() => existsSync(path.join(moveTo, "unreadable", "bad.png")));
  await running.stop();
  await outputs.close();
  const { verdict } = running.results[0]!;
  assert.equal(running.results[1]!.verdict, verdict);
  assert.deepEqual(readdirSync(path.join(moveTo, verdict)).sort(), ["a-2.png", "a.png"]);
  assert.equal(rowsIn(path.join(folder, "csv")).length, 2);
});

test(
  "an image whose record was cut off is judged again and marked; one that was only to be moved is moved",
  limit,
  async (t) => {
    const folder = await temporaryFolder(t);
    const moveTo = path.join(folder, "judged");
    for (const name of ["a.png", "b.png", "c.png"]) await drop(folder, name, 10);
    const arrival = (name: string) => {
      const { size, mtimeMs } = statSync(path.join(folder, name));
      return { name, size, mtimeMs };
    };
    const file = path.join(folder, ".supersimplenet", "watch", "journal.jsonl");
    const journal = await Journal.open(file, folder, { keepMoved: false, watcher: noTrouble });
    await journal.note("started", arrival("a.png"));
    await journal.note("started", arrival("b.png"));
    await journal.note("done", arrival("b.png"), { verdict: "good" });
    await journal.close();
    appendFileSync(file, '{"key":"c.png');
    const running = await start(t, folder, { moveTo });
    await until(() => running.results.length === 2);
    await running.stop();
    const found = new Map(running.results.map((result) => [path.basename(result.path!), result.repeated]));
    assert.deepEqual([...found].sort(), [
      ["a.png", true],
      ["c.png", undefined],
    ]);
    assert.ok(existsSync(path.join(moveTo, "good", "b.png")));
  },
);

test(
  "an output that gives a result up: the image stays, and is judged again after the next start",
  limit,
  async (t) => {
    const folder = await temporaryFolder(t);
    const moveTo = path.join(folder, "judged");
    await drop(folder, "a.png", 10);
    const outputs: Output = { write: () => Promise.resolve(false), status: () => [], close: () => Promise.resolve() };
    const running = await start(t, folder, { moveTo, outputs });
    await until(() => running.results.length === 1);
    await sleep(100);
    await running.stop();
    assert.equal(running.results.length, 1);
    assert.ok(existsSync(path.join(folder, "a.png")));
    const again = await start(t, folder, { moveTo });
    await until(() => again.results.length === 1);
    await again.stop();
    assert.equal(again.results[0]!.repeated, true);
  },
);

test(
  "an output that does not answer does not stop detection, and the journal follows when it does",
  limit,
  async (t) => {
    const folder = await temporaryFolder(t);
    const waiting: ((kept: boolean) => void)[] = [];
    const outputs: Output = {
      write: () => new Promise((resolve) => waiting.push(resolve)),
      status: () => [],
      close: () => Promise.resolve(),
    };
    const running = await start(t, folder, { outputs });
    for (let i = 0; i < 6; i++) await drop(folder, `${i}.png`, i);
    await until(() => running.results.length === 6);
    for (const resolve of waiting) resolve(true);
    await running.stop();
    const again = await start(t, folder);
    await drop(folder, "last.png", 7);
    await until(() => again.results.length === 1);
    await again.stop();
    assert.deepEqual(namesOf(again.results), ["last.png"]);
  },
);

test("only recorded images are removed, the oldest first, and none that has changed", limit, async (t) => {
  const folder = await temporaryFolder(t);
  for (const name of ["old.png", "new.png", "changed.png", "unread.png", "unknown.png", "started.png"])
    await writeImage(path.join(folder, name));
  const journal = await Journal.open(path.join(folder, "journal"), folder, { keepMoved: true, watcher: noTrouble });
  const note = async (event: "done" | "unreadable" | "started", name: string, days: number): Promise<void> => {
    const { size, mtimeMs } = statSync(path.join(folder, name));
    await journal.note(
      event,
      { name, size, mtimeMs },
      { time: new Date(Date.now() - days * 86_400_000).toISOString() },
    );
  };
  mkdirSync(path.join(folder, "stuck.png")); // what cannot be removed does not stay in the way
  await note("done", "stuck.png", 4);
  await note("done", "old.png", 3);
  await note("done", "new.png", 1);
  await note("done", "changed.png", 3);
  await note("unreadable", "unread.png", 3);
  await note("started", "started.png", 3);
  utimesSync(path.join(folder, "changed.png"), 1, 1);
  const failures: unknown[] = [];
  const remove = (options: RemovalOptions) => removeImages(journal, options, (error) => failures.push(error));
  assert.equal(await remove({ removeAfterDays: 2 }), 1);
  assert.equal(failures.length, 1);
  const left = (): string[] =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".png"))
      .sort();
  assert.deepEqual(left(), ["changed.png", "new.png", "started.png", "stuck.png", "unknown.png", "unread.png"]);
  assert.equal(await remove({ minFreeMiB: 1 }), 0);
  assert.equal(await remove({ minFreeMiB: 2 ** 30 }), 1);
  assert.deepEqual(left(), ["changed.png", "started.png", "stuck.png", "unknown.png", "unread.png"]);
  await journal.close();
});

test(
  "the journal is written anew without the images that are gone, and what comes meanwhile stays",
  limit,
  async (t) => {
    const folder = await temporaryFolder(t);
    const file = path.join(folder, "journal");
    const open = () => Journal.open(file, folder, { keepMoved: false, watcher: noTrouble });
    const journal = await open();
    const gone = Array.from({ length: 100 }, (_, i) => ({ name: `gone-${i}.png`, size: 1, mtimeMs: i }));
    await Promise.all(gone.map((arrival) => journal.note("done", arrival)));
    await writeImage(path.join(folder, "here.png"));
    const { size, mtimeMs } = statSync(path.join(folder, "here.png"));
    const here = { name: "here.png", size, mtimeMs };
    await journal.note("started", here);
    const compacting = journal.compact(0);
    const noted = journal.note("done", here);
    await Promise.all([compacting, noted]);
    await journal.close();
    assert.equal(readFileSync(file, "utf8").trimEnd().split("\n").length, 2, "its head, and what became of here.png");
    const again = await open();
    assert.ok(again.isDone(here));
    await again.close();
  },
);

test("a second watch of the folder, a folder that is none, a broken journal", limit, async (t) => {
  const folder = await temporaryFolder(t);
  const running = await start(t, folder);
  await assert.rejects(watchFolder(detector, folder), failure("FILE_ERROR", "in use"));
  await running.stop();
  await assert.rejects(watchFolder(detector, path.join(folder, "none")), failure("FILE_NOT_FOUND", "none"));
  await assert.rejects(watchFolder(detector, folder, { moveTo: folder }), failure("INVALID_OPTION", "moveTo"));
  writeFileSync(path.join(folder, ".supersimplenet", "watch", "journal.jsonl"), "nonsense\n");
  await assert.rejects(watchFolder(detector, folder), failure("FILE_CORRUPT", "nonsense"));
});

test("a folder that goes away is told of once, and watched again when it is back", limit, async (t) => {
  const root = await temporaryFolder(t);
  const folder = path.join(root, "in");
  mkdirSync(folder);
  const running = await start(t, folder, { pollMs: 20, stateDir: path.join(root, "state") });
  renameSync(folder, path.join(root, "away"));
  await until(() => running.troubles.length > 0);
  await drop(path.join(root, "away"), "a.png", 10);
  renameSync(path.join(root, "away"), folder);
  await until(() => running.results.length === 1);
  await running.stop();
  assert.equal(running.troubles.length, 1);
  rmSync(folder, { recursive: true });
});

test(
  "a share that is away at the start, or while the journal is written anew, keeps what it was known for",
  limit,
  async (t) => {
    const root = await temporaryFolder(t);
    const [folder, away] = [path.join(root, "in"), path.join(root, "away")];
    const options = { stateDir: path.join(root, "state"), pollMs: 20 };
    mkdirSync(folder);
    await drop(folder, "a.png", 10);
    const running = await start(t, folder, options);
    await until(() => running.results.length === 1);
    await running.stop();
    // As a mount point is: empty.
    renameSync(folder, away);
    mkdirSync(folder);
    const without = await start(t, folder, options);
    await drop(folder, "b.png", 20);
    await until(() => without.results.length === 1);
    rmSync(folder, { recursive: true });
    renameSync(away, folder);
    await drop(folder, "c.png", 30);
    await until(() => without.results.length === 2);
    await without.stop();
    assert.deepEqual(namesOf(without.results), ["b.png", "c.png"]);
  },
);

test("entries are dropped where the folder is the one that they were in, and only there", limit, async (t) => {
  const root = await temporaryFolder(t);
  const [folder, file] = [path.join(root, "in"), path.join(root, "journal")];
  mkdirSync(folder);
  await drop(folder, "a.png", 10);
  const { size, mtimeMs } = statSync(path.join(folder, "a.png"));
  const arrival = { name: "a.png", size, mtimeMs };
  const open = () => Journal.open(file, folder, { keepMoved: false, watcher: noTrouble });
  const journal = await open();
  await journal.note("done", arrival);
  renameSync(folder, path.join(root, "away"));
  await journal.compact(0);
  assert.ok(journal.isDone(arrival), "the folder is not there");
  await journal.close();
  mkdirSync(folder);
  const other = await open();
  assert.ok(other.isDone(arrival), "another folder is there");
  await other.close();
  rmSync(folder, { recursive: true });
  renameSync(path.join(root, "away"), folder);
  rmSync(path.join(folder, "a.png"));
  const emptied = await open();
  assert.ok(!emptied.isDone(arrival), "somebody took the image away");
  await emptied.close();
});

test(
  "a share that is mounted anew is known by what it still has; what went is dropped at the second look",
  limit,
  async (t) => {
    const root = await temporaryFolder(t);
    const [folder, file] = [path.join(root, "in"), path.join(root, "journal")];
    const arrivalOf = (name: string) => {
      utimesSync(path.join(folder, name), 1e9, 1e9);
      return { name, size: statSync(path.join(folder, name)).size, mtimeMs: 1e12 };
    };
    const open = () => Journal.open(file, folder, { keepMoved: false, watcher: noTrouble });
    const done = async (name: string) => {
      await drop(folder, name, 10);
      const journal = await open();
      const arrival = arrivalOf(name);
      await journal.note("done", arrival);
      await journal.close();
      return arrival;
    };
    const known = async (...arrivals: Awaited<ReturnType<typeof done>>[]): Promise<boolean[]> => {
      const journal = await open();
      await journal.close();
      return arrivals.map((arrival) => journal.isDone(arrival));
    };
    mkdirSync(folder);
    const [kept, gone] = [await done("kept.png"), await done("gone.png")];

    // Its mount point, first empty, then with an image that came meanwhile: that one tells nothing of the share.
    renameSync(folder, path.join(root, "share"));
    mkdirSync(folder);
    assert.deepEqual(await known(kept, gone), [true, true]);
    const local = await done("local.png");
    for (let look = 0; look < 3; look++) assert.deepEqual(await known(kept, gone, local), [true, true, true]);

    // Another folder for the system, with the same files.
    rmSync(path.join(root, "share", "gone.png"));
    renameSync(folder, path.join(root, "mount-point"));
    cpSync(path.join(root, "share"), folder, { recursive: true, preserveTimestamps: true });
    assert.deepEqual(await known(kept, gone, local), [true, true, true]);
    assert.deepEqual(await known(kept, gone, local), [true, false, true]);
  },
);

test("a state folder that has another folder's journal is refused", limit, async (t) => {
  const root = await temporaryFolder(t);
  const stateDir = path.join(root, "state");
  for (const name of ["one", "two"]) mkdirSync(path.join(root, name));
  await (await start(t, path.join(root, "one"), { stateDir })).stop();
  await assert.rejects(
    watchFolder(detector, path.join(root, "two"), { stateDir }),
    failure("FILE_ERROR", "another folder"),
  );
  await (await start(t, path.join(root, "one"), { stateDir })).stop();
});

test(
  "a name that the camera uses again before the record is done: the new image is judged, then moved",
  limit,
  async (t) => {
    const folder = await temporaryFolder(t);
    const moveTo = path.join(folder, "judged");
    const held: ((kept: boolean) => void)[] = [];
    const outputs: Output = {
      write: () => new Promise((resolve) => held.push(resolve)),
      status: () => [],
      close: () => Promise.resolve(),
    };
    await drop(folder, "a.png", 10);
    const keepDir = path.join(folder, "kept");
    const keeper = await openKeeper({ keep: ["good", "unsure", "defect"], keepDir });
    const running = await start(t, folder, { moveTo, outputs, keeper, settleMs: 300 });
    await until(() => held.length === 1);
    await drop(folder, "a.png", 200);
    held[0]!(true);
    await sleep(100);
    assert.ok(existsSync(path.join(folder, "a.png")), "it was not judged yet");
    await until(() => held.length === 2);
    held[1]!(true);
    await until(() => !existsSync(path.join(folder, "a.png")));
    await running.stop();
    await keeper!.close();
    assert.equal(running.results.length, 2);
    assert.equal(keeper!.status().kept, 1, "never the new image by the old one's verdict");
  },
);

/** From now on nothing can be written into the folder. */
function block(folder: string): void {
  rmSync(folder, { recursive: true });
  writeFileSync(folder, "");
}

test(
  "while the journal cannot be written, unreadable images do not stop the others, and the watch ends",
  limit,
  async (t) => {
    const root = await temporaryFolder(t);
    const [folder, stateDir] = [path.join(root, "in"), path.join(root, "state")];
    mkdirSync(folder);
    await drop(folder, "a.png", 10);
    const options = { stateDir, moveTo: path.join(root, "judged"), removeAfterDays: 1e-6 };
    const running = await start(t, folder, options);
    await until(() => running.results.length === 1);
    block(path.join(stateDir, "watch"));
    writeFileSync(path.join(folder, "bad.png"), "no image at all");
    await until(() => running.unreadable.length === 1);
    await drop(folder, "b.png", 20);
    await until(() => running.results.length === 2);
    await running.stop();
  },
);

test("the journal is written anew while images come, also where they stay", limit, async (t) => {
  const { compact } = Journal.prototype;
  t.mock.method(Journal.prototype, "compact", function (this: Journal) {
    return compact.call(this, 3);
  });
  const root = await temporaryFolder(t);
  const [folder, stateDir] = [path.join(root, "in"), path.join(root, "state")];
  mkdirSync(folder);
  const running = await start(t, folder, { stateDir });
  for (let i = 0; i < 8; i++) {
    await drop(folder, `${i}.png`, i);
    await until(() => running.results.length === i + 1);
    await sleep(30); // its record
    rmSync(path.join(folder, `${i}.png`));
  }
  await running.stop();
  const lines = readFileSync(path.join(stateDir, "watch", "journal.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  assert.ok(lines.length < 10, `${lines.length} lines of 8 images that are gone`);
});

test("a journal that is taken away while it is written is one again", limit, async (t) => {
  const root = await temporaryFolder(t);
  const [folder, stateDir] = [path.join(root, "in"), path.join(root, "state")];
  mkdirSync(folder);
  const running = await start(t, folder, { stateDir });
  rmSync(path.join(stateDir, "watch", "journal.jsonl"));
  await drop(folder, "a.png", 10);
  await until(() => running.results.length === 1);
  await running.stop();
  const again = await start(t, folder, { stateDir });
  await drop(folder, "b.png", 20);
  await until(() => again.results.length === 1);
  await again.stop();
  assert.deepEqual(namesOf(again.results), ["b.png"]);
});

test("a folder in the place of another one is watched without polling", limit, async (t) => {
  const root = await temporaryFolder(t);
  const folder = path.join(root, "in");
  mkdirSync(folder);
  const arrivals = new Arrivals(folder, {
    settleMs: 20,
    pollMs: undefined,
    isKnown: () => false,
    onTrouble: () => undefined,
  });
  const end = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { name, early } of arrivals.watch(end.signal)) seen.push(early ? `${name} (early)` : name);
  })();
  await drop(folder, "a.png", 10);
  await until(() => seen.length === 1);
  renameSync(folder, path.join(root, "away"));
  // Nobody can be told what is in it.
  let asked = false;
  const looked = arrivals.lookAround().then(() => (asked = true));
  await sleep(100);
  assert.equal(asked, false);
  mkdirSync(folder);
  await drop(folder, "b.png", 20);
  await looked;
  await until(() => seen.length === 2);
  await drop(folder, "c.png", 30);
  await until(() => seen.length === 3);
  end.abort();
  await reading;
  assert.deepEqual(seen, ["a.png", "b.png (early)", "c.png"]);
  await arrivals.lookAround();
});

test("an image that comes once somebody has asked goes before those that wait", limit, async (t) => {
  const folder = await temporaryFolder(t);
  for (let i = 0; i < 5; i++) await drop(folder, `old-${i}.png`, i);
  const taken = new Set<string>();
  const arrivals = new Arrivals(folder, {
    settleMs: 20,
    pollMs: undefined,
    isKnown: ({ name }) => taken.has(name),
    onTrouble: () => undefined,
  });
  const end = new AbortController();
  const reading = arrivals.watch(end.signal);
  assert.equal((await reading.next()).value!.name, "old-0.png");
  taken.add("old-0.png");
  const looked = arrivals.lookAround();
  const second = (await reading.next()).value!;
  await looked;
  await drop(folder, "new.png", 50);
  await sleep(50); // the system tells
  const third = (await reading.next()).value!;
  end.abort();
  await reading.next();
  assert.deepEqual([second.name, second.early, third.name, third.early], ["old-1.png", true, "new.png", false]);
});

/** A detector that fails at the first image. */
const failing = (error: Error): Detector =>
  ({
    model: detector.model,
    async *detectEach(images: AsyncIterable<unknown>) {
      for await (const _ of images) throw error;
    },
  }) as unknown as Detector;

test("an error that is not about one image, and a callback that throws, end the watch", limit, async (t) => {
  const folder = await temporaryFolder(t);
  await drop(folder, "a.png", 10);
  const broken = new SuperSimpleNetError("MODEL_INVALID", "this model's weights overflow");
  await assert.rejects(watchFolder(failing(broken), folder, { settleMs: 20 }), failure("MODEL_INVALID", "overflow"));
  const onResult = (): never => {
    throw new RangeError("a fault of the caller");
  };
  await assert.rejects(watchFolder(detector, folder, { settleMs: 20, onResult }), /a fault of the caller/);
  const onTrouble = (): never => {
    throw new RangeError("told");
  };
  const keeper = {
    offer: () => Promise.reject(new Error("no room")),
    status: () => ({ kept: 0, full: false }),
    close: () => Promise.resolve(),
  };
  await assert.rejects(watchFolder(detector, folder, { settleMs: 20, onTrouble, keeper }), /told/);
});

test("kept images are a data set, with their results in a list, up to a size", limit, async (t) => {
  const root = await temporaryFolder(t);
  const keepDir = path.join(root, "kept");
  const keeper = (await openKeeper({ keep: ["unsure", "defect", "near:0.5", "random:0"], keepDir, keepMiB: 1 }))!;
  const offer = async (name: string, changes: Partial<Result>): Promise<boolean> => {
    const file = path.join(root, name);
    await drop(root, name, name.charCodeAt(0));
    return keeper.offer(resultOf(file, { margin: -3, ...changes }), file);
  };
  assert.equal(await offer("good.png", { verdict: "good" }), false);
  assert.equal(await offer("near.png", { verdict: "good", margin: -0.4 }), true);
  assert.equal(await offer("bad.png", { verdict: "defect" }), true);
  assert.equal(await offer("between.png", { verdict: "unsure" }), true);
  const big = Buffer.alloc(2 ** 20);
  assert.equal(await keeper.offer(resultOf("x", { verdict: "defect" }), big), false);
  assert.deepEqual(keeper.status(), { kept: 3, full: true });
  await keeper.close();
  const { samples } = await datasets.folder(keepDir);
  assert.deepEqual(
    samples.map(({ label, split }) => [label, split]),
    [
      ["anomalous", "train"],
      ["normal", "train"],
    ],
  );
  const list = readFileSync(path.join(keepDir, "kept.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { file: string; because: string[]; score: number });
  assert.deepEqual(
    list.map(({ because }) => because),
    [["near:0.5"], ["defect"], ["unsure"]],
  );
  for (const { file, score } of list) assert.ok(existsSync(path.join(keepDir, file)) && score === 0.75);
  await assert.rejects(openKeeper({ keep: ["sometimes"], keepDir }), failure("INVALID_OPTION", "keep"));
  await assert.rejects(openKeeper({ keep: ["defect"] }), failure("INVALID_OPTION", "keepDir"));
});
