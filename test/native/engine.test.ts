import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";

import { type Diagnosis, diagnose } from "../../lib/diagnose.js";
import type { TrainerConfig } from "../../lib/native/binding.js";
import { engine, engineFiles } from "../../lib/native/engine.js";
import { minor, pinned } from "../../lib/native/locate.js";
import { testing } from "../support/native.js";
import { detectorConfig, trainerConfig } from "../support/trainer_config.js";

const native = path.join(__dirname, "../../lib/native");

test("the engine runs with the libtorch that was located", () => {
  const { libtorch } = engine().versions();
  assert.equal(minor(libtorch), minor(engineFiles().libtorch.version));
  assert.equal(engine().devices()[0], "cpu");
  assert.equal(engine(), engine());
});

test("native errors arrive as SuperSimpleNetError with a code", async () => {
  const missing = path.join(os.tmpdir(), "ssn-does-not-exist.safetensors");
  await assert.rejects(engine().readPickle(missing), { name: "SuperSimpleNetError", code: "FILE_NOT_FOUND" });
});

test("a native error's stack shows who called or awaited the engine", async () => {
  async function awaitedHere(): Promise<void> {
    await engine().readPickle("/does/not/exist");
  }
  await assert.rejects(awaitedHere(), ({ stack }: Error) => /awaitedHere/.test(stack!) && !/createError/.test(stack!));
  function calledHere(): void {
    engine().flipImage(new Uint8Array(1), 2, 2, 3, 0);
  }
  assert.throws(calledHere, ({ stack }: Error) => /calledHere/.test(stack!) && !/createError/.test(stack!));
});

test("a name that the engine does not know, or a missing option, fails and does not become a default", () => {
  for (const wrong of [
    { variant: "JIMS" },
    { compute: "fast" },
    { precision: "float64" },
    { precision: "float16" },
    { classificationHead: "none" },
    { ablation: { ...trainerConfig().ablation, syntheticAnomalies: "other" } },
    { ablation: { ...trainerConfig().ablation, loss: "other" } },
    { featureCachePrecision: "float64" },
    { upscale: undefined },
    { nccl: undefined },
  ])
    assert.throws(() => engine().createTrainer({ ...trainerConfig(), ...wrong } as TrainerConfig, {}, {}), {
      name: "SuperSimpleNetError",
      code: "INTERNAL",
    });
});

test("every object of a kind has the same class: each definition would stay in memory for ever", async () => {
  const native = engine();
  const backbone = await native.randomBackbone("resnet18", 0);
  const heads = await native.randomHeads(128, 0);
  const makers = [
    () => native.createDetector(detectorConfig({ layers: ["layer2"] }), backbone, heads),
    () => native.createTrainer(trainerConfig({ layers: ["layer2"] }), backbone, heads),
    () =>
      native.createGroup({
        rank: 0,
        worldSize: 2,
        masterAddress: "127.0.0.1",
        masterPort: 1,
        launcherStore: true,
        prefix: "",
        timeoutSeconds: 1,
        joinTimeoutSeconds: 1,
      }),
  ];
  const classes = new Set();
  for (const make of makers) for (let i = 0; i < 2; i++) classes.add(Object.getPrototypeOf(await make()));
  assert.equal(classes.size, makers.length);
});

test("OUT_OF_MEMORY says how much could not be had, and what helps", () => {
  // More than a processor can address.
  assert.throws(() => testing().perlinMasks(0, 0, 2 ** 20, 2 ** 16, 2 ** 16, 0.5), {
    code: "OUT_OF_MEMORY",
    message: `Not enough memory: ${2 ** 54} bytes (${2 ** 34} MiB) could not be had. Take smaller batches ('batchSize'), or train with smaller images ('imageSize') or a smaller feature cache ('cache.memoryMiB').`,
  });
});

/** Runs `script` with SUPERSIMPLENET_LIBTORCH at a folder of damaged libraries of the given version. */
function withDamagedLibtorch(version: string, script: string): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ssn-libtorch-"));
  try {
    mkdirSync(path.join(folder, "lib"));
    for (const file of pinned.libraries[process.platform]!)
      writeFileSync(path.join(folder, "lib", file), "not a library");
    writeFileSync(path.join(folder, "build-version"), `${version}\n`);
    const run = spawnSync(process.execPath, ["-e", script], {
      encoding: "utf8",
      env: { ...process.env, SUPERSIMPLENET_LIBTORCH: folder },
    });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a libtorch that cannot be opened is LIBTORCH_LOAD_FAILED; the wrong version is found before anything is opened", () => {
  const script = `try { require(${JSON.stringify(path.join(native, "engine.js"))}).engine(); } catch (e) { console.log(e.code); }`;
  assert.equal(withDamagedLibtorch(pinned.version, script), "LIBTORCH_LOAD_FAILED\n");
  assert.equal(withDamagedLibtorch("1.9.0", script), "LIBTORCH_VERSION\n");
});

test("diagnose: a working installation", () => {
  const { problems, ...found } = diagnose();
  assert.deepEqual(
    problems.filter((problem) => problem.fatal),
    [],
  );
  assert.equal(found.package.name, "supersimplenet");
  assert.equal(found.devices[0], "cpu");
  assert.equal(found.libtorch?.folder, engineFiles().libtorch.folder);
  assert.ok(found.cpu.capability);
});

test("diagnose: a wrong libtorch is a problem with a command, and the rest is still reported", () => {
  const script = `console.log(JSON.stringify(require(${JSON.stringify(path.join(native, "..", "diagnose.js"))}).diagnose()));`;
  const found = JSON.parse(withDamagedLibtorch("1.9.0", script)) as Diagnosis;
  const [problem] = found.problems;
  assert.equal(problem?.code, "LIBTORCH_VERSION");
  assert.match(problem.fix, /^unset SUPERSIMPLENET_LIBTORCH && /);
  assert.equal(found.libtorch, null);
  assert.deepEqual(found.devices, []);
  assert.ok(found.addon?.builtFor);
});
