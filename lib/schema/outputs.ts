import { z } from "zod";

import { callback, pathType } from "./common.js";
import { option } from "./option.js";
import type { Settings } from "./types.js";

/** The kinds of outputs, as docs/guides/outputs.md describes them. */
export const outputForms = [
  "csv:DIR",
  "jsonl:DIR",
  "sqlite:FILE",
  "webhook:URL",
  "mqtt://HOST/TOPIC",
  "exec:COMMAND",
] as const;

const file = { placeholder: "FILE", expected: "a path" };

/** Where results go. On the command line the flag may be given several times. */
export const to = option(z.array(z.string().min(1)).readonly().optional(), {
  help: `Where results go: ${outputForms.join(", ")}. Give it several times for several.`,
  placeholder: "OUTPUT",
  defaultText: "nowhere",
  read: (written, before) => [...((before as string[] | undefined) ?? []), written],
  record: false,
});

/** Options of openOutputs. */
export const outputOptions = z.strictObject({
  stateDir: option(pathType.default(".supersimplenet"), {
    help: "Folder of what must outlive the process: results that wait for a receiver. One process at a time uses it.",
    placeholder: "DIR",
    expected: "a folder",
  }),
  spoolMiB: option(
    z
      .int()
      .min(1)
      .max(2 ** 20)
      .default(256),
    {
      help: "Disk space of the results that wait for one receiver; beyond it the oldest are given up.",
      placeholder: "MIB",
      flag: "spool-mib",
    },
  ),
  webhookSecretFile: option(pathType.optional(), {
    ...file,
    help: "File with the secret that signs what goes to webhook: outputs.",
    defaultText: "not signed",
  }),
  mqttPasswordFile: option(pathType.optional(), {
    ...file,
    help: "File with the password for mqtt: outputs; the user stands in the address.",
    defaultText: "none",
  }),
  execTimeoutMs: option(z.int().min(1).max(3_600_000).default(10_000), {
    help: "Longest run of a program of exec: outputs, in milliseconds; then it is ended and tried again.",
    placeholder: "MS",
  }),
  retryDelayMs: option(z.number().min(1).max(600_000).default(1000), {
    help: "Pause before the second attempt, in milliseconds; it doubles each time, up to a minute.",
    flag: false,
  }),
  onChange: callback("An output began to fail, or works again."),
});

export type OutputSettings = Settings<typeof outputOptions>;
