import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { reportHtml } from "../../lib/report/html.js";
import type { ReportDocument, ReportImage } from "../../lib/report/types.js";
import { temporaryFolder } from "../datasets/files.js";
import { closeBrowser, openBrowser, openPage, screenshot, violations, withoutBrowser } from "./support.js";

before(openBrowser);
after(closeBrowser);
const options = { skip: withoutBrowser, timeout: 120_000 };

const pixel =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** 40 good parts from -2 to -0.05, 20 defects from -0.5 to 3.3: some of both on the wrong side of 0. */
function reported(changes: Partial<ReportDocument> = {}): ReportDocument {
  const image = (id: string, label: ReportImage["label"], value: number): ReportImage => ({
    id,
    label,
    defect: label === "normal" ? null : ["scratch", "</script><b>stain</b>"][Math.round(value * 10) & 1]!,
    value,
    verdict: value >= 0 ? "defect" : "good",
    score: 1 / (1 + Math.exp(-value)),
    peak: value,
    picture: { image: pixel, heat: pixel, ...(label === "anomalous" && { mask: pixel }), width: 4, height: 3 },
  });
  return {
    title: "bottle <script>alert(1)</script>",
    made: "2026-03-04T05:06:07.000Z",
    facts: [
      { name: "Model", facts: [["file", "model.safetensors"]] },
      { name: "Options", folded: true, facts: [["epochs", "16"]] },
    ],
    evaluation: {
      metrics: [
        { name: "I-AUROC", measures: "Area under the ROC curve.", value: 0.9875, interval: [0.951, 0.997] },
        { name: "AUPRO", measures: "Overlap.", value: null, interval: null },
      ],
      axis: { kind: "score", threshold: 0 },
      images: [
        ...Array.from({ length: 40 }, (_, i) => image(`good/${i}.png`, "normal", -2 + 0.05 * i)),
        ...Array.from({ length: 20 }, (_, i) => image(`bad/${i}.png`, "anomalous", -0.5 + 0.2 * i)),
      ],
      withoutPictures: null,
    },
    training: Array.from({ length: 5 }, (_, i) => ({
      ...{ epoch: i + 1, loss: 1 / (i + 1), l1Normal: 0.5 / (i + 1), l1Anomalous: 0.2 },
      ...{ focalMap: 0.1, focalScore: 0.05, headsLearningRate: 1e-4 },
    })),
    notes: ["One image is all black."],
    ...changes,
  };
}

async function written(t: Parameters<typeof temporaryFolder>[0], document: ReportDocument): Promise<string> {
  const file = path.join(await temporaryFolder(t), "report.html");
  writeFileSync(file, await reportHtml(document));
  return pathToFileURL(file).href;
}

for (const width of [1280, 390])
  for (const theme of ["light", "dark"] as const)
    test(`the report at ${width} pixels, ${theme}: from disk, nothing to complain, accessible`, options, async (t) => {
      const { page, complaints } = await openPage(t, await written(t, reported()), { width, theme });
      await page.getByRole("heading", { name: "Images" }).waitFor();
      await screenshot(page, `report-${width}-${theme}`);
      assert.deepEqual(await violations(page), []);
      assert.deepEqual(complaints, []);
      const wide = await page.evaluate("document.documentElement.scrollWidth");
      assert.ok(Number(wide) <= width, `${String(wide)} pixels wide`);
    });

