import type { Health } from "../outputs/health.js";
import { connectTo, disconnect, topicOf } from "../outputs/mqtt.js";
import type { Carrier } from "./open.js";
import { partIn, TriggerRefused, type TriggerSequence } from "./sequence.js";

export interface MqttTriggerOptions {
  password: string | undefined;
  health: Health;
}

const reconnectMs = 1000;

/**
 * TOPIC/trigger and TOPIC/ack come in, TOPIC/state goes out, retained, and TOPIC/refused. What comes in is taken with
 * QoS 2, once, and not if it is retained: it would be a part of an earlier day.
 */
export async function mqttTrigger(
  url: URL,
  sequence: TriggerSequence,
  { password, health }: MqttTriggerOptions,
): Promise<Carrier> {
  const topic = topicOf(url);
  const [trigger, ack, state] = [`${topic}/trigger`, `${topic}/ack`, `${topic}/state`];
  const will = { topic: state, payload: JSON.stringify({ state: "offline" }) };
  const client = await connectTo(url, { password, retryDelayMs: reconnectMs, will });
  let closing = false;
  // Only the present state counts: none is kept for a broker that is away.
  const tell = (): void => {
    if (client.connected) client.publish(state, JSON.stringify(sequence.state), { qos: 1, retain: true });
  };
  client.on("connect", () => {
    client.subscribe([trigger, ack], { qos: 2 }, (error) => (error ? health.failed(error) : health.works()));
    tell();
  });
  client.on("error", (error) => health.failed(error));
  client.on("close", () => closing || health.failed(`not connected to ${url.host}`));

  const take = async (from: string, payload: Buffer, redelivered: boolean): Promise<void> => {
    const part = partIn(payload.toString());
    try {
      if (from === trigger) await sequence.trigger(part, { redelivered });
      else if (from === ack) sequence.acknowledge(part);
    } catch (error) {
      if (!(error instanceof TriggerRefused)) throw error;
      const { code, message, verdict } = error;
      client.publish(`${topic}/refused`, JSON.stringify({ part, code, message, ...verdict }), { qos: 1 });
    }
  };
  client.on("message", (from, payload, { retain, dup }) => {
    if (!retain) void take(from, payload, dup);
  });
  const leave = sequence.onState(tell);
  return {
    address: health.output,
    async close() {
      closing = true;
      leave();
      await disconnect(client, will);
    },
  };
}
