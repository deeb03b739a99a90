import { setTimeout as sleep } from "node:timers/promises";

import type { IClientOptions, MqttClient } from "mqtt";

import { orAborted } from "../images/stream.js";
import type { Health } from "./health.js";
import { optionalPackage } from "./optional.js";
import { type Delivery, type Receiver } from "./spooled.js";

/** What stands on TOPIC/status, retained. */
type State = { state: "online" | "offline"; time?: string };

export interface MqttOptions {
  password: string | undefined;
  retryDelayMs: number;
  health: Health;
}

/** The topic below which everything is published: the address's path. */
export const topicOf = ({ pathname }: URL): string =>
  decodeURIComponent(pathname.replace(/^\/|\/$/g, "")) || "supersimplenet";

export interface BrokerOptions {
  password: string | undefined;
  /** Pause before the connection is tried again. */
  retryDelayMs: number;
  /** What the broker says, retained, when this process is gone. */
  will: { topic: string; payload: string };
}

/** A connection to a broker that is made again whenever it is lost. */
export async function connectTo(url: URL, { password, retryDelayMs, will }: BrokerOptions): Promise<MqttClient> {
  const { connect } = await optionalPackage("mqtt", "5", () => import("mqtt"));
  const options: IClientOptions = {
    will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true },
    keepalive: 20,
    reconnectPeriod: retryDelayMs,
    connectTimeout: 10_000,
    ...(password !== undefined && { password }),
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
  };
  return connect(`${url.protocol}//${url.host}`, options);
}

/** Says goodbye with a last message, so that the broker does not send the will too, if it is there to take it. */
export async function disconnect(client: MqttClient, { topic, payload }: BrokerOptions["will"]): Promise<void> {
  const leave = async (): Promise<void> => {
    await client.publishAsync(topic, payload, { qos: 1, retain: true });
    await client.endAsync();
  };
  if (client.connected) await Promise.race([leave().catch(() => undefined), sleep(2000, undefined, { ref: false })]);
  client.end(true);
}

/**
 * Publishes results on TOPIC/result with QoS 1. TOPIC/status is retained: "online" while this process is connected,
 * "offline" once it has gone, by the broker (last will) where it could not say so.
 */
export async function mqtt(url: URL, { password, retryDelayMs, health }: MqttOptions): Promise<Receiver> {
  const topic = topicOf(url);
  const status = `${topic}/status`;
  const say = (state: State): string => JSON.stringify(state);
  const will = { topic: status, payload: say({ state: "offline" }) };
  const client = await connectTo(url, { password, retryDelayMs, will });
  let ended = false;
  client.on("connect", () => {
    client.publish(status, say({ state: "online", time: new Date().toISOString() }), { qos: 1, retain: true });
    health.works();
  });
  client.on("error", (error) => health.failed(error));
  client.on("close", () => ended || health.failed(`not connected to ${url.host}`));

  const publish = ({ id, result }: Delivery): Promise<unknown> =>
    client.publishAsync(`${topic}/result`, JSON.stringify({ delivery: id, ...result }), { qos: 1 });
  return {
    // Several are on their way at once; the client sends again what was not acknowledged when it is connected again.
    batch: 16,
    async send(deliveries, signal) {
      if (!client.connected)
        await orAborted(new Promise<void>((resolve) => client.once("connect", () => resolve())), signal);
      await orAborted(Promise.all(deliveries.map(publish)), signal);
    },
    async close() {
      ended = true;
      await disconnect(client, will);
    },
  };
}
