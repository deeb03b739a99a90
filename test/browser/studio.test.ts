import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test, type TestContext } from "node:test";

import type { Page } from "playwright-core";
import sharp from "sharp";

import { datasets, Model } from "../../lib/index.js";
import { packageFolder } from "../../lib/native/locate.js";
import { studioOptions } from "../../lib/schema/studio.js";
import { startStudio, type Studio } from "../../lib/studio/server.js";
import type { Judgement } from "../../lib/studio/types.js";
import { temporaryFolder, writeImage } from "../datasets/files.js";
import { until } from "../support/until.js";
import {
  closeBrowser,
  type Look,
  openBrowser,
  openContext,
  openPage,
  screenshot,
  violations,
  withoutBrowser,
} from "./support.js";

before(openBrowser);
after(closeBrowser);
const options = { skip: withoutBrowser, timeout: 300_000 };

/** Starts studios that are closed when the test ends. Call it before a folder is made: that is removed after they are closed. */
function studios(t: TestContext): (folder: string, port?: number) => Promise<Studio> {
  const open: Studio[] = [];
  t.after(() => Promise.all(open.map((studio) => studio.close())));
  return async (folder, port = 0) => {
    const settings = studioOptions.parse({ port, withoutBrowser: true, device: "cpu", threads: 1 });
    const studio = await startStudio(folder, settings);
    open.push(studio);
    return studio;
  };
}

/** Images to import, by what they are. */
async function drawn(t: TestContext): Promise<{ good: string[]; defects: string[] }> {
  const folder = path.join(await temporaryFolder(t), "drawn");
  await datasets.generated(folder, {
    trainNormal: 8,
    trainAnomalous: 6,
    testNormal: 0,
    testAnomalous: 0,
    imageSize: [64, 64],
    seed: 2,
  });
  const filesOf = (kind: string): string[] =>
    readdirSync(path.join(folder, "train", kind)).map((name) => path.join(folder, "train", kind, name));
  const kinds = readdirSync(path.join(folder, "train")).filter((kind) => kind !== "good");
  // One name each, as from one camera.
  const place = path.join(folder, "camera");
  mkdirSync(place);
  const named = (files: string[], prefix: string): string[] =>
    files.map((file, i) => {
      const to = path.join(place, `${prefix}${i}.png`);
      cpSync(file, to);
      return to;
    });
  return { good: named(filesOf("good"), "a"), defects: named(kinds.flatMap(filesOf), "b") };
}

const chooseFiles = (page: Page, files: string[]): Promise<void> =>
  page.locator("input[type=file]").first().setInputFiles(files);
const tile = (page: Page, name: string) => page.getByRole("option").filter({ hasText: name });

/** Selects images by their names, with the pointer, and presses a key. */
async function label(page: Page, names: string[], key: string): Promise<void> {
  for (const [i, name] of names.entries()) await tile(page, name).click(i === 0 ? {} : { modifiers: ["Control"] });
  await page.keyboard.press(key);
}

const samplesIn = async (folder: string): Promise<string[]> =>
  !existsSync(path.join(folder, "data"))
    ? []
    : (await datasets.open(path.join(folder, "data"))).samples
        .map(({ id, mask }) => `${id}${mask === undefined ? "" : " mask"}`)
        .sort();

