import { z } from "zod";

import { callback, pathType } from "./common.js";
import { option, rowOf } from "./option.js";
import { outputOptions } from "./outputs.js";
import type { Settings } from "./types.js";

/** Where a PLC tells of parts. */
export const triggerAddress = option(z.string().min(1).optional(), {
  help: "Where a PLC tells of parts and takes their verdicts: mqtt://HOST/TOPIC, mqtts://HOST/TOPIC or http://ADDRESS:PORT to listen at.",
  placeholder: "ADDRESS",
  defaultText: "nowhere",
  record: false,
});

/** Options of openTrigger. */
export const triggerOptions = z.strictObject({
  timeoutMs: option(z.int().min(10).max(3_600_000).default(5000), {
    help: "Longest time from a trigger to its verdict, in milliseconds; then the verdict is 'none'.",
    flag: "trigger-timeout-ms",
    placeholder: "MS",
  }),
  tokenFile: option(pathType.optional(), {
    help: "File with the token that a PLC must send to an http: trigger; an address that other machines reach needs one.",
    flag: "trigger-token-file",
    placeholder: "FILE",
    expected: "a path",
    defaultText: "none is asked for",
  }),
  mqttPasswordFile: option(outputOptions.shape.mqttPasswordFile.unwrap().optional(), {
    ...rowOf(outputOptions.shape.mqttPasswordFile)!,
    help: "File with the password for an mqtt: trigger; the user stands in the address.",
  }),
  onChange: callback("The connection to the broker was lost, or is there again."),
});

export type TriggerSettings = Settings<typeof triggerOptions>;
