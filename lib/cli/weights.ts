import { z } from "zod";

import type { Architecture } from "../native/binding.js";
import { option as flagOf, text } from "../errors.js";
import { architectures } from "../schema/common.js";
import { architecture } from "../schema/models.js";
import { option } from "../schema/option.js";
import { chooseAction, command, interruptible, wrongUsage } from "./command.js";
import { output, program, table } from "./output.js";

export const weights = command({
  name: "weights",
  description:
    "'list' shows which weights are known and which of them are on this machine. 'pull NAME' downloads the official file and checks it. 'import FILE' copies a file that is on this machine already, for machines without internet access. docs/guides/weights.md tells more.",
  positionals: { usage: "list|pull NAME|import FILE", min: 1, max: 2, what: "list, pull NAME or import FILE" },
  options: z.strictObject({
    backbone: option(architecture.optional(), {
      help: `Backbone that the imported file belongs to: ${architectures.join(", ")}.`,
      placeholder: "NAME",
      defaultText: "found from its tensors",
    }),
  }),
  examples: [
    "supersimplenet weights list",
    `supersimplenet weights pull ${architectures[0]}`,
    "supersimplenet weights import resnet18-f37072fd.pth",
  ],
  async run({ backbone }, [first, argument]) {
    const action = chooseAction(first, ["list", "pull", "import"]);
    if (action === "list" && argument !== undefined) throw wrongUsage(`unexpected argument '${argument}'.`, { action });
    if (action !== "import" && backbone !== undefined)
      throw wrongUsage(text`${flagOf("backbone")} belongs to import.`, { action, option: "backbone", value: backbone });
    if (action === "list") return list();
    if (argument === undefined)
      throw wrongUsage(action === "pull" ? `which one? ${architectures.join(", ")}.` : "which file?", { action });
    return action === "pull" ? pull(argument) : importFile(argument, backbone);
  },
});

async function list(): Promise<number> {
  const { listWeights } = await import("../backbones/catalogue.js");
  const weights = listWeights();
  const rows = weights.map(({ name, sizeMiB, url, used }) => [
    name,
    `${sizeMiB} MiB`,
    used ?? (url === null ? "no: install the package again" : `no: ${program} weights pull ${name}`),
  ]);
  output.result(table([["NAME", "SIZE", "HERE"], ...rows]));
  output.document({ weights });
  return 0;
}

async function pull(architecture: string): Promise<number> {
  const { packaged } = await import("../backbones/catalogue.js");
  if (architecture === packaged.name || architecture === "distilled")
    throw wrongUsage(`${packaged.name} is a part of this package; there is nothing to download.`, { action: "pull" });
  const { pullWeights } = await import("../backbones/pull.js");
  const pulled = await interruptible(
    (signal) => pullWeights(architecture, { signal, onProgress: showBytes(architecture) }),
    "Stopping; what was received is kept for the next pull.",
  );
  output.done();
  output.result(`${architecture}: ${pulled.path}${pulled.downloaded ? "" : " (was there already)"}`);
  output.document({ architecture, ...pulled });
  return 0;
}

async function importFile(file: string, backbone: Architecture | undefined): Promise<number> {
  const { importWeights } = await import("../backbones/import.js");
  const imported = await importWeights(file, backbone);
  const kind = imported.official ? "the official file" : "not the official file; it is used before it";
  output.result(`${imported.architecture}: ${imported.path} (${kind})`);
  output.document(imported);
  return 0;
}

function showBytes(name: string): (progress: { received: number; total: number | undefined }) => void {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  let quarter = 0;
  return ({ received, total }) => {
    output.progress(`${name}  ${mib(received)}${total === undefined ? "" : ` of ${mib(total)}`} MiB`);
    const now = total === undefined ? 0 : Math.floor((4 * received) / total);
    if (!output.isTerminal && now > quarter) output.log(`${name}: ${25 * (quarter = now)} %`);
  };
}
