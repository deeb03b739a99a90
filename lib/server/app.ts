import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import { Readable } from "node:stream";

import multipart from "@fastify/multipart";
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from "fastify";

import { check } from "../schema/check.js";
import { detectQuery, type ServerSettings } from "../schema/server.js";
import { checkHost, checkOrigin, tokenCheck } from "./access.js";
import type { Admission, Place } from "./admission.js";
import { endUnlessTaken, requestLimits, whenOver } from "./connections.js";
import { answerTo, answerToParser, type ErrorAnswer, HttpError } from "./errors.js";
import { imageOf, inOrder, partsOf } from "./images.js";
import { Job } from "./job.js";
import type { Metrics } from "./metrics.js";
import type { Models } from "./models.js";
import { openApi } from "./openapi.js";
import { page, pagePolicy } from "./page.js";
import { receiveFile } from "./receive.js";
import type { Asked, Service } from "./service.js";

declare module "fastify" {
  interface FastifyRequest {
    /** Of a request for detections. */
    job: Job;
    asked: Asked;
    /** What the log's line of the request tells beside. */
    told: Record<string, unknown>;
  }
}

export interface AppParts {
  models: Models;
  admission: Admission;
  metrics: Metrics;
  service: Service;
  /** Undefined: nobody is asked for one. */
  token: string | undefined;
  tls: { cert: string; key: string } | undefined;
  /** Other names of this machine, in lower case. */
  hosts: readonly string[];
  isStopping: () => boolean;
}

const MIB = 2 ** 20;
/** Of a model file that is sent; the largest backbone takes a tenth. */
const maxModelBytes = 2 ** 31;
/** A model file may come over a slow line. */
const slowestRequestMs = 600_000;

/** Answers without a token: they tell nothing of models and images. */
const openRoutes: ReadonlySet<string | undefined> = new Set(["/", "/healthz", "/readyz", "/openapi.json"]);

type Named = { Params: { name: string } };

/** The HTTP side of the server: who may ask, what is asked, and how it is answered. */
export function makeApp(settings: ServerSettings, parts: AppParts): FastifyInstance {
  const { models, metrics, token, tls, isStopping } = parts;
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

  for (const name of ["job", "asked", "told"]) app.decorateRequest(name, null);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_, body, done) => done(null, body));
  void app.register(multipart, { throwFileSizeLimit: true });

  const checkToken = token === undefined ? undefined : tokenCheck(token);
  app.addHook("onRequest", async (request, reply) => {
    request.told = {};
    watchEnd(request, reply, metrics);
    void reply.headers({
      "x-request-id": request.id,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    });
    checkHost(request.headers.host, parts.hosts);
    checkOrigin(request.headers, tls ? "https" : "http");
    if (!openRoutes.has(request.routeOptions.url)) checkToken?.(request.headers.authorization);
    if (!["identity", undefined].includes(request.headers["content-encoding"]))
      throw new HttpError("UNSUPPORTED_TYPE", "A compressed body is not read. Send the image as it is.");
  });
  app.addHook("onSend", async (request, reply) => {
    // A connection that is kept alive would keep the server from ending.
    if (isStopping()) void reply.header("connection", "close");
    if (!request.job) endUnlessTaken(request, reply, settings.timeoutMs); // a job has its own deadline
  });
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendError(
      new HttpError("NO_SUCH_ADDRESS", `There is no ${request.method} ${request.url.slice(0, 200)}.`),
      request,
      reply,
    ),
  );

  addProbes(app, parts);
  app.get("/", (_, reply) =>
    reply.type("text/html; charset=utf-8").header("content-security-policy", pagePolicy).send(page),
  );
  app.get("/openapi.json", () => openApi);
  app.get("/api/v1/models", () => ({ models: models.names.map((name) => models.card(name)) }));
  app.get<Named>("/api/v1/models/:name", ({ params }) => models.card(params.name));
  void app.register((scope) => Promise.resolve(addDetection(scope, settings, parts)));
  void app.register((scope) => Promise.resolve(addModelChanges(scope, parts)));
  return app;
}

function addProbes(app: FastifyInstance, { models, metrics, isStopping }: AppParts): void {
  app.get("/healthz", () => ({ status: "ok" }));
  app.get("/readyz", async (_, reply) => {
    const ready = !isStopping() && models.ready;
    return reply.code(ready ? 200 : 503).send({ status: ready ? "ready" : isStopping() ? "stopping" : "no model" });
  });
  app.get("/metrics", async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()));
}

function addDetection(app: FastifyInstance, settings: ServerSettings, parts: AppParts): void {
  const { models, admission, metrics, service } = parts;
  const maxBytes = settings.maxBodyMiB * MIB;

  // Before the body is read: what cannot be served is not received.
  app.addHook<Named>("onRequest", async (request, reply) => {
    if (parts.isStopping())
      throw new HttpError("STOPPING", "The server is stopping.", { connection: "close", "retry-after": "5" });
    const job = (request.job = new Job(request, reply, settings.timeoutMs));
    const { loaded, leave } = models.use((request.params as Named["Params"]).name);
    job.atEnd(leave);
    request.told["model"] = loaded.name;
    request.asked = { loaded, query: check("detect", detectQuery, { ...(request.query as object) }) };
    if (isMultipart(request)) return;
    const length = Number(request.headers["content-length"] ?? maxBytes);
    if (length > maxBytes)
      throw new HttpError("TOO_LARGE", `The body has ${length} bytes. At most ${maxBytes} are read.`, {
        connection: "close",
      });
    job.atEnd(admission.take(length, () => metrics.secondsFor(admission.images)).leave);
  });

  app.post<Named>("/api/v1/models/:name/detect", async (request, reply) => {
    if (isMultipart(request)) return detectParts(request, reply, settings, parts);
    const { asked, job } = request;
    const id = asked.query.id ?? request.id;
    const image = imageOf(request.body, request.headers["content-type"]);
    const answer = await job.run(service.detect({ ...asked, id, image, signal: job.signal, started: job.started }));
    request.told["verdict"] = answer.verdict;
    return answer;
  });
}

