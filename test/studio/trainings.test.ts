import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { before, test, type TestContext } from "node:test";

import { datasets, Model } from "../../lib/index.js";
import { packageFolder } from "../../lib/native/locate.js";
import { regimePresets } from "../../lib/schema/presets.js";
import type {
  Judgement,
  RunDetails,
  RunState,
  StudioDetection,
  StudioProject,
  StudioRun,
  Suggestions,
  TrainingOption,
} from "../../lib/studio/types.js";
import { failure, temporaryFolder } from "../datasets/files.js";
import { until } from "../support/until.js";
import { listened, type Opened, opened } from "./support.js";
import { copyFile, cp, mkdir, mkdtemp, readdir } from "node:fs/promises";
import os from "node:os";
import sharp from "sharp";

const flags = { backbone: "resnet18", "image-size": "64x64", epochs: "2", calibration: "none" };

/** A drawn data set, made once. */
let drawn: string;
before(async () => {
  drawn = path.join(await mkdtemp(path.join(os.tmpdir(), "supersimplenet-test-")), "drawn");
  const sizes = { trainNormal: 8, trainAnomalous: 4, trainSegmented: 2, testNormal: 4, testAnomalous: 5 };
  await datasets.generated(drawn, { ...sizes, imageSize: [64, 64], seed: 5 });
});

async function projectFolder(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  await cp(drawn, path.join(folder, "data"), { recursive: true });
  return folder;
}

async function state({ call }: Opened, run: string): Promise<RunState> {
  const { json } = await call("GET", "/runs");
  return (json as { runs: StudioRun[] }).runs.find(({ name }) => name === run)!.state;
}

const isIn = (studio: Opened, run: string, ...wanted: RunState[]): Promise<void> =>
  until(async () => {
    const now = await state(studio, run);
    assert.ok(
      now !== "failed" || wanted.includes("failed"),
      JSON.stringify((await studio.call("GET", `/runs/${run}`)).json),
    );
    return wanted.includes(now);
  });

