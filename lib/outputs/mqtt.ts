import { setTimeout as sleep } from "node:timers/promises";

import type { IClientOptions } from "mqtt";

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

/**
 * Publishes results on TOPIC/result with QoS 1. TOPIC/status is retained: "online" while this process is connected,
 * "offline" once it has gone, by the broker (last will) where it could not say so.
 */
export async function mqtt(url: URL, { password, retryDelayMs, health }: MqttOptions): Promise<Receiver> {
  const { connect } = await optionalPackage("mqtt", "5", () => import("mqtt"));
  const topic = topicOf(url);
  const status = `${topic}/status`;
  const retained = { qos: 1, retain: true } as const;
  const say = (state: State): string => JSON.stringify(state);
  const options: IClientOptions = {
    will: { topic: status, payload: Buffer.from(say({ state: "offline" })), ...retained },
    keepalive: 20,
    reconnectPeriod: retryDelayMs,
    connectTimeout: 10_000,
    ...(password !== undefined && { password }),
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
  };
  const address = `${url.protocol}//${url.host}`;
  const client = connect(address, options);
  let ended = false;
  client.on("connect", () => {
    client.publish(status, say({ state: "online", time: new Date().toISOString() }), retained);
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
      const leave = async (): Promise<void> => {
        await client.publishAsync(status, say({ state: "offline" }), retained);
        await client.endAsync(); // with a goodbye, so that the broker does not send the last will too
      };
      if (client.connected)
        await Promise.race([leave().catch(() => undefined), sleep(2000, undefined, { ref: false })]);
      client.end(true);
    },
  };
}
