import { invalid } from "../errors.js";
import { Health } from "../outputs/health.js";
import { brokerName, brokerUrl, secretIn } from "../outputs/places.js";
import { check } from "../schema/check.js";
import { triggerOptions, type TriggerSettings } from "../schema/trigger.js";
import { TriggerSequence } from "./sequence.js";

/** Options of openTrigger. */
export interface TriggerOptions extends TriggerSettings {
  /** Told once when the broker cannot be reached, with why, and once when it can again, without. */
  onChange?: ((trigger: string, error: string | undefined) => void) | undefined;
}

/** A PLC that tells of parts, over MQTT or HTTP. */
export interface Trigger {
  /** For watchFolder. */
  readonly sequence: TriggerSequence;
  /** Without secrets; of HTTP the address that is listened at. */
  readonly address: string;
  /** Says "offline" and takes no more parts. */
  close(): Promise<void>;
}

/** What carries the messages of a sequence. */
export type Carrier = Omit<Trigger, "sequence">;

/**
 * Opens "mqtt://HOST/TOPIC", "mqtts://HOST/TOPIC" or "http://ADDRESS:PORT", where a PLC tells of parts and takes their
 * verdicts (docs/guides/trigger.md). For another bus, make a TriggerSequence and call it.
 *
 * Errors: INVALID_OPTION (also: a package that is not installed, an address that is taken, or that other machines reach
 * without a token), FILE_NOT_FOUND and the like for its files.
 */
export async function openTrigger(address: string, options: TriggerOptions = {}): Promise<Trigger> {
  const where = "openTrigger";
  const { timeoutMs, tokenFile, mqttPasswordFile } = check(where, triggerOptions, options);
  const sequence = new TriggerSequence(timeoutMs);
  const carrier = await (async (): Promise<Carrier> => {
    if (/^mqtts?:/.test(address)) {
      const url = brokerUrl(address);
      if (!url) throw invalid(where, "trigger", "mqtt://HOST:PORT/TOPIC, without + and # in the topic", address);
      const health = new Health(brokerName(url), (name, error) => options.onChange?.(name, error));
      const password = await secretIn(mqttPasswordFile);
      return (await import("./mqtt.js")).mqttTrigger(url, sequence, { password, health });
    }
    const url = URL.canParse(address) ? new URL(address) : undefined;
    const isPlain = url && url.href === `${url.protocol}//${url.host}/`;
    if (url?.protocol !== "http:" || !isPlain)
      throw invalid(where, "trigger", "mqtt://HOST/TOPIC, mqtts://HOST/TOPIC or http://ADDRESS:PORT", address);
    return (await import("./http.js")).httpTrigger(url, sequence, tokenFile);
  })();
  return { sequence, ...carrier };
}
