import { createHash } from "node:crypto";
import path from "node:path";

import type { z } from "zod";

import { invalid, shown, SuperSimpleNetError } from "../errors.js";
import { readText } from "../files/input.js";
import { outputForms, type outputOptions } from "../schema/outputs.js";
import { didYouMean } from "../schema/nearest.js";
import { Health } from "./health.js";
import type { Output } from "./output.js";

/** What an output is opened with. */
export interface Opening {
  health: Health;
  settings: z.output<typeof outputOptions>;
}

/** A place that results go to, checked but not opened. */
export interface Place {
  /** Without secrets: for status and logs. */
  name: string;
  /** Whether it needs the folder of what waits. */
  spooled: boolean;
  open(opening: Opening): Promise<Output>;
}

const kinds = ["csv", "jsonl", "sqlite", "webhook", "mqtt", "mqtts", "exec"] as const;
type Kind = (typeof kinds)[number];

/** Reads "csv:results". Throws INVALID_OPTION. */
export function placeOf(where: string, written: string): Place {
  const [, kind, rest = ""] = /^([a-z]+):(.*)$/s.exec(written) ?? [];
  if (!isKind(kind) || rest === "" || rest.includes("\0")) {
    const near = kind === undefined || isKind(kind) ? undefined : didYouMean(kind, kinds);
    const hint = near === undefined ? "" : ` (did you mean '${near}:'?)`;
    throw invalid(where, "to", `one of ${outputForms.join(", ")}${hint}`, written);
  }
  return places[kind](rest, (expected) => invalid(where, "to", expected, written), written);
}

const isKind = (kind: string | undefined): kind is Kind => kinds.includes(kind as Kind);

type Refuse = (expected: string) => SuperSimpleNetError;

const plain = (kind: Kind, rest: string, open: Place["open"]): Place => ({
  name: `${kind}:${rest}`,
  spooled: false,
  open,
});

const places: Record<Kind, (rest: string, refuse: Refuse, written: string) => Place> = {
  csv: (rest) => plain("csv", rest, async (opening) => (await import("./daily.js")).openCsv(rest, opening)),
  jsonl: (rest) => plain("jsonl", rest, async (opening) => (await import("./daily.js")).openJsonl(rest, opening)),
  sqlite: (rest) =>
    spooled(`sqlite:${rest}`, path.resolve(rest), async () => (await import("./sqlite.js")).sqlite(rest)),
  exec: (rest) =>
    spooled(`exec:${rest.split(" ")[0]}`, rest, async ({ settings }) =>
      (await import("./exec.js")).exec(rest, settings.execTimeoutMs),
    ),
  webhook(rest, refuse) {
    const url = URL.canParse(rest) ? new URL(rest) : undefined;
    if (!url || !["http:", "https:"].includes(url.protocol)) throw refuse("webhook: and an http or https address");
    // The path and the query often hold a secret.
    return spooled(`webhook:${url.origin}`, rest, async ({ settings }) =>
      (await import("./webhook.js")).webhook(url, await secretIn(settings.webhookSecretFile)),
    );
  },
  mqtt: mqttPlace,
  mqtts: mqttPlace,
};

/** The address of a topic at a broker. Undefined: it is none. */
export function brokerUrl(written: string): URL | undefined {
  const url = URL.canParse(written) ? new URL(written) : undefined;
  if (!url?.hostname || written.includes("#")) return undefined;
  try {
    return /[+#\0]/.test(decodeURIComponent(url.pathname)) ? undefined : url;
  } catch {
    return undefined;
  }
}

/** The address of a topic without its secrets. */
export const brokerName = ({ protocol, host, pathname }: URL): string => `${protocol}//${host}${pathname}`;

function mqttPlace(_: string, refuse: Refuse, written: string): Place {
  const url = brokerUrl(written);
  if (!url) throw refuse("mqtt://HOST:PORT/TOPIC, without + and # in the topic");
  return spooled(brokerName(url), written, async ({ settings, health }) => {
    const password = await secretIn(settings.mqttPasswordFile);
    return (await import("./mqtt.js")).mqtt(url, { password, retryDelayMs: settings.retryDelayMs, health });
  });
}

/** `identity`: two addresses of one kind have queues of their own. */
function spooled(
  name: string,
  identity: string,
  receiver: (opening: Opening) => Promise<import("./spooled.js").Receiver>,
): Place {
  const kind = name.slice(0, name.indexOf(":"));
  return {
    name,
    spooled: true,
    async open(opening) {
      const { SpooledOutput } = await import("./spooled.js");
      const { stateDir, spoolMiB, retryDelayMs } = opening.settings;
      const hash = createHash("sha256").update(identity).digest("hex").slice(0, 12);
      const folder = path.resolve(stateDir, "outputs", `${kind}-${hash}`);
      const to = await receiver(opening);
      const options = { folder, mostBytes: spoolMiB * 2 ** 20, retryDelayMs, health: opening.health };
      return SpooledOutput.open(to, options).catch(async (error: unknown) => {
        await to.close();
        throw error;
      });
    },
  };
}

/** The first line of a file. */
export async function secretIn(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const [secret = ""] = (await readText(file)).split(/\r?\n/);
  if (secret === "")
    throw new SuperSimpleNetError("FILE_ERROR", `The first line of ${shown(file)} is empty.`, { path: file });
  return secret;
}
