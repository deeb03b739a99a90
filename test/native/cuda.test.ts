import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";

import { SuperSimpleNetError } from "../../lib/errors.js";
import type { CudaStatus } from "../../lib/native/binding.js";
import { type Unusable, chooseEngine, tryCuda } from "../../lib/native/cuda.js";
import { resolveDevice } from "../../lib/native/device.js";
import { engine } from "../../lib/native/engine.js";
import { locateCudaAddon, locateCudaLibtorch, pinned } from "../../lib/native/locate.js";

const linux = { skip: process.platform !== "linux" && "CUDA is for Linux only" };

function temporary(t: TestContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ssn-cuda-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Sets environment variables (undefined removes one) for the length of a test. */
function environment(t: TestContext, values: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name];
    t.after(() => (before === undefined ? delete process.env[name] : (process.env[name] = before)));
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/** A folder that looks like libtorch from outside. */
function fakeLibtorch(folder: string, version: string, cuda: boolean): string {
  mkdirSync(path.join(folder, "lib"), { recursive: true });
  for (const file of [...pinned.libraries["linux"]!, ...(cuda ? ["libtorch_cuda.so"] : [])])
    writeFileSync(path.join(folder, "lib", file), "");
  writeFileSync(path.join(folder, "build-version"), version);
  return folder;
}

test(
  "a CUDA libtorch: by its own variable, else SUPERSIMPLENET_LIBTORCH; 2.11 to 2.14; a wrong one is an error",
  linux,
  (t) => {
    const folder = temporary(t);
    const cuda = fakeLibtorch(path.join(folder, "cuda"), "2.11.0+cu130", true);
    const cpu = fakeLibtorch(path.join(folder, "cpu"), "2.13.0", false);
    const old = fakeLibtorch(path.join(folder, "old"), "2.10.0+cu130", true);
    environment(t, { SUPERSIMPLENET_LIBTORCH_CUDA: cuda, SUPERSIMPLENET_LIBTORCH: cpu });
    assert.deepEqual(locateCudaLibtorch(undefined), {
      folder: cuda,
      version: "2.11.0+cu130",
      foundBy: "SUPERSIMPLENET_LIBTORCH_CUDA",
    });
    assert.equal(locateCudaLibtorch("2.11.1").folder, cuda);
    const refused = (wanted: string | undefined, text: RegExp): void =>
      assert.throws(
        () => locateCudaLibtorch(wanted),
        (e: unknown) => e instanceof SuperSimpleNetError && e.code === "LIBTORCH_VERSION" && text.test(e.message),
      );
    refused("2.14.0", /2\.11\.0/);
    process.env["SUPERSIMPLENET_LIBTORCH_CUDA"] = cpu;
    refused(undefined, /not a CUDA build/);
    process.env["SUPERSIMPLENET_LIBTORCH_CUDA"] = old;
    refused(undefined, /2\.10\.0/);
    delete process.env["SUPERSIMPLENET_LIBTORCH_CUDA"];
    environment(t, { PATH: folder, SUPERSIMPLENET_CACHE: folder }); // no Python, and nothing that was installed
    assert.throws(
      () => locateCudaLibtorch(undefined),
      (e: unknown) => e instanceof SuperSimpleNetError && e.code === "LIBTORCH_NOT_FOUND" && e.message.includes(cpu),
    );
    process.env["SUPERSIMPLENET_LIBTORCH"] = cuda;
    assert.equal(locateCudaLibtorch(undefined).foundBy, "SUPERSIMPLENET_LIBTORCH");
  },
);

test("the CUDA engine is tried in a process of its own: a crash, an exception and a GPU that fails are reasons, not the end", (t) => {
  const folder = temporary(t);
  const outcome = (body: string): CudaStatus | Unusable => {
    const loader = path.join(folder, "loader.cjs");
    writeFileSync(loader, `exports.load = (libraries, engine) => { ${body} };`);
    return tryCuda({ loader, engine: "engine" }, ["library"]);
  };
  const status = (value: CudaStatus): CudaStatus | Unusable =>
    outcome(`return { shutdown() {}, cudaStatus: () => (${JSON.stringify(value)}) };`);
  const refused = (found: CudaStatus | Unusable, reason: RegExp, fix: RegExp): void => {
    assert.ok("reason" in found, JSON.stringify(found));
    assert.match(found.reason, reason);
    assert.match(found.fix, fix);
  };
  environment(t, { CUDA_VISIBLE_DEVICES: undefined });
  const gpu = { name: "GPU", capability: "9.0", bytes: 1e9, error: "" };
  refused(
    outcome("process.abort();"),
    /^the process that tried the CUDA engine was ended by SIGABRT$/,
    /nvidia-smi.*cuda install --force/,
  );
  refused(
    outcome("throw new Error('libcudart.so.13: cannot open');"),
    /^the CUDA engine does not open: libcudart\.so\.13: cannot open$/,
    /cuda install --force/,
  );
  refused(
    status({ driver: 12080, runtime: 13000, error: "insufficient", devices: [] }),
    /^the NVIDIA driver is too old \(CUDA runtime 13\.0; driver for CUDA 12\.8/,
    /^Install NVIDIA's driver, version 580 or newer/,
  );
  refused(
    status({ driver: 0, runtime: 13000, error: "no device", devices: [] }),
    /^there is no NVIDIA driver \(CUDA runtime 13\.0; no driver/,
    /docker run --gpus all/,
  );
  refused(
    status({ driver: 13000, runtime: 13000, error: "no CUDA-capable device", devices: [] }),
    /^no CUDA-capable device/,
    /nvidia-smi.*capability 7\.5/,
  );
  refused(
    status({ driver: 13000, runtime: 13000, error: "", devices: [gpu, { ...gpu, error: "no kernel image" }] }),
    /^cuda:1 \(GPU, compute capability 9\.0\) does not compute: no kernel image/,
    /capability 7\.5.*CUDA_VISIBLE_DEVICES/,
  );
  assert.deepEqual(status({ driver: 13000, runtime: 13000, error: "", devices: [gpu] }), {
    driver: 13000,
    runtime: 13000,
    error: "",
    devices: [gpu],
  });
  environment(t, { CUDA_VISIBLE_DEVICES: "-1" });
  refused(
    status({ driver: 13000, runtime: 13000, error: "no CUDA-capable device", devices: [] }),
    /no CUDA-capable device/,
    /^CUDA_VISIBLE_DEVICES is '-1': unset it/,
  );
});

test("SUPERSIMPLENET_ENGINE decides before the device; nonsense is INVALID_OPTION", (t) => {
  environment(t, { SUPERSIMPLENET_ENGINE: "gpu" });
  assert.throws(() => chooseEngine("auto"), { code: "INVALID_OPTION" });
  process.env["SUPERSIMPLENET_ENGINE"] = "cpu";
  const { kind, reason } = chooseEngine("cuda");
  assert.deepEqual([kind, reason], ["cpu", "SUPERSIMPLENET_ENGINE is cpu"]);
  process.env["SUPERSIMPLENET_ENGINE"] = "cuda";
  if (locateCudaAddon()) assert.equal(chooseEngine("cpu").kind, "cuda");
  else assert.throws(() => chooseEngine("cpu"), { code: "ENGINE_NOT_BUILT" });
});

test(
  "auto says why; cuda without a GPU is DEVICE_UNAVAILABLE with the reason",
  { skip: engine().devices().length > 1 && "this machine has a GPU" },
  () => {
    const { device, reason } = resolveDevice("test", "auto");
    assert.equal(device, "cpu");
    assert.notEqual(reason, "");
    assert.throws(
      () => resolveDevice("test", "cuda:1"),
      (e: unknown) =>
        e instanceof SuperSimpleNetError &&
        e.code === "DEVICE_UNAVAILABLE" &&
        e.message.includes("cuda:1") &&
        e.message.includes(reason) &&
        e.message.includes("Available: cpu"),
    );
  },
);
