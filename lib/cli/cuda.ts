import type { z } from "zod";

import { option, text } from "../errors.js";
import { installCudaOptions } from "../schema/downloads.js";
import { chooseAction, command, interruptible, wrongUsage } from "./command.js";
import { output, program, table } from "./output.js";

const options = installCudaOptions.pick({ from: true, indexUrl: true, force: true });

type Options = z.input<typeof options>;

export const cuda = command({
  name: "cuda",
  description:
    "'install' downloads the pinned CUDA build of libtorch (PyTorch's wheel and NVIDIA's) into the cache folder and checks every file; it goes on where an earlier call stopped. 'list' shows the wheels. docs/guides/gpu.md tells more.",
  positionals: { usage: "install|list", min: 1, max: 1, what: "install or list" },
  options,
  examples: ["supersimplenet cuda install", "supersimplenet cuda list", "supersimplenet cuda install --from wheels/"],
  async run(flags, [first]) {
    const action = chooseAction(first, ["install", "list"]);
    if (action === "install") return install(flags);
    if (Object.keys(flags).length === 0) return list();
    const only = text`${option("from")}, ${option("indexUrl")} and ${option("force")} belong to install.`;
    throw wrongUsage(only, { action });
  },
});

async function list(): Promise<number> {
  const { cudaWheels } = await import("../native/cuda_install.js");
  const { pinned } = await import("../native/locate.js");
  const wheels = cudaWheels();
  const rows = wheels.map(({ file, bytes, sha256 }) => [file, megabytes(bytes), sha256]);
  output.result(table([["WHEEL", "SIZE", "SHA-256"], ...rows]));
  output.document({ version: pinned.cuda.version, wheels });
  return 0;
}

async function install(flags: Options): Promise<number> {
  const { installCuda } = await import("../native/cuda_install.js");
  const { locateCudaAddon } = await import("../native/locate.js");
  const installed = await interruptible(
    (signal) => installCuda({ ...flags, signal, onProgress: showBytes() }),
    "Stopping; what was downloaded is kept for the next time.",
  );
  output.done();
  const before = installed.installed ? "" : " (was there already)";
  output.result(`libtorch ${installed.version} for CUDA: ${installed.folder}${before}`);
  if (!locateCudaAddon()) output.warn(`the engine for CUDA is missing: '${program} doctor' tells how to get it.`);
  output.document(installed);
  return 0;
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

function showBytes(): (progress: { stage: string; file: string; bytes: number; total: number }) => void {
  let shown = "";
  return ({ stage, file, bytes, total }) => {
    output.progress(`${stage} ${megabytes(bytes)} of ${megabytes(total)}  ${file}`);
    if (!output.isTerminal && shown !== stage + file) output.log(`${stage} ${file}`);
    shown = stage + file;
  };
}
