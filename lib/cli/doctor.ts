import { z } from "zod";

import type { Diagnosis } from "../diagnose.js";
import { command } from "./command.js";
import { output, table } from "./output.js";

export const doctor = command({
  name: "doctor",
  description:
    "Prints the versions, the libtorch that was found and where, the devices, the threads and the cache folder. The exit code is 1 when something keeps the package from working.",
  options: z.strictObject({}),
  examples: ["supersimplenet doctor", "supersimplenet doctor --json"],
  async run() {
    const { diagnose } = await import("../diagnose.js");
    const diagnosis = diagnose();
    const broken = diagnosis.problems.some(({ fatal }) => fatal);
    output.result(table(report(diagnosis)));
    for (const { code, text, fix, fatal } of diagnosis.problems)
      output.result(`\n${fatal ? "problem" : "note"} [${code}] ${text}\n  fix: ${fix}`);
    output.result(broken ? "" : "\nEverything that is needed is there.");
    output.document({ ok: !broken, ...diagnosis });
    return broken ? 1 : 0;
  },
});

function report(diagnosis: Diagnosis): string[][] {
  const { package: self, node, platform, cpu, memory, mkldnn, sharp, devices, choice, environment, cache } = diagnosis;
  const threads = process.env["SUPERSIMPLENET_THREADS"];
  return [
    ["package", `${self.name} ${self.version} in ${self.folder}`],
    ["node", `${node}, ${platform}`],
    ["system", systemText(diagnosis)],
    ["cpu", `${cpu.model}, ${cpu.cores} cores${cpu.capability === null ? "" : `, ${cpu.capability}`}`],
    ["memory", `${gibibytes(memory.total)}, ${gibibytes(memory.free)} free`],
    ["engine", engineText(diagnosis)],
    ["libtorch", libtorchText(diagnosis.libtorch) ?? "not found"],
    ["mkldnn", mkldnn ?? "unknown"],
    ["sharp", sharp ?? "does not open"],
    ["cuda", cudaText(diagnosis)],
    ["devices", devices.length === 0 ? "unknown" : devices.join(", ")],
    ["device", choice === null ? "unknown" : `${choice.kind}: ${choice.reason}`],
    ["threads", threads ? `${threads} (SUPERSIMPLENET_THREADS)` : `${cpu.cores}`],
    ...Object.entries(environment).map(([name, value], i) => [i === 0 ? "set" : "", `${name}=${value}`]),
    ["cache", cache.folder ?? "none"],
    ...cache.entries.map((entry) => ["", `${entry.path}  ${mebibytes(entry.bytes)}`]),
  ];
}

function systemText({ system, platform, glibc, glibcNeeded }: Diagnosis): string {
  const name = `${system.name ?? "unknown"}, ${system.kernel}`;
  if (!platform.startsWith("linux")) return name;
  return `${name}, ${glibc === null ? "no glibc" : `glibc ${glibc}`} (${glibcNeeded} or newer is needed)`;
}

function engineText({ addon }: Diagnosis): string {
  if (addon === null) return "not found";
  return addon.builtFor === null ? addon.folder : `${addon.folder}, built for libtorch ${addon.builtFor}`;
}

function libtorchText(libtorch: Diagnosis["libtorch"]): string | undefined {
  return libtorch === null ? undefined : `${libtorch.version} in ${libtorch.folder} (${libtorch.foundBy})`;
}

function cudaText({ cuda }: Diagnosis): string {
  const libtorch = libtorchText(cuda.libtorch);
  const engine =
    cuda.addon === null
      ? "no engine"
      : `engine ${cuda.addon.folder}, ${libtorch === undefined ? "no libtorch" : `libtorch ${libtorch}`}`;
  return `${cuda.driver ?? "no NVIDIA driver"}; ${engine}`;
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
