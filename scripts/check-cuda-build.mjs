// Checks as much of the CUDA engine as a machine without a GPU can: it compiles and links; with every GPU hidden it opens,
// equals the authors' code on the CPU (forward passes and training steps), 'cuda' is a typed error (no driver, an old one, one that
// crashes), 'auto' takes the CPU.
//   npm run check:cuda-build        (SUPERSIMPLENET_LIBTORCH_CUDA: a CUDA build of libtorch; docs/guides/gpu.md)
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { compileTypeScript, installPackages } from "./lib/javascript.mjs";
import { cudaLibtorch, ensureLibtorch } from "./lib/libtorch.mjs";
import { buildNative } from "./lib/native.mjs";
import { root } from "./lib/paths.mjs";
import { Failure, run, step } from "./lib/steps.mjs";

/** Runs `script` with the CUDA engine and no GPU; what it returns. The engine ends on `process.exit`. */
function inCudaEngine(script, variables = {}) {
  const native = JSON.stringify(path.join(root, "dist", "lib", "native"));
  const body = `const { engine, engineFiles } = require(${native} + "/engine.js"), { resolveDevice } = require(${native} + "/device.js");
    process.stdout.write("\\n" + JSON.stringify((() => { ${script} })()));`;
  const child = spawnSync(process.execPath, ["-e", body], {
    encoding: "utf8",
    cwd: root,
    env: { ...environment, ...variables },
  });
  if (child.status !== 0)
    throw new Failure(
      `A process with the CUDA engine ended with ${child.signal ?? child.status}.`,
      "See its output above.",
      child.stderr,
    );
  return JSON.parse(child.stdout.split("\n").at(-1));
}

const environment = { ...process.env, SUPERSIMPLENET_ENGINE: "cuda", CUDA_VISIBLE_DEVICES: "" };

function expect(condition, what, found) {
  if (!condition)
    throw new Failure(`${what}; found: ${JSON.stringify(found)}`, "This is an error of the package: report it.");
}

try {
  let libtorch;
  await step("npm packages", installPackages);
  await step("TypeScript", () => compileTypeScript(false));
  await step("CPU engine", async (progress) =>
    buildNative({ libtorch: (await ensureLibtorch({ compile: true, progress })).libtorch, progress }),
  );
  await step("CUDA engine", (progress) => buildNative({ libtorch: (libtorch = cudaLibtorch()), progress, cuda: true }));
  await step("opens without a GPU", async () => {
    const found = inCudaEngine(
      "return { versions: engine().versions(), devices: engine().devices(), status: engine().cudaStatus(), folder: engineFiles().libtorch.folder };",
    );
    expect(found.folder === libtorch.folder, "The CUDA engine opens the libtorch it was built against", found);
    expect(found.devices.join() === "cpu", "Only the CPU is listed", found);
    expect(
      found.status?.runtime >= 13000 && found.status.devices.length === 0 && found.status.error !== "",
      "The runtime states its version and why there is no device",
      found,
    );
    return {
      state: `libtorch ${found.versions.libtorch}, CUDA runtime ${found.status.runtime}, driver ${found.status.driver}: ${found.status.error}`,
    };
  });
  for (const engine of ["cuda", "auto"])
    await step(`device cuda is an error, auto takes the CPU (SUPERSIMPLENET_ENGINE=${engine})`, async () => {
      const found = inCudaEngine(
        `const error = (() => { try { return resolveDevice("check", "cuda"); } catch (e) { return { name: e.name, code: e.code, message: e.message }; } })();
         return { error, auto: resolveDevice("check", "auto"), held: engine().cudaStatus() !== null };`,
        { SUPERSIMPLENET_ENGINE: engine },
      );
      expect(
        found.error.name === "SuperSimpleNetError" &&
          found.error.code === "DEVICE_UNAVAILABLE" &&
          /driver/.test(found.error.message) &&
          /580/.test(found.error.message),
        "A typed error names driver and requirement",
        found,
      );
      expect(found.auto.device === "cpu" && found.auto.reason !== "", "auto takes the CPU and says why", found);
      expect(found.held === (engine === "cuda"), "The engine is the one that was chosen", found);
      return { state: found.error.message };
    });
  for (const [name, body, said] of [
    [
      "too old",
      "int cuDriverGetVersion(int *v) { *v = 12080; return 0; } int cuInit(unsigned f) { return 0; }",
      /driver is too old .*driver for CUDA 12\.8.*580/,
    ],
    [
      "that crashes",
      "void abort(void); __attribute__((constructor)) static void crash(void) { abort(); }",
      /ended by SIGABRT.*nvidia-smi/,
    ],
  ])
    await step(`a driver ${name}`, async () => {
      const folder = mkdtempSync(path.join(os.tmpdir(), "ssn-driver-"));
      try {
        const compiled = spawnSync(
          "cc",
          ["-shared", "-fPIC", "-x", "c", "-", "-o", path.join(folder, "libcuda.so.1")],
          { input: body, encoding: "utf8" },
        );
        if (compiled.status !== 0)
          throw new Failure("The driver's double does not compile.", "Install a C compiler.", compiled.stderr ?? "");
        const error = inCudaEngine(
          `try { resolveDevice("check", "cuda"); } catch (e) { return { code: e.code, message: e.message }; }`,
          { SUPERSIMPLENET_ENGINE: "auto", LD_LIBRARY_PATH: folder },
        );
        expect(
          error.code === "DEVICE_UNAVAILABLE" && said.test(error.message),
          "A typed error says so, and the process lives",
          error,
        );
        return { state: error.message };
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  await step("golden and oracle tests on the CPU, through the CUDA engine", async (progress) => {
    const files = [
      "golden/forward",
      "golden/inference",
      "golden/step",
      "golden/backbones",
      "training/oracle",
      "training/device",
      "detection/kernels",
      "anomalies/latent_noise",
    ].map((name) => path.join("dist", "test", `${name}.test.js`));
    const tests = await run(process.execPath, ["--test", "--test-concurrency=1", "--test-reporter=tap", ...files], {
      env: environment,
      onLine: (line) => /^ok/.test(line) && progress(line),
    });
    if (tests.status !== 0)
      throw new Failure("The CUDA engine does not pass on the CPU.", "The failures are above.", tests.output);
    const passed = Number(/^# pass (\d+)$/m.exec(tests.output)?.[1]);
    expect(passed > 0, "Tests ran", tests.output);
    return { state: `${passed} passed` };
  });
} catch (error) {
  console.error(error instanceof Failure ? error.report() : error);
  process.exitCode = 1;
}