test("from an empty folder to a decision", options, async (t) => {
  const start = studios(t);
  const folder = await temporaryFolder(t);
  const { url } = await start(folder);
  const { page, complaints } = await openPage(t, url);
  page.on("dialog", (dialog) => void dialog.accept());
  const { good, defects } = await drawn(t);

  // Collect.
  await page.getByText("Drop images or folders here").waitFor();
  await screenshot(page, "studio-empty");
  await chooseFiles(page, [...good, ...defects]);
  await page.getByText("14 images were added.").waitFor();

  // Label by keys: the arrows move, G and D label and go on.
  await page.getByRole("listbox").focus();
  await page.keyboard.press("Home");
  for (let i = 0; i < 8; i++) await page.keyboard.press("g"); // without waiting for anything
  await until(async () => (await samplesIn(folder)).length === 8);
  await page.getByLabel("Kind of defect").fill("mark");
  await label(
    page,
    ["b0", "b1", "b2", "b3", "b4", "b5"].map((name) => `${name}.png`),
    "d",
  );
  await until(async () => (await samplesIn(folder)).length === 14);
  await page.getByText("Good parts and defects").waitFor();
  // Some of both are to test with.
  await label(page, ["a0.png", "a1.png", "a2.png", "b0.png", "b1.png"], "t");
  await until(async () => (await samplesIn(folder)).filter((id) => id.startsWith("test/")).length === 5);
  // What was done by mistake is taken back.
  await label(page, ["a7.png"], "d");
  await until(async () => (await samplesIn(folder)).includes("train/mark/a7.png"));
  await page.keyboard.press("z");
  await until(async () => (await samplesIn(folder)).includes("train/good/a7.png"));
  await screenshot(page, "studio-data");

  // A mask, drawn; the editor stays at its image.
  await tile(page, "b3.png").click();
  await page.keyboard.press("m");
  const stage = page.locator("canvas").last();
  await stage.waitFor();
  const box = (await stage.boundingBox())!;
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  for (let i = 0; i < 2; i++) {
    await page.mouse.move(x - 20, y + 10 * i);
    await page.mouse.down();
    await page.mouse.move(x + 20, y + 10 * i, { steps: 5 });
    await page.mouse.up();
    await page.getByRole("status").getByText("Saved").waitFor();
  }
  await until(async () => (await samplesIn(folder)).includes("train/mark/b3.png mask"));
  await screenshot(page, "studio-masks");
  assert.equal(await page.locator(".mask-page .name").textContent(), "train/mark/b3.png");

  // Train, and see it live.
  await page.getByRole("link", { name: "Train", exact: true }).click();
  await page.getByText("Some defects with masks").waitFor();
  await page.getByLabel("image size").fill("64x64");
  await page.getByLabel("epochs").first().fill("30");
  await page.getByText("More options").click();
  await page.getByLabel("calibration", { exact: false }).first().selectOption("none");
  await page.getByRole("button", { name: "Start training" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  const row = page.getByRole("row").filter({ hasText: "run-001" });
  await row.getByText("done").waitFor();
  await screenshot(page, "studio-train");

  // Judge: another threshold, kept in the model.
  await row.getByRole("link", { name: "Judge", exact: true }).click();
  await page.getByRole("slider", { name: "Threshold" }).waitFor();
  const file = path.join(folder, "runs", "run-001", "model.safetensors");
  const before = (await Model.load(file)).config.thresholds;
  await page.getByRole("slider", { name: "Threshold" }).press("ArrowRight");
  await page.getByRole("button", { name: "Keep this threshold" }).click();
  await page.getByText("The model has the new threshold").waitFor();
  const thresholds = (await Model.load(file)).config.thresholds;
  assert.notDeepEqual([thresholds.scoreLogit, thresholds.mapLogit], [before.scoreLogit, before.mapLogit]);
  await screenshot(page, "studio-judge");

  // A wrong label is corrected on the spot.
  await page.getByRole("button", { name: "test/good/a0.png" }).click();
  await page
    .getByRole("dialog")
    .getByText(/score 0\.\d+/)
    .waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "studio-detail");
  await page.getByRole("button", { name: "It is a defect" }).click();
  await page.getByText("have changed since: judge them again").waitFor();
  assert.ok((await samplesIn(folder)).some((id) => /^test\/defect\/a0/.test(id)));

  // What to label next, of images that have just come.
  await page.getByRole("link", { name: "Data", exact: true }).click();
  const more = await drawnLater(t);
  await chooseFiles(page, more);
  await page.getByText("3 images were added.").waitFor();
  await page.getByRole("link", { name: "Judge", exact: true }).click();
  await page.getByRole("button", { name: /Look at 3 images/ }).click();
  const next = page.locator(".next li");
  await until(async () => (await next.count()) === 3);
  await next.first().getByRole("button", { name: "good" }).click();
  await until(async () => (await next.count()) === 2);
  // A click too many there is taken back on the page of labels.
  await page.getByRole("link", { name: "Data", exact: true }).click();
  const countOpen = (): number => readdirSync(path.join(folder, "unlabelled")).length;
  assert.equal(countOpen(), 2);
  await page.getByRole("button", { name: "Undo" }).click();
  await until(async () => countOpen() === 3);

  // Train again, and compare.
  await page.getByRole("link", { name: "Train", exact: true }).click();
  await page.getByLabel("image size").fill("64x64");
  await page.getByLabel("epochs").first().fill("2");
  await page.getByText("More options").click();
  await page.getByLabel("calibration", { exact: false }).first().selectOption("none");
  await page.getByLabel("name").fill("second");
  await page.getByRole("button", { name: "Start training" }).click();
  await page.getByRole("row").filter({ hasText: "second" }).getByText("done").waitFor();
  await page.getByLabel("Compare run-001").check();
  await page.getByLabel("Compare second").check();
  await page.getByRole("heading", { name: "Comparison" }).waitFor();
  await page
    .getByRole("row")
    .filter({ has: page.getByRole("rowheader", { name: "epochs" }) })
    .first()
    .waitFor();
  // A test image has got another label between the two.
  await page.getByText("judged on different test images").waitFor();
  await screenshot(page, "studio-compare");

  // Use it. What is no image is told, and not waited for.
  await page.getByRole("link", { name: "Use", exact: true }).click();
  const noImage = path.join(folder, "notes.png");
  writeFileSync(noImage, "no image");
  await chooseFiles(page, [noImage]);
  await page.getByRole("alert").waitFor();
  await page.getByText("Drop an image here").waitFor();
  await page.getByRole("alert").getByRole("button", { name: "Close" }).click();
  await chooseFiles(page, [defects[0]!]);
  await page.getByText(/score 0\.\d+/).waitFor();
  assert.match((await page.locator(".huge").textContent())!, /^(good|unsure|defect)$/);
  await screenshot(page, "studio-use");
  // A picture of an image that was moved while it was asked for, and what is no image.
  assert.deepEqual(
    complaints.filter((complaint) => !/status of 4(04|22)/.test(complaint)),
    [],
  );
});

async function drawnLater(t: TestContext): Promise<string[]> {
  const folder = path.join(await temporaryFolder(t), "later");
  await datasets.generated(folder, { trainNormal: 3, testNormal: 0, testAnomalous: 0, imageSize: [64, 64], seed: 8 });
  return [0, 1, 2].map((i) => path.join(folder, "train", "good", `00${i}.png`));
}

/** A project that has everything: labels, masks, a training and results of a line. Made once. */
let complete: string | undefined;
after(() => complete && rmSync(complete, { recursive: true, force: true }));
async function project(t: TestContext): Promise<string> {
  complete ??= await makeProject(t);
  const folder = await temporaryFolder(t);
  cpSync(complete, folder, { recursive: true });
  return folder;
}

async function makeProject(t: TestContext): Promise<string> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-test-"));
  const sizes = { trainNormal: 10, trainAnomalous: 4, trainSegmented: 2, testNormal: 6, testAnomalous: 6 };
  await datasets.generated(path.join(folder, "data"), { ...sizes, imageSize: [64, 64], seed: 4 });
  const more = path.join(await temporaryFolder(t), "more");
  await datasets.generated(more, { trainNormal: 6, testNormal: 0, testAnomalous: 0, imageSize: [64, 64], seed: 5 });
  cpSync(path.join(more, "train", "good"), path.join(folder, "unlabelled"), { recursive: true });
  const train = (name: string): string[] => ["train", "--data", "data", "--out", `runs/${name}`];
  const short = ["--image-size", "64x64", "--epochs", "20", "--calibration", "none", "--device", "cpu"];
  for (const name of ["first", "second"])
    run(folder, [...train(name), ...short, "--report", `runs/${name}/report.html`]);
  run(folder, ["predict", "--model", "runs/first/model.safetensors", "unlabelled", "--to", "jsonl:results"]);
  return folder;
}