const isMultipart = ({ headers }: FastifyRequest): boolean =>
  /^multipart\/form-data\b/i.test(headers["content-type"] ?? "");

/** A part that was read, with the room that it has. */
interface Received {
  id: string;
  contentType: string;
  bytes: Buffer;
  place: Place;
}

type PartAnswer = Record<string, unknown> | { id: string; error: ErrorAnswer };

/** Several images: a JSON document when all are done, or a line of JSON for each as soon as it is done (NDJSON). */
async function detectParts(
  request: FastifyRequest,
  reply: FastifyReply,
  settings: ServerSettings,
  { admission, service }: AppParts,
): Promise<unknown> {
  const { asked, job } = request;
  const { signal } = job;
  const maxBytes = settings.maxBodyMiB * MIB;
  const detectOne = async ({ id, contentType, bytes, place }: Received): Promise<PartAnswer> => {
    const started = performance.now();
    try {
      const image = imageOf(bytes, contentType);
      const work = service.detect({ ...asked, id, image, signal, started }).finally(place.leave);
      return { ...(await job.run(work)) };
    } catch (error) {
      if (signal.aborted) throw error;
      place.leave();
      const answer = answerTo(error);
      if (answer.status >= 500) request.log.error({ err: error }, "an image failed");
      return { id, error: answer.error };
    }
  };
  async function* received(): AsyncGenerator<Received> {
    let index = 0;
    for await (const { name, contentType, read } of partsOf(request, { maxBytes, maxParts: settings.maxParts })) {
      // The rest of the request waits with its client until there is room.
      const place = await admission.takeWhenFree(maxBytes, signal);
      job.atEnd(place.leave);
      const bytes = await read();
      place.shrinkTo(bytes.length);
      yield { id: name || String(index), contentType, bytes, place };
      index++;
    }
  }
  const answers = inOrder(received(), detectOne, 2 * settings.batchSize);
  if (/\bapplication\/x-ndjson\b/.test(request.headers.accept ?? ""))
    return reply
      .type("application/x-ndjson")
      .header("connection", "close") // the answer may end before the request does
      .send(Readable.from(lines(answers, request), { highWaterMark: 1 }));
  const images: PartAnswer[] = [];
  for (let next = await job.race(answers.next()); !next.done; next = await job.race(answers.next()))
    images.push(next.value);
  if (images.length === 0) throw new HttpError("BAD_REQUEST", "The request has no image. Send files as parts.");
  request.told["images"] = images.length;
  return { images };
}

/** Once the first line is sent, the status is: an error is a line too, and the last one. */
async function* lines(answers: AsyncIterator<PartAnswer>, request: FastifyRequest): AsyncGenerator<string> {
  let count = 0;
  try {
    const next = (): Promise<IteratorResult<PartAnswer>> => request.job.race(answers.next());
    for (let answer = await next(); !answer.done; answer = await next()) {
      count++;
      yield `${JSON.stringify(answer.value)}\n`;
    }
  } catch (error) {
    const { status, error: told } = answerTo(error);
    if (status >= 500 && !(error instanceof HttpError)) request.log.error({ err: error }, "a request failed");
    yield `${JSON.stringify({ error: told })}\n`;
  } finally {
    request.told["images"] = count;
  }
}

/** PUT and DELETE of models, for who has the token. */
function addModelChanges(app: FastifyInstance, { models, token, isStopping }: AppParts): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_, body, done) => done(null, body));
  app.addHook("onRequest", async () => {
    if (token === undefined)
      throw new HttpError(
        "TOKEN_NEEDED",
        "Models are changed only where there is a token. Start it with --token-file.",
      );
    if (isStopping()) throw new HttpError("STOPPING", "The server is stopping.", { connection: "close" });
  });
  app.put<Named>("/api/v1/models/:name", async ({ params: { name }, body, headers }) => {
    const length = Number(headers["content-length"] ?? NaN);
    if (!(body instanceof Readable) || length === 0) return models.load(name);
    if (length > maxModelBytes)
      throw new HttpError("TOO_LARGE", `At most ${maxModelBytes} bytes are read.`, { connection: "close" });
    models.checkUpload(name); // refused before the file is received
    return models.upload(name, (file) => receiveFile(body, file, maxModelBytes));
  });
  app.delete<Named>("/api/v1/models/:name", async ({ params: { name } }, reply) => {
    await models.unload(name);
    return reply.code(204).send();
  });
}

/** A client may name its request; what could not stand in a log is replaced. */
const requestId = (given: string | string[] | undefined): string =>
  typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();

/** One line of the log and one count for each request, also for one whose client left. */
function watchEnd(request: FastifyRequest, reply: FastifyReply, metrics: Metrics): void {
  const started = performance.now();
  whenOver(request, reply, () => {
    const gone = !reply.raw.writableFinished;
    const status = gone ? 499 : reply.statusCode;
    const { method } = request;
    const route = request.routeOptions.url ?? "none";
    metrics.request(method, route, status);
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