test("the threshold moves numbers, kinds, costs and gallery, and goes back", options, async (t) => {
  const { page, complaints } = await openPage(t, await written(t, reported()));
  const cards = async (): Promise<string[]> =>
    (await page.locator(".card .large").allTextContents()).map((text) => text.replace(/\s+/g, " ").trim());
  const names = (): Promise<string[]> => page.locator(".tiles .name").allTextContents();
  assert.deepEqual(await cards(), ["17 of 20", "3 of 20", "0 of 40"]);
  assert.deepEqual((await names()).slice(0, 3), ["bad/0.png", "bad/1.png", "bad/2.png"]);
  await page.getByLabel("mistakes").check();
  assert.equal((await names()).length, 3);

  await page.getByRole("slider", { name: "Threshold" }).fill("-0.6");
  const [found, , rejected] = await cards();
  assert.equal(found, "20 of 20");
  assert.match(rejected!, /^1[12] of 40$/); // the slider has steps
  assert.match((await names())[0]!, /^good\/39\.png$/);
  await page.getByRole("button", { name: "Back to the model's threshold" }).click();
  assert.deepEqual(await cards(), ["17 of 20", "3 of 20", "0 of 40"]);

  // 2 % defects, of which 3 of 20 are missed at 100 each: 1000 * 0.02 * 0.15 * 100.
  assert.match((await page.locator(".costs").textContent())!, /1000 parts: 300/);
  await page.getByLabel("cost of a missed defect").fill("0.1");
  assert.match((await page.locator(".costs").textContent())!, /1000 parts: 0.3/);
  // Key by key, as people do.
  const miss = page.getByLabel("cost of a missed defect");
  await miss.fill("");
  await miss.pressSequentially("0.25");
  assert.equal(await miss.inputValue(), "0.25");
  assert.match((await page.locator(".costs").textContent())!, /1000 parts: 0.75/);
  await page.getByLabel("cost of a missed defect").fill("100000");
  await page.getByRole("button", { name: "Go there" }).click();
  assert.equal((await cards())[0], "20 of 20", "misses are dear");

  // By the mouse, on the histogram.
  const box = (await page.locator(".histogram svg").boundingBox())!;
  await page.mouse.click(box.x + box.width - 2, box.y + box.height / 2);
  assert.match((await cards())[0]!, /^[0-2] of 20$/);
  assert.deepEqual(complaints, []);
});

test("what the model leaves to a person is told", options, async (t) => {
  const { evaluation } = reported();
  const images = evaluation!.images.map((image, i) =>
    i % 10 === 0 ? { ...image, verdict: "unsure" as const } : image,
  );
  const { page } = await openPage(t, await written(t, reported({ evaluation: { ...evaluation!, images } })));
  await page.getByText('"unsure": 4 good parts and 2 defects').waitFor();
  assert.equal(await page.locator(".tiles strong", { hasText: "unsure" }).count(), 6);
});

test("a heat map of a part of an image lies there", options, async (t) => {
  const { evaluation } = reported();
  const heatArea = { x: 0.25, y: 0.5, width: 0.5, height: 0.25 };
  const images = evaluation!.images.slice(0, 2).map((image, i) => {
    const picture = { ...image.picture!, ...(i === 0 && { heatArea }) };
    return { ...image, id: String(i), picture };
  });
  const { page, complaints } = await openPage(
    t,
    await written(t, reported({ evaluation: { ...evaluation!, images } })),
  );
  const shares = async (name: string): Promise<number[]> => {
    const tile = page.locator(".tiles li", { has: page.locator(`.name[title="${name}"]`) });
    const [outer, inner] = [
      (await tile.locator(".picture").boundingBox())!,
      (await tile.locator(".heat").boundingBox())!,
    ];
    return [
      (inner.x - outer.x) / outer.width,
      (inner.y - outer.y) / outer.height,
      inner.width / outer.width,
      inner.height / outer.height,
    ].map((share) => Math.round(100 * share) / 100);
  };
  assert.deepEqual(await shares("0"), [0.25, 0.5, 0.5, 0.25]);
  assert.deepEqual(await shares("1"), [0, 0, 1, 1]);
  assert.deepEqual(complaints, []);
});

test("names are text, whatever is in them", options, async (t) => {
  const { page, complaints } = await openPage(t, await written(t, reported()));
  assert.equal(await page.locator("h1").textContent(), "bottle <script>alert(1)</script>");
  assert.equal(await page.locator("b").count(), 0);
  assert.ok((await page.locator("td").allTextContents()).includes("</script><b>stain</b>"));
  assert.deepEqual(complaints, []);
});

test("a report without an evaluation, one without defects, and on paper", options, async (t) => {
  const bare = await openPage(t, await written(t, reported({ evaluation: null, training: null })));
  await bare.page.getByText("Nothing was evaluated").waitFor();
  const { evaluation } = reported();
  const images = evaluation!.images.filter(({ label }) => label === "normal");
  const good = await openPage(t, await written(t, reported({ evaluation: { ...evaluation!, images } })));
  await good.page.getByText("Costs need good parts and defects.").waitFor();
  assert.deepEqual([...bare.complaints, ...good.complaints], []);
  const pdf = await good.page.pdf({ format: "A4" });
  assert.ok(pdf.subarray(0, 5).toString() === "%PDF-");
  if (process.env["SUPERSIMPLENET_SCREENSHOTS"] !== undefined)
    writeFileSync(path.join(process.env["SUPERSIMPLENET_SCREENSHOTS"], "report.pdf"), pdf);
});