/** What the command line leaves is what the studio shows. */
function run(folder: string, args: readonly string[]): void {
  const program = path.join(packageFolder, "dist", "lib", "cli", "main.js");
  execFileSync(process.execPath, [program, ...args], { cwd: folder, stdio: "ignore" });
}

const pages = ["data", "masks", "train", "judge", "use", "use/line"] as const;

test("every page is accessible, at both widths and in both themes", options, async (t) => {
  const start = studios(t);
  const { url } = await start(await project(t));
  for (const width of [1280, 390])
    for (const theme of ["light", "dark"] as const) {
      const look: Look = { width, theme };
      const { page, complaints } = await openPage(t, `${url}/#/data`, look);
      for (const name of pages) {
        await page.goto(`${url}/#/${name}`);
        await page.locator("main").waitFor();
        if (name === "data") await tile(page, "000.png").first().click();
        if (name === "judge") await page.getByRole("heading", { name: "What to label next" }).waitFor();
        if (name === "masks") await page.getByRole("button", { name: /Brush/ }).waitFor();
        if (name === "train") await page.getByText("More options").click();
        if (name === "use/line") await page.getByRole("table").waitFor();
        await page.waitForLoadState("networkidle");
        assert.deepEqual(await violations(page), [], `${name} at ${width}, ${theme}`);
        const wide = Number(await page.evaluate("document.documentElement.scrollWidth"));
        assert.ok(wide <= width, `${name} is ${wide} pixels wide at ${width}`);
        await screenshot(page, `studio-${name.replace("/", "-")}-${width}-${theme}`);
      }
      assert.deepEqual(complaints, []);
      await page.close();
    }
});