test(
  "a training is tried, trains, is judged, gets a threshold and says what to label next",
  { timeout: 240_000 },
  async (t) => {
    const folder = await projectFolder(t);
    const unlabelled = path.join(folder, "unlabelled");
    await mkdir(unlabelled);
    for (const [i, name] of (await readdir(path.join(drawn, "test", "good"))).entries())
      await copyFile(path.join(drawn, "test", "good", name), path.join(unlabelled, `${i}.png`));
    const studio = await opened(folder);
    const { call, url } = studio;
    const { events, heard } = listened(t, url);

    const estimate = await call("POST", "/estimate", { flags: { ...flags, epochs: "40" } });
    assert.equal(estimate.status, 200, estimate.text);
    const { seconds, epochs, steps, secondsPerStep } = estimate.json as Record<string, number>;
    assert.deepEqual([epochs, steps], [40, 40]);
    assert.ok(Math.abs(seconds! - 40 * secondsPerStep!) < 1e-9 && secondsPerStep! > 0);
    assert.deepEqual((await call("GET", "/runs")).json, { runs: [] }, "a trial leaves nothing");
    // Trainings that end before the trial would.
    for (const few of [1, 2]) {
      const { status, json, text } = await call("POST", "/estimate", { flags: { ...flags, epochs: String(few) } });
      assert.equal(status, 200, text);
      assert.equal((json as Record<string, number>)["steps"], few);
      assert.ok((json as Record<string, number>)["seconds"]! > 0);
    }

    const begun = await call("POST", "/runs", { flags });
    assert.equal(begun.status, 200, begun.text);
    const { name, command } = begun.json as StudioRun;
    assert.equal(name, "run-001");
    assert.match(command!, /^supersimplenet train --data data --out runs\/run-001 .*--epochs=2/);
    await isIn(studio, name, "done");
    await heard(({ event }) => event === "epoch");
    assert.ok(events.some((event) => event.event === "progress" && event.progress.stage === "train"));
    const details = (await call("GET", `/runs/${name}`)).json as RunDetails;
    assert.equal(details.epochs.length, 2);
    assert.deepEqual(
      [details.run.regime, details.run.backbone, details.run.imageSize],
      ["mixed", "resnet18", "64 x 64"],
    );
    assert.equal(details.run.dataIsCurrent, true);
    assert.equal(typeof details.run.metrics!["I-AUROC"], "number");
    const report = await call("GET", `/runs/${name}/report`);
    assert.match(report.headers["content-security-policy"] as string, /sandbox/);

    // Judging, and a threshold that lies between two images.
    const judged = (await call("GET", `/runs/${name}/judgement`)).json as Judgement;
    const { evaluation } = judged;
    assert.equal(judged.isCurrent, true);
    assert.equal(evaluation!.images.length, 9);
    const values = evaluation!.images.map(({ value }) => value).sort((a, b) => a - b);
    const wanted = (values[4]! + values[5]!) / 2;
    // Far from all logits, where the score is 1 or 0 by rounding.
    const file = path.join(folder, "runs", name, "model.safetensors");
    for (const far of [45, -800]) {
      assert.equal(evaluation!.axis.kind, "score");
      const { status, json, text } = await call("PUT", `/runs/${name}/threshold`, { value: far });
      assert.equal(status, 200, text);
      assert.equal((await Model.load(file)).config.thresholds.scoreLogit, far);
      const verdicts = new Set((json as Judgement).evaluation!.images.map(({ verdict }) => verdict));
      assert.deepEqual([...verdicts], [far > 0 ? "good" : "defect"]);
    }
    const set = await call("PUT", `/runs/${name}/threshold`, { value: wanted });
    assert.equal(set.status, 200, set.text);
    const after = (set.json as Judgement).evaluation!;
    assert.equal(after.images.filter(({ verdict }) => verdict === "defect").length, 4);
    const model = await Model.load(file);
    assert.ok(Math.abs(model.config.thresholds.scoreLogit - wanted) < 1e-9);
    const metrics = JSON.parse(readFileSync(path.join(folder, "runs", name, "metrics.json"), "utf8"));
    assert.ok(Math.abs(metrics.model.thresholds.scoreLogit - wanted) < 1e-9);
    assert.equal((await call("PUT", `/runs/${name}/threshold`, { value: "x" })).status, 400);

    // The picture of an image of the gallery, and what the model says of it.
    const { picture, id } = after.images[0]!;
    for (const address of [picture!.image, picture!.heat]) {
      const answer = await fetch(url + address);
      assert.match(answer.headers.get("content-type")!, /^image\//);
      assert.ok((await sharp(Buffer.from(await answer.arrayBuffer())).metadata()).width > 0);
    }
    const detection = (await call("GET", `/runs/${name}/detection?id=${id}`)).json as StudioDetection;
    assert.ok(Math.abs(detection.logit - (await recordedLogit(folder, name, id))) < 1e-4);
    const sent = readFileSync(path.join(folder, "data", id));
    const other = (await call("POST", `/runs/${name}/detect?id=x.png`, sent)).json as StudioDetection;
    assert.ok(Math.abs(other.logit - detection.logit) < 1e-4);
    const proposal = await fetch(`${url}/api/v1/runs/${name}/proposal?id=${id}`);
    const { width, height } = await sharp(Buffer.from(await proposal.arrayBuffer())).metadata();
    assert.deepEqual([width, height], [64, 64]);

    // A mask of a test image that is taken away, or drawn anew: the pixel metrics are of before.
    const isCurrent = async (): Promise<boolean> =>
      ((await call("GET", `/runs/${name}/judgement`)).json as Judgement).isCurrent;
    const withMask = (await studio.project()).images.find((one) => one.split === "test" && one.mask !== null)!.id;
    const mask = Buffer.from(await (await fetch(`${url}/api/v1/mask?id=${withMask}`)).arrayBuffer());
    assert.equal((await call("DELETE", `/mask?id=${withMask}`)).status, 200);
    assert.equal(await isCurrent(), false);
    assert.equal((await call("PUT", `/mask?id=${withMask}`, mask)).status, 200);
    assert.equal(await isCurrent(), false);
    await call("POST", `/runs/${name}/judgement`);
    assert.equal(await isCurrent(), true);

    // A label that is corrected: the results are of before.
    const relabelled = after.images.find(({ label }) => label === "normal")!.id;
    await call("POST", "/labels", { ids: [relabelled], label: "defect" });
    assert.equal(((await call("GET", `/runs/${name}/judgement`)).json as Judgement).isCurrent, false);
    const testData = async (): Promise<string | null> =>
      ((await call("GET", `/runs/${name}`)).json as RunDetails).run.testData;
    const testedOn = await testData();
    const again = (await call("POST", `/runs/${name}/judgement`)).json as Judgement;
    assert.notEqual(await testData(), testedOn, "metrics of other labels are not compared with these");
    assert.equal(again.isCurrent, true);
    assert.equal(again.evaluation!.images.filter(({ label }) => label === "anomalous").length, 6);

    const { suggestions } = (await call("POST", `/runs/${name}/suggestions`)).json as { suggestions: Suggestions };
    assert.deepEqual(
      suggestions.images.map(({ id: one }) => one).sort(),
      ["0.png", "1.png", "2.png", "3.png"].map((one) => `unlabelled/${one}`),
    );
    const now = await studio.project();
    const versions = new Map(now.images.map((image) => [image.id, image.version]));
    for (const suggestion of suggestions.images) assert.equal(suggestion.version, versions.get(suggestion.id));
    assert.equal(now.counts.unlabelled, 4, "nothing is stored of a suggestion");
  },
);

async function recordedLogit(folder: string, run: string, id: string): Promise<number> {
  const { samples } = JSON.parse(readFileSync(path.join(folder, "runs", run, "metrics.json"), "utf8"));
  return samples.find((sample: { id: string }) => sample.id === id).logit;
}

test(
  "a training is paused, goes on, waits for others, and survives a restart of the studio",
  { timeout: 240_000 },
  async (t) => {
    const folder = await projectFolder(t);
    let studio = await opened(folder);
    const long = { ...flags, epochs: "4000" };
    await studio.call("POST", "/runs", { name: "long", flags: long });
    await studio.call("POST", "/runs", { name: "short", flags });
    const checkpoint = path.join(folder, "runs", "long", "checkpoint", "last.safetensors");
    const { heard } = listened(t, studio.url);
    await heard((event) => event.event === "epoch" && event.run === "long");
    assert.deepEqual([await state(studio, "long"), await state(studio, "short")], ["running", "queued"]);
    assert.equal((await studio.call("POST", "/estimate", { flags })).status, 409, "the machine is busy");

    // Twice, as by a double click: that must not end it without a checkpoint.
    const pauses = await Promise.all([1, 2].map(() => studio.call("POST", "/runs/long/pause")));
    assert.deepEqual(
      pauses.map(({ status }) => status),
      [204, 204],
    );
    assert.deepEqual([await state(studio, "long"), await state(studio, "short")], ["paused", "queued"]);
    assert.ok(existsSync(checkpoint));
    await studio.call("POST", "/runs/long/resume");
    await isIn(studio, "long", "running");

    // The studio ends in the middle, and the training goes on where it was.
    const before = (await studio.call("GET", "/runs/long")).json as RunDetails;
    await studio.studio.close();
    assert.ok(statSync(checkpoint).size > 0);
    studio = await opened(folder);
    await isIn(studio, "long", "running");
    const second = listened(t, studio.url);
    await second.heard(
      (event) => event.event === "epoch" && event.run === "long" && event.epoch.epoch >= before.epochs.length,
    );

    // A training that is stopped lets the next one begin.
    await studio.call("POST", "/runs/long/stop");
    await isIn(studio, "short", "done");
    assert.equal(await state(studio, "long"), "stopped");
    assert.equal((await studio.call("POST", "/runs/short/stop")).status, 409, "it has ended");

    assert.equal((await studio.call("DELETE", "/runs/long")).status, 204);
    assert.ok(!existsSync(path.join(folder, "runs", "long")));
    assert.equal((await studio.call("GET", "/runs/long")).status, 404);
  },
);

test(
  "labels that change in the middle of a training cost it nothing, also when it goes on",
  { timeout: 240_000 },
  async (t) => {
    const folder = await projectFolder(t);
    const studio = await opened(folder);
    const { heard } = listened(t, studio.url);
    // Not twice the same name, of two pages at once.
    const asked = { flags: { ...flags, epochs: "60" } };
    const both = await Promise.all([1, 2].map(() => studio.call("POST", "/runs", asked)));
    assert.deepEqual(both.map(({ json }) => (json as StudioRun).name).sort(), ["run-001", "run-002"]);
    await studio.call("POST", "/runs/run-002/stop");
    await heard((event) => event.event === "epoch" && event.run === "run-001");
    const { images } = await studio.project();
    const found = (split: string, label: string): string =>
      images.find((one) => one.split === split && one.label === label && (label === "good" || one.mask !== null))!.id;
    for (const split of ["train", "test"]) {
      const moved = await studio.call("POST", "/labels", { ids: [found(split, "good")], label: "defect", kind: "odd" });
      assert.equal(moved.status, 200, moved.text);
      assert.equal((await studio.call("POST", "/removals", { ids: [found(split, "defect")] })).status, 200);
    }
    await studio.call("POST", "/runs/run-001/pause");
    await studio.call("POST", "/runs/run-001/resume");
    await isIn(studio, "run-001", "done");
    const { run } = (await studio.call("GET", "/runs/run-001")).json as RunDetails;
    assert.equal(run.dataIsCurrent, false);
    assert.equal(((await studio.call("GET", "/runs/run-001/judgement")).json as Judgement).isCurrent, false);
    await until(async () => !(await readdir(path.join(folder, ".studio", "data"))).includes("run-001"));
  },
);

test(
  "a studio that is killed leaves no training behind, and the next one goes on with it",
  { timeout: 240_000 },
  async (t) => {
    const folder = await projectFolder(t);
    const program = path.join(packageFolder, "dist", "lib", "cli", "main.js");
    const killed = spawn(process.execPath, [program, "studio", folder, "--no-open", "--port", "0", "--json"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    t.after(() => killed.kill("SIGKILL"));
    let text = "";
    killed.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
    await until(() => text.includes("\n"));
    const { url } = JSON.parse(text) as { url: string };
    const { heard } = listened(t, url);
    const body = JSON.stringify({ name: "long", flags: { ...flags, epochs: "4000" } });
    await fetch(`${url}/api/v1/runs`, { method: "POST", body, headers: { "content-type": "application/json" } });
    await heard((event) => event.event === "epoch" && event.epoch.epoch >= 3);
    const refused = await opened(folder).catch((error: unknown) => error);
    assert.ok(failure("FILE_ERROR", "Another studio is at work", "stop it with Ctrl-C")(refused));
    const gone = once(killed, "exit");
    killed.kill("SIGKILL");
    await gone;
    const studio = await opened(folder);
    await isIn(studio, "long", "running");
    const next = listened(t, studio.url);
    const first = await next.heard((event) => event.event === "epoch");
    assert.ok(first.event === "epoch" && first.epoch.epoch >= 3, "it goes on where it was");
    await studio.call("POST", "/runs/long/stop");
  },
);

test(
  "a training that fails says why; wrong options are refused before; a damaged queue is none",
  { timeout: 120_000 },
  async (t) => {
    const folder = await projectFolder(t);
    const studio = await opened(folder);
    const { call } = studio;
    const wrong = async (body: object): Promise<string> => {
      const { status, json } = await call("POST", "/runs", body);
      assert.ok(status === 400 || status === 409, String(status));
      return (json as { error: { message: string } }).error.message;
    };
    assert.match(await wrong({ flags: { epochs: "none" } }), /an integer at least 1/);
    for (const flag of ["data", "out", "init", "backbone-weights", "cache-dir", "overwrite", "nothing"])
      assert.match(await wrong({ flags: { [flag]: "/etc" } }), /There is no option/);
    for (const flag of ["roi", "ignore"])
      assert.match(await wrong({ flags: { [flag]: "/etc/hostname" } }), /is a rectangle here/);
    const { options } = (await call("GET", "/training-options")).json as { options: TrainingOption[] };
    assert.ok(!options.some(({ takes }) => /FILE|DIR/.test(takes)));
    const { regime } = (await call("GET", "/project")).json as StudioProject;
    const shown = options.find(({ flag }) => flag === "perlin-threshold")!.standard;
    assert.equal(shown, String(regimePresets[regime].anomalies.perlinThreshold));
    for (const name of ["../x", "", ".hidden", "a/b"]) await wrong({ name, flags });

    writeFileSync(path.join(folder, "data", "train", "good", "000.png"), "broken");
    await call("POST", "/runs", { name: "fails", flags });
    await isIn(studio, "fails", "failed");
    const { run } = (await call("GET", "/runs/fails")).json as RunDetails;
    assert.match(run.error!, /000\.png/);
    assert.match(await wrong({ name: "fails", flags }), /There is a run 'fails' already/);
    await studio.studio.close();
    writeFileSync(path.join(folder, ".studio", "trainings.json"), "{");
    const next = await opened(folder);
    assert.deepEqual((await next.call("GET", "/runs")).json, { runs: [] });
    await next.studio.close();

    // Of several entries those that can be read are kept.
    const kept = { name: "kept", state: "stopped", flags, data: null, error: null };
    const damaged = [
      null,
      7,
      "x",
      { ...kept, name: "a", flags: null },
      { ...kept, name: "b", flags: { epochs: 2 } },
      { ...kept, name: "c", flags: ["x"] },
      { ...kept, name: "d", state: "odd" },
      { ...kept, name: "../e" },
      { ...kept, name: "f", error: 3 },
    ];
    writeFileSync(path.join(folder, ".studio", "trainings.json"), JSON.stringify([...damaged, kept]));
    const { json } = await (await opened(folder)).call("GET", "/runs");
    assert.deepEqual(
      (json as { runs: StudioRun[] }).runs.map(({ name, state: its }) => [name, its]),
      [["kept", "stopped"]],
    );
  },
);
