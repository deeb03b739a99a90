import type { Keeper } from "../outputs/keep.js";
import type { DetectionServer } from "../server/create.js";
import { serverOptions } from "../schema/server.js";
import { keepOptions } from "../schema/watch.js";
import { command, interruptible } from "./command.js";
import { refuseInDataset } from "./guards.js";
import { output } from "./output.js";
import { checkFlagged, closeFlagged, openFlagged, outputFlags, splitOutputFlags, thenClose } from "./outputs.js";

export const serve = command({
  name: "serve",
  description:
    "Answers HTTP requests with the verdict on images (docs/guides/server.md). It listens on this machine only, unless told otherwise. The log goes to stderr, one JSON object a line. SIGTERM and Ctrl-C stop it when the running requests are answered.",
  options: serverOptions.omit({ token: true, onLog: true }).extend({ ...outputFlags, ...keepOptions.shape }),
  examples: [
    "supersimplenet serve --model bottle=runs/bottle/model.safetensors",
    "supersimplenet serve --model cap=cap.safetensors --host 0.0.0.0 --token-file token.txt --allow-host camera-pc",
    "supersimplenet serve --model cap=cap.safetensors --to csv:results --to webhook:http://127.0.0.1:9000/results",
    "supersimplenet serve --model cap=cap.safetensors --keep unsure,defect,random:0.01 --keep-dir kept",
    "curl --data-binary @part.png http://127.0.0.1:8080/api/v1/models/bottle/detect",
  ],
  async run(given) {
    output.worksOn = true;
    const { outputs: flagged, others } = splitOutputFlags(given);
    await checkFlagged(flagged);
    const { keep, keepDir, keepMiB, ...flags } = others;
    if (keepDir !== undefined) refuseInDataset("keepDir", keepDir);
    const { openKeeper } = await import("../outputs/keep.js");
    const { createServer } = await import("../server/create.js");
    const onLog = (line: string): void => output.log(line.trimEnd());
    return interruptible(async (signal) => {
      const outputs = await openFlagged(flagged);
      let keeper: Keeper | undefined;
      const work = async (): Promise<void> => {
        keeper = await openKeeper({ keep, keepDir, keepMiB });
        const server = await createServer({ ...flags, onLog }, outputs, keeper);
        await served(server, signal);
      };
      await thenClose(
        work(),
        () => closeFlagged(outputs),
        () => keeper?.close(),
      );
      return 0;
    }, "Stopping after the running requests.");
  },
});

/** Until the signal fires. */
async function served(server: DetectionServer, signal: AbortSignal): Promise<void> {
  try {
    output.result(`Serving ${server.modelNames.join(", ") || "no model"} at ${server.url}`);
    output.document({ url: server.url, models: server.modelNames });
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  } finally {
    await server.close();
  }
}
