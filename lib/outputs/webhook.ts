import { createHmac } from "node:crypto";

import { type Delivery, type Receiver, Refused } from "./spooled.js";

const timeoutMs = 10_000;

/** Statuses that say that this result will never be taken; any other but 2xx may be a matter of time or of a setting. */
const refusals: readonly number[] = [400, 413, 415, 422];

/**
 * The headers that sign a delivery, by the Standard Webhooks specification (standardwebhooks.com): HMAC-SHA256 over
 * "id.seconds.body" in Base64. A secret that begins with whsec_ is the Base64 of the key.
 */
export function signature(secret: string, id: string, seconds: number, body: string): Record<string, string> {
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
  const signed = createHmac("sha256", key).update(`${id}.${seconds}.${body}`).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": String(seconds), "webhook-signature": `v1,${signed}` };
}

/** POSTs one result after the other, as JSON. Proxies: HTTPS_PROXY, HTTP_PROXY, NO_PROXY. Redirects are not followed. */
export async function webhook(url: URL, secret: string | undefined): Promise<Receiver> {
  const { EnvHttpProxyAgent, request } = await import("undici"); // here: who only detects does not load it
  const agent = new EnvHttpProxyAgent({ connect: { timeout: timeoutMs } });
  const { username, password } = url;
  const target = new URL(url);
  target.username = target.password = "";
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
  const own = {
    "content-type": "application/json",
    "user-agent": "supersimplenet",
    ...(username && { authorization: `Basic ${login}` }),
  };
  const post = async ({ id, result }: Delivery, signal: AbortSignal): Promise<void> => {
    const body = JSON.stringify(result);
    const seconds = Math.floor(Date.now() / 1000);
    const signed = secret === undefined ? { "webhook-id": id } : signature(secret, id, seconds, body);
    const { statusCode, body: answer } = await request(target, {
      method: "POST",
      headers: { ...own, ...signed },
      body,
      dispatcher: agent,
      signal,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    await answer.dump();
    if (statusCode >= 200 && statusCode < 300) return;
    const what = `${target.host} answered ${statusCode}`;
    throw refusals.includes(statusCode) ? new Refused(what) : new Error(what);
  };
  return {
    batch: 1,
    async send(deliveries, signal) {
      for (const delivery of deliveries) await post(delivery, signal);
    },
    close: () => agent.destroy(),
  };
}
