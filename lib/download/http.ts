import type { IncomingHttpHeaders } from "node:http";
import { unescape } from "node:querystring";

import { shownUrl } from "../errors.js";

/** A transfer that failed on the way. `retry`: whether the same request may succeed later. */
export class TransferError extends Error {
  constructor(
    message: string,
    readonly retry: boolean,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

export interface GetOptions {
  headers?: Record<string, string>;
  /** Longest silence of the server, in milliseconds. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

export interface Response {
  status: number;
  statusText: string;
  headers: IncomingHttpHeaders;
  /** The address that answered, after redirects. */
  url: URL;
  /** Throws TransferError when the connection breaks. */
  body: AsyncIterable<Buffer>;
}

/**
 * Sends a GET request, through the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name (lower case first, as curl does),
 * and follows redirects. Resolves with what `read` returns for the response, whatever its status; the connection is
 * closed then. Throws TransferError.
 */
export async function get<T>(
  address: string,
  options: GetOptions,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  let url = new URL(address);
  for (let redirects = 0; redirects <= 5; redirects++) {
    const outcome = await getOnce(url, options, async (response) => {
      const next = redirectOf(response);
      return next ? { next } : { result: await read(response) };
    });
    if (!outcome.next) return outcome.result;
    url = outcome.next;
  }
  throw new TransferError(`${url.host} redirects more than five times`, false);
}

/** Where the response redirects to; undefined when it does not. Refuses to leave https. */
function redirectOf({ status, headers: { location }, url }: Response): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status) || !location) return undefined;
  if (!URL.canParse(location, url.href))
    throw new TransferError(`${url.host} redirects to '${shownUrl(location)}', which is not an address`, false);
  const next = new URL(location, url);
  if (next.protocol !== "https:" && (next.protocol !== "http:" || url.protocol === "https:"))
    throw new TransferError(`${url.host} redirects to the insecure address ${shownUrl(next.href)}`, false);
  return next;
}

async function getOnce<T>(
  url: URL,
  { headers, timeoutMs, signal }: GetOptions,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const proxy = proxyFor(url);
  const { EnvHttpProxyAgent, Pool, request } = await import("undici"); // here: who only detects does not load it
  const timeouts = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs };
  const agent = new EnvHttpProxyAgent({
    httpProxy: proxy?.href ?? "",
    httpsProxy: proxy?.href ?? "",
    noProxy: variable("NO_PROXY"),
    proxyTunnel: false,
    ...(proxy?.username && { token: authorization(proxy) }),
    connect: { timeout: timeoutMs },
    proxyTls: { timeout: timeoutMs },
    requestTls: { timeout: timeoutMs },
    clientFactory: (origin, options) => new Pool(origin, { ...options, ...timeouts }),
  });
  const explained = (error: unknown): TransferError => explain(error, url, timeoutMs, proxy);
  // Not undici's own signal: it does not end a connection that is being opened.
  const stop = (): void => void agent.destroy();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const response = await request(url, {
      ...timeouts,
      dispatcher: agent,
      headers: {
        "user-agent": "supersimplenet",
        ...(url.username && { authorization: authorization(url) }),
        ...headers,
      },
    }).catch((error: unknown) => {
      throw explained(error);
    });
    const { statusCode: status, statusText, body } = response;
    return await read({ status, statusText, headers: response.headers, url, body: chunks(body, explained) });
  } finally {
    signal?.removeEventListener("abort", stop);
    await agent.destroy();
  }
}

/** Names what fails while reading, unlike what fails in the loop that takes the chunks. */
async function* chunks(
  body: AsyncIterable<unknown>,
  explained: (error: unknown) => TransferError,
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of body) yield chunk as Buffer;
  } catch (error) {
    throw explained(error);
  }
}

function explain(error: unknown, url: URL, timeoutMs: number, proxy: URL | undefined): TransferError {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "UND_ERR_CONNECT_TIMEOUT":
    case "UND_ERR_HEADERS_TIMEOUT":
    case "UND_ERR_BODY_TIMEOUT":
      return new TransferError(`the server sent nothing for ${timeoutMs / 1000} s`, true, error);
    case "UND_ERR_SOCKET":
    case "UND_ERR_RES_CONTENT_LENGTH_MISMATCH":
    case "ECONNRESET":
      return new TransferError("the connection broke off", true, error);
  }
  // undici states the proxy's status in its text alone.
  const refused = Number(/^Proxy \D*\((\d{3})\)/.exec(message)?.[1]);
  if (!proxy || Number.isNaN(refused)) return new TransferError(message || code || String(error), true, error);
  const what = url.protocol === "https:" ? `refuses the connection: ${refused}` : `answered ${refused}`;
  return new TransferError(`the proxy ${proxy.host} ${what}`, refused >= 500, error);
}

function variable(name: string): string {
  return process.env[name.toLowerCase()] || process.env[name] || "";
}

function proxyFor(url: URL): URL | undefined {
  const proxy = variable(url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY");
  if (proxy === "") return undefined;
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
  if (/^https?:/i.test(address) && URL.canParse(address)) return new URL(address);
  throw new TransferError(`the proxy '${shownUrl(proxy)}' is not an http or https address`, false);
}

function authorization({ username, password }: URL): string {
  return `Basic ${Buffer.from(`${unescape(username)}:${unescape(password)}`).toString("base64")}`;
}
