import type { AddressInfo, Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { fastify, type FastifyInstance } from "fastify";

import { call, option, SuperSimpleNetError, text } from "../errors.js";
import { serverOptions } from "../schema/server.js";
import { checkHost, checkOrigin, isLoopback, tokenCheck } from "../server/access.js";
import { Connections, requestLimits } from "../server/connections.js";
import { answerTo, HttpError } from "../server/errors.js";
import { listenAt } from "../server/listen.js";
import { readToken } from "../server/token.js";
import type { Carrier } from "./open.js";
import { partIn, type Refusal, TriggerRefused, type TriggerSequence, type TriggerState } from "./sequence.js";

const where = "openTrigger";
const mostBytes = 4096;
const longestWaitMs = 60_000;

const statuses: Readonly<Record<Refusal, number>> = {
  BAD_PART: 400,
  OFFLINE: 503,
  BUSY: 409,
  NOT_ACKNOWLEDGED: 409,
  OTHER_PART: 409,
  REPEATED: 409,
};

/** Listens for POST /trigger, POST /ack and GET /state. Each is answered with the state. */
export async function httpTrigger(
  url: URL,
  sequence: TriggerSequence,
  tokenFile: string | undefined,
): Promise<Carrier> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const token = tokenFile === undefined ? undefined : await readToken(where, tokenFile);
  if (token === undefined && !isLoopback(host))
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call(where)}: other machines reach ${host}, and no token is asked for.`,
      { option: "trigger", value: url.origin, fix: text`Give ${option("tokenFile")}, or an address of this machine.` },
    );
  const app = makeApp(sequence, { host: host.toLowerCase(), token });
  new Connections(app.server); // for its limit
  let more: Server[];
  try {
    more = await listenAt(app, host, Number(url.port || 80));
  } catch (cause) {
    await app.close();
    const what = text`${call(where)}: cannot listen at ${url.origin}: ${(cause as Error).message}.`;
    throw new SuperSimpleNetError("INVALID_OPTION", what, { cause, option: "trigger", value: url.origin });
  }
  const { port } = app.server.address() as AddressInfo;
  return {
    address: `http://${url.hostname}:${port}`,
    async close() {
      for (const server of more) server.close();
      await app.close();
    },
  };
}

interface AppOptions {
  host: string;
  token: string | undefined;
}

function makeApp(sequence: TriggerSequence, { host, token }: AppOptions): FastifyInstance {
  const timeoutMs = serverOptions.shape.headerTimeoutMs.parse(undefined);
  const http = requestLimits(timeoutMs, timeoutMs);
  // A body is so small that it has no more time than the head.
  const app = fastify({ http, bodyLimit: mostBytes, requestTimeout: timeoutMs, forceCloseConnections: true });
  const checkToken = token === undefined ? undefined : tokenCheck(token);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "string" }, (_, body, done) => done(null, partIn(String(body))));
  app.addHook("onRequest", async ({ headers }, reply) => {
    void reply.headers({ "cache-control": "no-store", "x-content-type-options": "nosniff" });
    checkName(headers.host, host);
    checkOrigin(headers, "http");
    checkToken?.(headers.authorization);
  });
  app.setErrorHandler((error, _, reply) => {
    if (error instanceof TriggerRefused)
      return reply.code(statuses[error.code]).send({ error: { code: error.code, message: error.message } });
    const answer = answerTo(error);
    return reply.code(answer.status).headers(answer.headers).send({ error: answer.error });
  });
  app.setNotFoundHandler(() => {
    throw new HttpError("NO_SUCH_ADDRESS", "There are POST /trigger, POST /ack and GET /state.");
  });
  app.post("/trigger", async ({ body }) => {
    await sequence.trigger(body);
    return sequence.state;
  });
  app.post("/ack", ({ body }) => {
    sequence.acknowledge(body);
    return sequence.state;
  });
  app.get<{ Querystring: { wait?: string } }>("/state", async ({ query }, reply) => {
    const waitMs = Number(query.wait ?? 0);
    if (!(waitMs >= 0 && waitMs <= longestWaitMs))
      throw new HttpError("BAD_REQUEST", `'wait' is a time in milliseconds, at most ${longestWaitMs}.`);
    const left = new AbortController();
    reply.raw.once("close", () => left.abort());
    return notBusy(sequence, waitMs, left.signal);
  });
  return app;
}

/** Throws HOST_REFUSED for a name that is not in the trigger's address. */
function checkName(name: string | undefined, host: string): void {
  try {
    checkHost(name, [host]);
  } catch {
    throw new HttpError(
      "HOST_REFUSED",
      "Call the trigger by an IP address, by localhost, or by the name in its address.",
    );
  }
}

/** The state, once it is not "busy", or after `waitMs`. */
async function notBusy(sequence: TriggerSequence, waitMs: number, signal: AbortSignal): Promise<TriggerState> {
  if (sequence.state.state !== "busy" || waitMs === 0) return sequence.state;
  const over = new AbortController();
  const leave = sequence.onState(() => over.abort());
  await sleep(waitMs, undefined, { signal: AbortSignal.any([signal, over.signal]) }).catch(() => undefined);
  leave();
  return sequence.state;
}