test(
  "two tabs know of each other, a lost studio is told, and a training goes on after a restart",
  options,
  async (t) => {
    const start = studios(t);
    const folder = await project(t);
    let studio = await start(folder);
    const { page: first } = await openPage(t, studio.url);
    const { page: second } = await openPage(t, studio.url);
    await second.locator(".counts").getByText("6", { exact: true }).waitFor();
    await tile(first, "000.png").first().click();
    await first.keyboard.press("g");
    await second.locator(".counts").getByText("5", { exact: true }).waitFor();

    await second.goto(`${studio.url}/#/train`);
    await second.getByLabel("image size").fill("64x64");
    await second.getByLabel("epochs").first().fill("5000");
    await second.getByRole("button", { name: "Start training" }).click();
    await second.getByRole("button", { name: "Pause" }).waitFor();
    const epoch = async (): Promise<number> =>
      Number(/(\d+) \/ 5000/.exec((await second.locator(".live").textContent()) ?? "")?.[1] ?? 0);
    await until(async () => (await epoch()) > 3);
    const port = Number(new URL(studio.url).port);
    const reached = await epoch();
    await studio.close();
    await second.getByText("The studio does not answer").waitFor();

    studio = await start(folder, port);
    await until(async () => (await epoch()) > reached);
    assert.equal(await second.getByText("The studio does not answer").count(), 0);
    await second.getByRole("button", { name: "Stop", exact: true }).click();
    await second.getByRole("row").filter({ hasText: "run-001" }).getByText("stopped").waitFor();
    assert.ok(existsSync(path.join(folder, "runs", "run-001", "checkpoint", "last.safetensors")));
  },
);

