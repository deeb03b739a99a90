import { spawn } from "node:child_process";

import { studioOptions } from "../schema/studio.js";
import { command, interruptible } from "./command.js";
import { output } from "./output.js";

export const studio = command({
  name: "studio",
  description:
    "Opens a page in the browser to collect and label images, train, judge and decide (docs/guides/studio.md). It works on a folder, as the other commands do: images in data, those without a label in unlabelled, trainings in runs. Nothing leaves this machine. Ctrl-C stops it; a training goes on at the next start.",
  positionals: { usage: "[FOLDER]", min: 0, max: 1, what: "FOLDER (of the project; default: the current one)" },
  options: studioOptions,
  examples: ["supersimplenet studio bottles", "supersimplenet studio bottles --data /data/bottles --port 9000"],
  async run(flags, [folder = "."]) {
    output.worksOn = true;
    const settings = studioOptions.parse(flags);
    const { startStudio } = await import("../studio/server.js");
    return interruptible(async (signal) => {
      const onLog = (line: string): void => output.log(line.trimEnd());
      const running = await startStudio(folder, { ...settings, onLog });
      try {
        output.result(`The studio is at ${running.url}`);
        output.document({ url: running.url });
        if (!settings.withoutBrowser) openBrowser(running.url);
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      } finally {
        await running.close();
      }
      return 0;
    }, "Stopping. A training is kept and goes on at the next start.");
  },
});

/** Where there is none, the address that was printed has to do. */
function openBrowser(url: string): void {
  const opener = process.platform === "darwin" ? "open" : "xdg-open";
  spawn(opener, [url], { stdio: "ignore", detached: true })
    .on("error", () => undefined)
    .unref();
}
