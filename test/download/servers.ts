/** Local servers for the download tests: a file server with switchable faults, and a forwarding proxy. */
import http from "node:http";
import https from "node:https";
import net from "node:net";

export interface Seen {
  url: string;
  range: string | undefined;
}

export interface FileServer {
  url: string;
  seen: Seen[];
  close(): Promise<void>;
}

export interface FileServerOptions {
  /** What every address gives. */
  content: Buffer;
  /** By path: then only these exist. */
  files?: Record<string, Buffer>;
  /** Ignores Range. */
  noRange?: boolean;
  /** Breaks the connection after this many bytes, this many times. */
  breakAfter?: number;
  breaks?: number;
  /** Statuses to answer first. */
  statuses?: number[];
  /** Where /redirect/N leads at the end; N - 1 steps on this server before. */
  redirectTo?: string;
  /** Accepts and never answers. */
  silent?: boolean;
  tls?: boolean;
}

export async function fileServer(options: FileServerOptions): Promise<FileServer> {
  const seen: Seen[] = [];
  let breaks = options.breaks ?? 0;
  const statuses = [...(options.statuses ?? [])];
  const answer: http.RequestListener = (request, response) => {
    const url = request.url ?? "";
    const range = request.headers.range;
    seen.push({ url, range });
    if (options.silent) return;
    const status = statuses.shift();
    if (status !== undefined) return void response.writeHead(status).end("no");
    const step = /^\/redirect\/(\d+)/.exec(url);
    if (step)
      return void response
        .writeHead(302, {
          location: Number(step[1]) > 1 ? `/redirect/${Number(step[1]) - 1}` : (options.redirectTo ?? "/file"),
        })
        .end();
    const found = options.files ? options.files[url] : options.content;
    if (!found) return void response.writeHead(404).end("no");
    let body = found;
    if (body[0] === "<".charCodeAt(0)) response.setHeader("content-type", "text/html"); // pip asks for it
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    if (range && !options.noRange) {
      if (from >= body.length) return void response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
      response.writeHead(206, {
        "content-length": body.length - from,
        "content-range": `bytes ${from}-${body.length - 1}/${body.length}`,
      });
      body = body.subarray(from);
    } else {
      response.writeHead(200, { "content-length": body.length });
    }
    if (options.breakAfter !== undefined && breaks-- > 0) {
      response.write(body.subarray(0, options.breakAfter), () => setTimeout(() => response.destroy(), 5));
    } else {
      response.end(body);
    }
  };
  const server = options.tls ? https.createServer({ cert: certificate, key }, answer) : http.createServer(answer);
  return {
    url: `${options.tls ? "https" : "http"}://localhost:${await listen(server)}`,
    seen,
    close: () => close(server),
  };
}

/** A proxy that notes what it is asked for; `credentials` ("user:password") are demanded when given. */
export async function proxyServer(credentials?: string): Promise<FileServer> {
  const seen: Seen[] = [];
  const allowed = (headers: http.IncomingHttpHeaders): boolean =>
    credentials === undefined ||
    headers["proxy-authorization"] === `Basic ${Buffer.from(credentials).toString("base64")}`;
  const server = http.createServer((request, response) => {
    seen.push({ url: `${request.method} ${request.url}`, range: request.headers.range });
    if (!allowed(request.headers)) return void response.writeHead(407).end();
    const { "proxy-authorization": _dropped, ...headers } = request.headers;
    request.pipe(
      http.request(request.url ?? "", { method: request.method, headers, agent: false }, (upstream) =>
        upstream.pipe(response.writeHead(upstream.statusCode ?? 500, upstream.headers)),
      ),
    );
  });
  server.on("connect", (request: http.IncomingMessage, client: net.Socket) => {
    seen.push({ url: `CONNECT ${request.url}`, range: undefined });
    if (!allowed(request.headers)) return void client.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    const [host, port] = (request.url ?? "").split(":");
    const upstream = net.connect(Number(port), host, () => {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    for (const [one, other] of [
      [upstream, client],
      [client, upstream],
    ] as const)
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
  });
  return { url: `http://localhost:${await listen(server)}`, seen, close: () => close(server) };
}

/** A proxy that answers every address itself, and forwards nothing. */
export async function answeringProxy(): Promise<FileServer> {
  const seen: Seen[] = [];
  const server = http.createServer((request, response) => {
    seen.push({ url: `${request.method} ${request.url}`, range: undefined });
    response.end("by proxy");
  });
  server.on("connect", (request: http.IncomingMessage, client: net.Socket) => {
    seen.push({ url: `CONNECT ${request.url}`, range: undefined });
    client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  });
  return { url: `http://localhost:${await listen(server)}`, seen, close: () => close(server) };
}

/** Accepts connections and never says anything. */
export async function silentServer(): Promise<{ url: string; close(): Promise<void> }> {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => sockets.push(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  return {
    url: `http://localhost:${(server.address() as net.AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => (server.close(() => resolve()), sockets.forEach((socket) => socket.destroy()))),
  };
}

function listen(server: http.Server): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, "localhost", () => resolve((server.address() as net.AddressInfo).port)),
  );
}

function close(server: http.Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** Self-signed for localhost, valid from 2000 to 2099; used by nothing but these tests. */
export const certificate = `-----BEGIN CERTIFICATE-----
MIIBZzCCAQ6gAwIBAgICAQAwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxo
b3N0MCAXDTAwMDEwMTAwMDAwMFoYDzIxMDAwMTAxMDAwMDAwWjAUMRIwEAYDVQQD
DAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARbMT+LlB0bwWfR
iBaYGNPwmB+HSsR9k0KoXrK1a1JWzdaAL9pwzOqEr/Rq4AxEURaGKSfTBJR1R7y4
X3sFzpiro04wTDAdBgNVHQ4EFgQUoYX9PuVw/eWyC3Smh1lyWHYUF8YwDwYDVR0T
AQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZIzj0E
AwIDRwAwRAIgc34PRCg3KywDQO1Su/+8JDqAFv6F8QgnGrnEecAyLtUCICSRIC4M
sG8FnjFnNZ3Ar4dlxtUH3dkilafupffm2R1L
-----END CERTIFICATE-----
`;

const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgP6bmfF4euA6vTW/8
oIlEVi2TO7kdB3oNZMDEr+v1tU6hRANCAARbMT+LlB0bwWfRiBaYGNPwmB+HSsR9
k0KoXrK1a1JWzdaAL9pwzOqEr/Rq4AxEURaGKSfTBJR1R7y4X3sFzpir
-----END PRIVATE KEY-----
`;