test("eight tabs share one connection, and another one takes over when that tab goes", options, async (t) => {
  const start = studios(t);
  const { url } = await start(await project(t));
  const context = await openContext(t);
  const streams: string[] = [];
  context.on("request", (request) => {
    if (request.url().endsWith("/events")) streams.push(request.url());
  });
  const pages: Page[] = [];
  const shows = (page: Page, count: number) =>
    page
      .getByRole("listitem")
      .filter({ hasText: `${count}without a label` })
      .waitFor();
  for (let i = 0; i < 8; i++) {
    pages.push((await openPage(t, url, {}, context)).page);
    await shows(pages[i]!, 6);
  }
  assert.equal(streams.length, 1);
  const last = pages.at(-1)!;
  await tile(last, "000.png").first().click();
  await last.keyboard.press("g");
  for (const page of pages) await shows(page, 5);
  // What the server told at the beginning is known to a tab that came later.
  await last.goto(`${url}/#/train`);
  await last.getByRole("row").filter({ hasText: "first" }).waitFor();
  await last.reload();
  await last.getByRole("row").filter({ hasText: "first" }).waitFor();
  assert.equal(streams.length, 1);

  await pages.shift()!.close();
  await until(() => streams.length === 2);
  const [second] = pages as [Page];
  await tile(second, "001.png").first().click();
  await second.keyboard.press("g");
  for (const page of pages.slice(0, -1)) await shows(page, 4);
  for (const page of pages) assert.equal(await page.getByText("The studio does not answer").count(), 0);
  assert.equal(streams.length, 2);

  // Where a browser has no locks, each tab is connected.
  const alone = await openContext(t);
  await alone.addInitScript("delete Navigator.prototype.locks");
  const both = [await openPage(t, url, {}, alone), await openPage(t, url, {}, alone)].map(({ page }) => page);
  for (const page of both) await shows(page, 4);
  await tile(second, "002.png").first().click();
  await second.keyboard.press("g");
  for (const page of both) await shows(page, 3);
});

/** Where elements lie on the page, rounded: of one place there is one text. */
async function placesOf(
  page: Page,
  selector: string,
): Promise<{ x: number; y: number; width: number; height: number }[]> {
  const boxes = await Promise.all((await page.locator(selector).all()).map((element) => element.boundingBox()));
  return boxes.map((box) => {
    const { x, y, width, height } = box!;
    return { x: Math.round(x), y: Math.round(y), width: Math.round(width), height: Math.round(height) };
  });
}

