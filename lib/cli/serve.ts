import { serverOptions } from "../schema/server.js";
import { command, interruptible } from "./command.js";
import { output } from "./output.js";

export const serve = command({
  name: "serve",
  description:
    "Answers HTTP requests with the verdict on images (docs/guides/server.md). It listens on this machine only, unless told otherwise. The log goes to stderr, one JSON object a line. SIGTERM and Ctrl-C stop it when the running requests are answered.",
  options: serverOptions.omit({ token: true, onLog: true }),
  examples: [
    "supersimplenet serve --model bottle=runs/bottle/model.safetensors",
    "supersimplenet serve --model cap=cap.safetensors --host 0.0.0.0 --token-file token.txt --allow-host camera-pc",
    "curl --data-binary @part.png http://127.0.0.1:8080/api/v1/models/bottle/detect",
  ],
  async run(flags) {
    output.worksOn = true;
    const { createServer } = await import("../server/create.js");
    const onLog = (line: string): void => output.log(line.trimEnd());
    return interruptible(async (signal) => {
      const server = await createServer({ ...flags, onLog });
      try {
        output.result(`Serving ${server.modelNames.join(", ")} at ${server.url}`);
        output.document({ url: server.url, models: server.modelNames });
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      } finally {
        await server.close();
      }
      return 0;
    }, "Stopping after the running requests.");
  },
});
