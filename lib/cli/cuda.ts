import { SuperSimpleNetError } from "../errors.js";
import { didYouMean } from "../options.js";
import { interruptible } from "./interrupt.js";
import { command, flag, text } from "./options.js";
import { output, table } from "./output.js";

const actions = ["install", "list"] as const;

export const cuda = command({
  name: "cuda",
  summary: "fetch the CUDA build of libtorch, for an NVIDIA GPU",
  description:
    "'install' downloads the pinned CUDA build of libtorch (PyTorch's wheel and NVIDIA's) into the cache folder and checks every file; it goes on where an earlier call stopped. 'list' shows the wheels. docs/guides/gpu.md tells more.",
  positionals: { usage: "install|list", min: 1, max: 1, what: "install or list" },
  options: {
    from: text("DIR", "take the wheels from this folder instead of downloading them"),
    index: text(
      "URL",
      "Python package index to download from (default: SUPERSIMPLENET_WHEELS_URL, else PIP_INDEX_URL; without either, pip downloads)",
    ),
    force: flag("install again what is there"),
  },
  examples: ["supersimplenet cuda install", "supersimplenet cuda list", "supersimplenet cuda install --from wheels/"],
  async run(values, [first]) {
    const action = actions.find((name) => name === first);
    if (action === undefined) {
      const near = didYouMean(first ?? "", actions);
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        `cuda: expected one of ${actions.join(", ")} but received '${first}'.${near ? ` Did you mean '${near}'?` : ""}`,
      );
    }
    const { cudaWheels, installCuda } = await import("../native/cuda_install.js");
    const { locateCudaAddon, pinned } = await import("../native/locate.js");
    if (action === "list") {
      if (values.from !== undefined || values.index !== undefined || values.force)
        throw new SuperSimpleNetError(
          "INVALID_OPTION",
          "cuda list: --from, --index and --force belong to install. See 'supersimplenet cuda --help'.",
        );
      const wheels = cudaWheels();
      output.result(
        table([
          ["WHEEL", "SIZE", "SHA-256"],
          ...wheels.map(({ file, bytes, sha256 }) => [file, megabytes(bytes), sha256]),
        ]),
      );
      output.document({ version: pinned.cuda.version, wheels });
      return 0;
    }
    const installed = await interruptible(
      (signal) =>
        installCuda({ from: values.from, indexUrl: values.index, force: values.force, signal, onProgress: show() }),
      "Stopping; what was downloaded is kept for the next time.",
    );
    output.done();
    output.result(
      `libtorch ${installed.version} for CUDA: ${installed.folder}${installed.installed ? "" : " (was there already)"}`,
    );
    if (!locateCudaAddon()) output.warn("the engine for CUDA is missing: 'supersimplenet doctor' tells how to get it.");
    output.document(installed);
    return 0;
  },
});

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

function show(): (progress: { stage: string; file: string; bytes: number; total: number }) => void {
  let shown = "";
  return ({ stage, file, bytes, total }) => {
    output.progress(`${stage} ${megabytes(bytes)} of ${megabytes(total)}  ${file}`);
    if (!output.isTerminal && shown !== stage + file) output.log(`${stage} ${file}`);
    shown = stage + file;
  };
}
