import http from "node:http";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";

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

/**
 * The proxy for a URL by HTTPS_PROXY, HTTP_PROXY and NO_PROXY (either case; lower case first, as curl does), or undefined.
 * NO_PROXY: comma-separated host names (with their subdomains), optionally with a port, or "*".
 */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv = process.env): URL | undefined {
  const variable = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined;
  const proxy = variable(url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY");
  if (!proxy) return undefined;
  const host = bare(url.hostname).toLowerCase();
  for (const item of (variable("NO_PROXY") ?? "").split(",")) {
    const rule = item.trim().toLowerCase();
    if (rule === "") continue;
    if (rule === "*") return undefined;
    const port = /^(.+?):(\d+)$/.exec(rule);
    const ruleHost = net.isIPv6(bare(rule)) || !port ? rule : port[1]!;
    if (ruleHost !== rule && Number(port![2]) !== portOf(url)) continue;
    const name = bare(ruleHost.replace(/^\*?\./, ""));
    if (host === name || host.endsWith(`.${name}`)) return undefined;
  }
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
  if (!URL.canParse(withScheme) || !/^https?:/i.test(withScheme))
    throw new TransferError(`the proxy '${withoutPassword(proxy)}' is not an http or https address`, false);
  return new URL(withScheme);
}

/** GET with redirects and proxies; resolves with the response's head, whatever its status, and the address that gave it. Throws TransferError. */
export async function get(address: string, options: GetOptions): Promise<{ response: http.IncomingMessage; url: URL }> {
  let url = new URL(address);
  for (let redirects = 0; redirects <= 5; redirects++) {
    const response = await getOnce(url, options);
    const location = response.headers.location;
    if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || !location) return { response, url };
    response.destroy();
    if (!URL.canParse(location, url.href))
      throw new TransferError(`${url.host} redirects to '${location}', which is not an address`, false);
    const next = new URL(location, url);
    if (next.protocol !== "https:" && (next.protocol !== "http:" || url.protocol === "https:")) {
      throw new TransferError(`${url.host} redirects to the insecure address ${next.href}`, false);
    }
    url = next;
  }
  throw new TransferError(`${url.host} redirects more than five times`, false);
}

async function getOnce(url: URL, options: GetOptions): Promise<http.IncomingMessage> {
  const proxy = proxyFor(url);
  const request: https.RequestOptions = {
    method: "GET",
    headers: { "user-agent": "supersimplenet", ...options.headers },
    agent: false,
  };
  if (url.username) request.auth = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  if (proxy && url.protocol === "http:") {
    // Absolute form: the proxy gets the whole address.
    const plain = new URL(url);
    plain.username = plain.password = plain.hash = "";
    Object.assign(request, endpoint(proxy), { path: plain.href });
    request.headers = { ...request.headers, host: url.host, ...proxyAuthorization(proxy) };
    return send(proxy.protocol, request, options, "response");
  }
  Object.assign(request, endpoint(url), { path: url.pathname + url.search });
  if (proxy) {
    const socket = await tunnel(proxy, url, options);
    delete request.agent; // an agent would ignore createConnection
    request.createConnection = () => tls.connect({ socket, ...serverName(url) });
  }
  return send(url.protocol, request, options, "response");
}

/** A socket through the proxy to the URL's host. */
async function tunnel(proxy: URL, url: URL, options: GetOptions): Promise<net.Socket> {
  const target = `${url.hostname}:${portOf(url)}`;
  const request = {
    ...endpoint(proxy),
    method: "CONNECT",
    path: target,
    headers: { host: target, ...proxyAuthorization(proxy) },
    agent: false as const,
  };
  const response = await send(proxy.protocol, request, options, "connect");
  if (response.statusCode === 200) return response.socket;
  response.socket.destroy();
  throw new TransferError(
    `the proxy ${proxy.host} refuses the connection: ${response.statusCode} ${response.statusMessage}`,
    (response.statusCode ?? 0) >= 500,
  );
}

function send(
  protocol: string,
  request: https.RequestOptions,
  options: GetOptions,
  event: "response" | "connect",
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = (protocol === "https:" ? https : http).request({
      ...request,
      timeout: options.timeoutMs,
      signal: options.signal,
    });
    let response: http.IncomingMessage | undefined;
    outgoing.on("timeout", () => {
      const silence = new TransferError(`the server sent nothing for ${options.timeoutMs / 1000} s`, true);
      if (response) response.destroy(silence);
      outgoing.destroy(silence);
    });
    outgoing.on("error", (error) =>
      reject(error instanceof TransferError ? error : new TransferError(error.message || String(error), true, error)),
    );
    outgoing.on(event, (incoming: http.IncomingMessage) => {
      response = incoming;
      resolve(incoming);
    });
    outgoing.end();
  });
}

function endpoint(url: URL): https.RequestOptions {
  return {
    protocol: url.protocol,
    hostname: bare(url.hostname),
    port: portOf(url),
    ...(url.protocol === "https:" ? serverName(url) : {}),
  };
}

/** TLS forbids addresses as server names. */
function serverName(url: URL): { servername?: string } {
  const host = bare(url.hostname);
  return net.isIP(host) ? {} : { servername: host };
}

function proxyAuthorization(proxy: URL): Record<string, string> {
  if (!proxy.username) return {};
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(credentials).toString("base64")}` };
}

function portOf(url: URL): number {
  return Number(url.port) || (url.protocol === "https:" ? 443 : 80);
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}

function withoutPassword(proxy: string): string {
  return proxy.replace(/\/\/[^@/]*@/, "//");
}
