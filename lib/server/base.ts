import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";

import multipart from "@fastify/multipart";
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from "fastify";

import type { ServerSettings } from "../schema/server.js";
import { checkHost, checkOrigin, tokenCheck } from "./access.js";
import { endUnlessTaken, requestLimits, whenOver } from "./connections.js";
import { answerTo, answerToParser, HttpError } from "./errors.js";

declare module "fastify" {
  interface FastifyRequest {
    /** Its answer may take as long as it takes. */
    isLong: boolean;
    /** What the log's line of the request tells beside. */
    told: Record<string, unknown>;
  }
}

export interface BaseParts {
  /** Undefined: nobody is asked for one. */
  token: string | undefined;
  tls: { cert: string; key: string } | undefined;
  /** Other names of this machine, in lower case. */
  hosts: readonly string[];
  /** Answered without a token. */
  openRoutes: ReadonlySet<string | undefined>;
  isStopping: () => boolean;
  /** Called at the end of each request. */
  onRequest: (method: string, route: string, status: number) => void;
}

export type BaseSettings = Pick<ServerSettings, "headerTimeoutMs" | "timeoutMs" | "maxBodyMiB" | "logLevel" | "onLog">;

const MIB = 2 ** 20;
/** A model file may come over a slow line. */
const slowestRequestMs = 600_000;

/** What every server of ours has: who may ask, limits of connections and requests, answers to what fails, the log. */
export function makeBase(settings: BaseSettings, parts: BaseParts): FastifyInstance {
  const { token, tls, isStopping } = parts;
  const http = requestLimits(settings.headerTimeoutMs, Math.max(slowestRequestMs, settings.timeoutMs));
  const app = fastify({
    ...(tls
      ? { https: { ...http, ...tls, minVersion: "TLSv1.2" as const, handshakeTimeout: settings.headerTimeoutMs } }
      : { http }),
    logger: settings.onLog
      ? { level: settings.logLevel, stream: { write: settings.onLog as (line: string) => void } }
      : false,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    genReqId: ({ headers }) => requestId(headers["x-request-id"]),
    bodyLimit: settings.maxBodyMiB * MIB,
    requestTimeout: http.requestTimeout, // fastify sets it anew
    forceCloseConnections: "idle",
    return503OnClosing: false, // ours says more
    routerOptions: { maxParamLength: 128 },
    frameworkErrors: (error, request, reply) => sendError(error, request, reply),
    clientErrorHandler: refuseConnection,
  }) as unknown as FastifyInstance;

  app.decorateRequest("isLong", false);
  app.decorateRequest("told", null as unknown as FastifyRequest["told"]);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_, body, done) => done(null, body));
  void app.register(multipart, { throwFileSizeLimit: true });

  const checkToken = token === undefined ? undefined : tokenCheck(token);
  app.addHook("onRequest", async (request, reply) => {
    request.told = {};
    watchEnd(request, reply, parts.onRequest);
    void reply.headers({
      "x-request-id": request.id,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    });
    checkHost(request.headers.host, parts.hosts);
    checkOrigin(request.headers, tls ? "https" : "http");
    if (!parts.openRoutes.has(request.routeOptions.url)) checkToken?.(request.headers.authorization);
    if (!["identity", undefined].includes(request.headers["content-encoding"]))
      throw new HttpError("UNSUPPORTED_TYPE", "A compressed body is not read. Send the image as it is.");
  });
  app.addHook("onSend", async (request, reply) => {
    // A connection that is kept alive would keep the server from ending.
    if (isStopping()) void reply.header("connection", "close");
    if (!request.isLong) endUnlessTaken(request, reply, settings.timeoutMs);
  });
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendError(
      new HttpError("NO_SUCH_ADDRESS", `There is no ${request.method} ${request.url.slice(0, 200)}.`),
      request,
      reply,
    ),
  );

  return app;
}

/** A client may name its request; what could not stand in a log is replaced. */
const requestId = (given: string | string[] | undefined): string =>
  typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();

/** One line of the log and one count for each request, also for one whose client left. */
function watchEnd(request: FastifyRequest, reply: FastifyReply, onRequest: BaseParts["onRequest"]): void {
  const started = performance.now();
  whenOver(request, reply, () => {
    const gone = !reply.raw.writableFinished;
    const status = gone ? 499 : reply.statusCode;
    const { method } = request;
    const route = request.routeOptions.url ?? "none";
    onRequest(method, route, status);
    const ms = Number((performance.now() - started).toFixed(1));
    const quiet = status < 400 && ["/healthz", "/readyz", "/metrics"].includes(route);
    request.log[quiet ? "debug" : "info"]({ method, route, status, ms, ...request.told }, "request");
  });
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answer = answerTo(error);
  if (answer.status >= 500 && !(error instanceof HttpError)) request.log.error({ err: error }, "a request failed");
  request.told = { ...request.told, code: answer.error.code };
  return reply.code(answer.status).headers(answer.headers).type("application/json").send({ error: answer.error });
}

/** What node:tls has on its sockets, and its types lack. */
interface TlsInHandshake {
  secureConnecting: boolean;
}

/** What Node's parser refuses has no request yet: the answer is written to the connection, which ends. */
function refuseConnection(error: Error & { code?: string }, socket: Socket): void {
  // Without a handshake nothing can be written.
  const { secureConnecting = false } = socket as Partial<TlsInHandshake>;
  if (error.code === "ECONNRESET" || secureConnecting || !socket.writable) return void socket.destroy();
  const { status, code, message } = answerToParser(error.code);
  const body = JSON.stringify({ error: { code, message } });
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
