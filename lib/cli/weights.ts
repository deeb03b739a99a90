import { architectures } from "../schema/common.js";
import { SuperSimpleNetError } from "../errors.js";
import { didYouMean } from "../options.js";
import { interruptible } from "./interrupt.js";
import { choice, command } from "./options.js";
import { output, table } from "./output.js";

const actions = ["list", "pull", "import"] as const;

export const weights = command({
  name: "weights",
  summary: "list, download or import trained backbone weights",
  description:
    "'list' shows what is known and what is in the cache folder, 'pull NAME' downloads the official file and checks it, 'import FILE' copies a file that is here already (for machines without internet access). docs/weights.md tells more.",
  positionals: { usage: "list|pull NAME|import FILE", min: 1, max: 2, what: "list, pull NAME or import FILE" },
  options: { backbone: choice(architectures, "of an imported file", { default: "found from its tensors" }) },
  examples: [
    "supersimplenet weights list",
    `supersimplenet weights pull ${architectures[0]}`,
    "supersimplenet weights import resnet18-f37072fd.pth",
  ],
  async run(values, [first, argument]) {
    const action = actions.find((name) => name === first);
    if (action === undefined) {
      const near = didYouMean(first ?? "", actions);
      throw new SuperSimpleNetError(
        "INVALID_OPTION",
        `weights: expected one of ${actions.join(", ")} but received '${first}'.${near ? ` Did you mean '${near}'?` : ""}`,
      );
    }
    const wrong = (message: string): SuperSimpleNetError =>
      new SuperSimpleNetError("INVALID_OPTION", `weights ${action}: ${message} See 'supersimplenet weights --help'.`);
    if (action === "list" && argument !== undefined) throw wrong(`unexpected argument '${argument}'.`);
    if (action !== "import" && values.backbone !== undefined) throw wrong("--backbone belongs to import.");
    if (action === "list") {
      const { listWeights } = await import("../backbones/list.js");
      const list = listWeights();
      output.result(
        table([
          ["NAME", "SIZE", "HERE"],
          ...list.map(({ architecture, sizeMiB, used }) => [
            architecture,
            `${sizeMiB} MiB`,
            used ?? `no: supersimplenet weights pull ${architecture}`,
          ]),
        ]),
      );
      output.document({ weights: list });
      return 0;
    }
    if (argument === undefined)
      throw wrong(action === "pull" ? `which one? ${architectures.join(", ")}.` : "which file?");
    if (action === "pull") {
      const { pullWeights } = await import("../backbones/pull.js");
      const pulled = await interruptible(
        (signal) => pullWeights(argument, { signal, onProgress: showBytes(argument) }),
        "Stopping; what was received is kept for the next pull.",
      );
      output.done();
      output.result(`${argument}: ${pulled.path}${pulled.downloaded ? "" : " (was there already)"}`);
      output.document({ architecture: argument, ...pulled });
      return 0;
    }
    const { importWeights } = await import("../backbones/import.js");
    const imported = await importWeights(argument, values.backbone);
    output.result(
      `${imported.architecture}: ${imported.path} (${imported.official ? "the official file" : "not the official file; it is used before it"})`,
    );
    output.document(imported);
    return 0;
  },
});

function showBytes(name: string): (progress: { received: number; total: number | undefined }) => void {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  let quarter = 0;
  return ({ received, total }) => {
    output.progress(`${name}  ${mib(received)}${total === undefined ? "" : ` of ${mib(total)}`} MiB`);
    const now = total === undefined ? 0 : Math.floor((4 * received) / total);
    if (!output.isTerminal && now > quarter) output.log(`${name}: ${25 * (quarter = now)} %`);
  };
}
