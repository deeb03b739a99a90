import { command } from "./options.js";
import { output, table } from "./output.js";

export const doctor = command({
  name: "doctor",
  summary: "check the installation; say what is wrong and which command fixes it",
  description:
    "Prints versions, the libtorch found and where, devices, threads and the cache folder. The exit code is 1 when something keeps the package from working.",
  options: {},
  examples: ["supersimplenet doctor", "supersimplenet doctor --json"],
  async run() {
    const { diagnose } = await import("../diagnose.js");
    const diagnosis = diagnose();
    const {
      package: self,
      node,
      platform,
      system,
      glibc,
      glibcNeeded,
      cpu,
      memory,
      addon,
      libtorch,
      mkldnn,
      cuda,
      choice,
      devices,
      environment,
      sharp,
      cache,
      problems,
    } = diagnosis;
    const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    output.result(
      table([
        ["package", `${self.name} ${self.version} in ${self.folder}`],
        ["node", `${node}, ${platform}`],
        [
          "system",
          `${system.name ?? "unknown"}, ${system.kernel}${platform.startsWith("linux") ? `, ${glibc === null ? "no glibc" : `glibc ${glibc}`} (${glibcNeeded} or newer is needed)` : ""}`,
        ],
        ["cpu", `${cpu.model}, ${cpu.cores} cores${cpu.capability === null ? "" : `, ${cpu.capability}`}`],
        ["memory", `${gib(memory.total)}, ${gib(memory.free)} free`],
        [
          "engine",
          addon === null
            ? "not found"
            : `${addon.folder}${addon.builtFor === null ? "" : `, built for libtorch ${addon.builtFor}`}`,
        ],
        [
          "libtorch",
          libtorch === null ? "not found" : `${libtorch.version} in ${libtorch.folder} (${libtorch.foundBy})`,
        ],
        ["mkldnn", mkldnn ?? "unknown"],
        ["sharp", sharp ?? "does not open"],
        [
          "cuda",
          `${cuda.driver ?? "no NVIDIA driver"}; ${cuda.addon === null ? "no engine" : `engine ${cuda.addon.folder}, ${cuda.libtorch === null ? "no libtorch" : `libtorch ${cuda.libtorch.version} in ${cuda.libtorch.folder} (${cuda.libtorch.foundBy})`}`}`,
        ],
        ["devices", devices.length === 0 ? "unknown" : devices.join(", ")],
        ["device", choice === null ? "unknown" : `${choice.kind}: ${choice.reason}`],
        [
          "threads",
          process.env["SUPERSIMPLENET_THREADS"]
            ? `${process.env["SUPERSIMPLENET_THREADS"]} (SUPERSIMPLENET_THREADS)`
            : `${cpu.cores}`,
        ],
        ...Object.entries(environment).map(([name, value], i) => [i === 0 ? "set" : "", `${name}=${value}`]),
        ["cache", cache.folder],
        ...cache.entries.map((entry) => ["", `${entry.path}  ${mib(entry.bytes)}`]),
      ]),
    );
    for (const { code, text, fix, fatal } of problems)
      output.result(`\n${fatal ? "problem" : "note"} [${code}] ${text}\n  fix: ${fix}`);
    const broken = problems.some(({ fatal }) => fatal);
    output.result(broken ? "" : "\nEverything that is needed is there.");
    output.document({ ok: !broken, ...diagnosis });
    return broken ? 1 : 0;
  },
});