test("heat map, mask and regions lie on an image that is no square, wherever it is judged", options, async (t) => {
  const start = studios(t);
  const folder = await project(t);
  const raw = { width: 120, height: 40, channels: 3 } as const;
  const wide = await sharp(
    new Uint8Array(120 * 40 * 3).map((_, i) => (i * 7919) % 251),
    { raw },
  )
    .png()
    .toBuffer();
  mkdirSync(path.join(folder, "data/test/wide"));
  writeFileSync(path.join(folder, "data/test/wide/wide.png"), wide);
  mkdirSync(path.join(folder, "data/ground_truth/wide"), { recursive: true });
  const mask = await sharp(new Uint8Array(120 * 40).fill(255, 100, 900), { raw: { ...raw, channels: 1 } })
    .toColourspace("b-w")
    .png()
    .toBuffer();
  writeFileSync(path.join(folder, "data/ground_truth/wide/wide_mask.png"), mask);
  const { url } = await start(folder);
  const { page } = await openPage(t, `${url}/#/judge/first`);
  await page.getByRole("button", { name: "Judge the test images again" }).click();
  const picture = page.getByRole("button", { name: "test/wide/wide.png" });
  await picture.waitFor();
  const isAligned = async (inside: string, shape: number): Promise<void> => {
    const [image, ...others] = await placesOf(page, `${inside} > *`);
    assert.ok(others.length >= 2, `${inside} has ${others.length} layers`);
    for (const other of others) assert.deepEqual(other, image);
    assert.ok(Math.abs(image!.width / image!.height / shape - 1) < 0.05, JSON.stringify(image));
  };
  await picture.scrollIntoViewIfNeeded();
  await isAligned('button.picture:has(img[alt^="test/wide/wide.png"])', 3);
  await picture.click();
  await page.locator(".judged .heat").waitFor();
  await isAligned(".judged", 3);
  await page.goto(`${url}/#/use`);
  const tall = path.join(folder, "tall.png");
  writeFileSync(tall, await sharp(wide).rotate(90).toBuffer());
  for (const [file, shape] of [
    [path.join(folder, "data/test/wide/wide.png"), 3],
    [tall, 1 / 3],
    [path.join(folder, "data/test/good/000.png"), 1],
  ] as const) {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    await page.route("**/detect?*", async (route) => {
      await held;
      await route.continue();
    });
    await chooseFiles(page, [file]);
    await page.getByText(path.basename(file)).waitFor();
    // The image has its shape before the model has answered.
    await until(async () => {
      const [image] = await placesOf(page, ".judged img");
      return Math.abs(image!.width / image!.height / shape - 1) < 0.05;
    });
    release();
    await page.locator(".judged .heat").waitFor();
    await isAligned(".judged", shape);
    await page.unroute("**/detect?*");
  }

  // Another model has said nothing of it.
  await page.getByLabel("Model").selectOption("second");
  await page.getByText("Drop an image here").waitFor();
  assert.equal(await page.locator(".huge").count(), 0);
});

test("an answer about another model that comes late is not shown", options, async (t) => {
  const start = studios(t);
  const { url } = await start(await project(t));
  const { page } = await openPage(t, `${url}/#/data`);
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  let answered = 0;
  await page.route("**/runs/first/judgement", async (route) => {
    const response = await route.fetch();
    const judgement = (await response.json()) as Judgement;
    await held;
    await route.fulfill({ response, json: { ...judgement, notes: ["said of the first"] } });
    answered++;
  });
  const asked = page.waitForRequest("**/runs/first/judgement");
  await page.getByRole("link", { name: "Train", exact: true }).click();
  const row = page.getByRole("row").filter({ hasText: "first" });
  await row.getByRole("link", { name: "Judge", exact: true }).click();
  await asked;
  await page.getByLabel("Model").selectOption("second");
  await page.getByRole("slider", { name: "Threshold" }).waitFor();
  release();
  await until(() => answered > 0);
  await page.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(done), 100))");
  assert.equal(await page.getByText("said of the first").count(), 0);
  await page.getByLabel("Model").selectOption("first");
  await page.getByText("said of the first").waitFor();
  // An address that is opened by itself says which model it is about.
  const { page: masks } = await openPage(t, `${url}/#/masks/train/good/000.png`);
  await masks.getByText("This image is not labelled as a defect").waitFor();
  await masks.getByRole("link", { name: "Other defects" }).click();
  await masks.getByRole("button", { name: "Brush" }).waitFor();
  const { page: other } = await openPage(t, `${url}/#/judge/first`);
  await other.getByRole("slider", { name: "Threshold" }).waitFor();
  await until(async () => (await other.getByLabel("Model").inputValue()) === "first");
});

