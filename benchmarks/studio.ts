// The studio with many images: how long an import takes, and how soon its page can be used.
//   node dist/benchmarks/studio.js [--import N] [--page N] [--scroll N] [--out FILE]
// Import: BMP files of one size, four requests at a time as the page sends them, while another page listens and reads the
// project whenever it has changed. Page: from the start of the navigation to the first picture that the grid shows, and to
// the first key that is answered, in Chromium with an empty cache; small pictures are there, as from the second visit on.
// Scroll: tasks of more than 50 ms, memory of the page's script and tiles in its document, from the first image to the
// last in 120 steps of the wheel, once to make the small pictures and then three times.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { chromium } from "playwright-core";

import { studioOptions } from "../lib/schema/studio.js";
import { startStudio, type Studio } from "../lib/studio/server.js";
import { machine, spread } from "./measure.js";

/** A BMP whose pixels tell it from the others. */
function bitmap(seed: number, side = 128): Buffer {
  const bytes = Buffer.alloc(54 + side * side * 3, (seed * 37) % 256);
  bytes.write("BM");
  for (const [at, value] of [
    [2, bytes.length],
    [6, 0],
    [10, 54],
    [14, 40],
    [18, side],
    [22, side],
    [30, 0],
    [34, side * side * 3],
    [38, 2835],
    [42, 2835],
    [46, 0],
    [50, 0],
  ] as const)
    bytes.writeUInt32LE(value, at);
  bytes.writeUInt16LE(1, 26);
  bytes.writeUInt16LE(24, 28);
  bytes.writeUInt32LE(seed, 54);
  return bytes;
}

const open = (folder: string): Promise<Studio> =>
  startStudio(folder, studioOptions.parse({ port: 0, withoutBrowser: true, device: "cpu", threads: 1 }));

/** Reads the project at every event of it, as a page does. Resolves to the number of readings when it is ended. */
function listener(url: string): () => Promise<number> {
  const controller = new AbortController();
  let readings = 0;
  const listen = async (): Promise<void> => {
    const { body } = await fetch(`${url}/api/v1/events`, { signal: controller.signal });
    let reading: Promise<unknown> | undefined;
    for await (const part of body!.pipeThrough(new TextDecoderStream()))
      for (const _ of part.matchAll(/"event":"project"/g)) {
        readings++;
        reading ??= fetch(`${url}/api/v1/project`).then((answer) => answer.json());
        await reading;
        reading = undefined;
      }
  };
  const ended = listen().catch(() => undefined);
  return async () => {
    controller.abort();
    await ended;
    return readings;
  };
}

async function measureImport(folder: string, count: number) {
  const studio = await open(folder);
  const end = listener(studio.url);
  const times: number[] = [];
  let next = 0;
  const start = performance.now();
  const send = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const before = performance.now();
      const answer = await fetch(`${studio.url}/api/v1/images?name=part${i}.bmp`, {
        method: "POST",
        body: new Uint8Array(bitmap(i)),
        headers: { "content-type": "application/octet-stream" },
      });
      if (!answer.ok) throw new Error(await answer.text());
      times.push(performance.now() - before);
    }
  };
  await Promise.all([send(), send(), send(), send()]);
  const seconds = (performance.now() - start) / 1000;
  const readings = await end();
  await studio.close();
  return { images: count, seconds, msPerImage: (1000 * seconds) / count, request: spread(times), readings };
}

const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = process.env["SUPERSIMPLENET_CHROMIUM"] ?? known.find((file) => existsSync(file));

/** A studio with so many images of good parts. */
function withImages(folder: string, count: number): Promise<Studio> {
  const place = path.join(folder, "data", "train", "good");
  mkdirSync(place, { recursive: true });
  for (let i = 0; i < count; i++) writeFileSync(path.join(place, `${i}.bmp`), bitmap(i));
  return open(folder);
}

async function measureScroll(folder: string, count: number) {
  if (executablePath === undefined) return undefined;
  const studio = await withImages(folder, count);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(studio.url);
  await page.locator(".tile img").first().waitFor();
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const state = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    const heap = metrics.find(({ name }) => name === "JSHeapUsedSize")!.value;
    return { scriptMiB: Number((heap / 2 ** 20).toFixed(1)), tiles: await page.locator(".tile").count() };
  };
  const before = await state();
  const runs: { longTasks: number; longestMs: number }[] = [];
  for (let run = -1; run < 3; run++) {
    await page.evaluate(`
      globalThis.tasks = [];
      globalThis.observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)));
      observer.observe({ type: "longtask" });`);
    await page.mouse.move(640, 600);
    const height = Number(await page.evaluate("document.querySelector('.grid').scrollHeight"));
    for (let step = 0; step < 120; step++) {
      await page.mouse.wheel(0, ((run % 2 === 0 ? 1 : -1) * height) / 120);
      await page.waitForTimeout(50);
    }
    const tasks = (await page.evaluate("observer.disconnect(), tasks")) as number[];
    if (run >= 0) runs.push({ longTasks: tasks.length, longestMs: Math.round(Math.max(0, ...tasks)) });
  }
  const after = await state();
  await browser.close();
  await studio.close();
  return { images: count, runs, before, after };
}

async function measurePage(folder: string, count: number) {
  if (executablePath === undefined) return undefined;
  const studio = await withImages(folder, count);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const shown: number[] = [];
  const answered: number[] = [];
  for (let i = -1; i < 10; i++) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    // Marks of the page itself: when the first picture is there, and when a key has moved the selection.
    await page.addInitScript(`
      const found = (what) => new Promise((resolve) => {
        const look = () => { const one = what(); one ? resolve(one) : requestAnimationFrame(look); };
        look();
      });
      globalThis.used = found(() => [...document.querySelectorAll(".tile img")].some((image) => image.complete && image.naturalWidth > 0))
        .then(async () => {
          performance.mark("shown");
          document.querySelector(".grid").dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
          await found(() => document.querySelector(".tile.active"));
          performance.mark("answered");
        });`);
    await page.goto(studio.url);
    const marks = (await page.evaluate(
      `used.then(() => ["shown", "answered"].map((name) => performance.getEntriesByName(name)[0].startTime))`,
    )) as [number, number];
    await page.close();
    if (i < 0) continue; // it makes the small pictures
    shown.push(marks[0]);
    answered.push(marks[1]);
  }
  await browser.close();
  await studio.close();
  return { images: count, shown: spread(shown), answered: spread(answered) };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      import: { type: "string", default: "1200" },
      page: { type: "string", default: "500" },
      scroll: { type: "string", default: "5000" },
      out: { type: "string" },
    },
  });
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-studio-"));
  try {
    const result = {
      import: await measureImport(path.join(folder, "import"), Number(values.import)),
      page: await measurePage(path.join(folder, "page"), Number(values.page)),
      scroll: await measureScroll(path.join(folder, "scroll"), Number(values.scroll)),
      machine: machine(1),
    };
    console.log(JSON.stringify(result, null, 2));
    if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