test(
  "what was checked counts until the data change, and a mask that is lost is told elsewhere too",
  options,
  async (t) => {
    const start = studios(t);
    const folder = await project(t);
    writeFileSync(path.join(folder, "data/train/good/broken.png"), "broken");
    const { url } = await start(folder);
    const { page } = await openPage(t, url);
    await page.getByRole("button", { name: "Check the data" }).click();
    const problem = page.locator(".advice").getByText(/broken\.png/);
    await problem.waitFor();
    await page.locator(".bar select").first().selectOption("unlabelled");
    await tile(page, "000.png").first().click();
    await page.keyboard.press("g");
    await until(async () => (await problem.count()) === 0);

    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    await page.route("**/api/v1/mask?*", async (route) => {
      if (route.request().method() === "GET") return route.continue();
      await held;
      await route.fulfill({ status: 507, json: { error: { code: "NO_SPACE", message: "no space left." } } });
    });
    await page.goto(`${url}/#/masks`);
    const stage = page.locator("canvas").last();
    await stage.waitFor();
    const id = (await page.locator(".mask-page .name").textContent())!;
    const box = (await stage.boundingBox())!;
    const sent = page.waitForRequest((request) => request.method() === "PUT" && /mask\?/.test(request.url()));
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 2 + 30, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    await sent;
    await page.getByRole("link", { name: "Data", exact: true }).click();
    await page.getByRole("listbox").waitFor();
    release();
    await page.getByRole("alert").getByText(`The mask of ${id} was not saved: no space left.`).waitFor();
  },
);

test("a camera's pictures are judged, and it is let go of", options, async (t) => {
  const start = studios(t);
  const { url } = await start(await project(t));
  const { page, complaints } = await openPage(t, `${url}/#/use`);
  await page.getByRole("button", { name: "Camera" }).click();
  const video = page.locator("video");
  await until(
    async () => Number(await video.evaluate((element) => (element as { videoWidth?: number }).videoWidth)) > 0,
  );
  await page.getByRole("button", { name: "Judge this picture" }).click();
  await page.getByText(/score 0\.\d+/).waitFor();
  assert.match((await page.locator(".huge").textContent())!, /^(good|unsure|defect)$/);

  // One after another: the verdict stays to be read, of the model that is chosen meanwhile too.
  await page.getByLabel("one after another").check();
  await page.getByLabel("Model").selectOption("first");
  await page.locator(".huge").waitFor();
  const seen = (await page.evaluate(`new Promise((done) => {
    const seen = [];
    const look = () => {
      seen.push(document.querySelector(".huge")?.textContent ?? "nothing");
      if (seen.length === 20) done(seen);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
  })`)) as string[];
  for (const text of seen) assert.match(text, /^(good|unsure|defect)$/);
  const stream = await video.evaluateHandle((element) => (element as { srcObject?: { active: boolean } }).srcObject);
  await page.getByRole("button", { name: "Camera" }).click();
  await until(() => stream.evaluate((found) => !found!.active));
  assert.deepEqual(complaints, []);
});

test("5,000 images: what is not seen is not drawn, and the keys reach the last one", options, async (t) => {
  const start = studios(t);
  const folder = await temporaryFolder(t);
  await writeImage(path.join(folder, "data/train/good/0.png"));
  const source = path.join(folder, "data/train/good/0.png");
  for (let i = 1; i < 5000; i++) cpSync(source, path.join(folder, `data/train/good/${i}.png`));
  const { url } = await start(folder);
  const { page } = await openPage(t, url);
  await page.evaluate(`
    globalThis.longTasks = [];
    new PerformanceObserver((list) => longTasks.push(...list.getEntries().map(({ duration }) => duration)))
      .observe({ entryTypes: ["longtask"] });
  `);
  await page.getByText("5000 images").waitFor();
  const grid = page.getByRole("listbox");
  for (let top = 0; top < 40; top++) {
    await grid.evaluate((element, at) => element.scrollTo(0, at), top * 1500);
    await page.waitForTimeout(16);
  }
  assert.ok((await page.getByRole("option").count()) < 150);
  await grid.focus();
  await page.keyboard.press("End");
  await tile(page, "4999.png").waitFor();
  const longTasks = (await page.evaluate("longTasks")) as number[];
  t.diagnostic(
    `long tasks while scrolling: ${longTasks.length}, the longest ${Math.round(Math.max(0, ...longTasks))} ms`,
  );
});
