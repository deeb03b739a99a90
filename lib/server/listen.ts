import { lookup } from "node:dns/promises";
import { type AddressInfo, createServer, type Server } from "node:net";

import type { FastifyInstance } from "fastify";

import { call, option, SuperSimpleNetError, text } from "../errors.js";

/**
 * Listens at an address, or at both of localhost. Resolves to the servers beside the app's own, whose connections go to it.
 * Throws the system's errors.
 */
export async function listenAt(app: FastifyInstance, host: string, port: number): Promise<Server[]> {
  // Not left to fastify: connections of its second address would be out of reach.
  const found = host === "localhost" ? await lookup(host, { all: true }) : [{ address: host }];
  const [first, ...others] = new Set(found.map(({ address }) => address));
  await app.listen({ host: first!, port, listenTextResolver: (address) => `listening at ${address}` });
  const { port: taken } = app.server.address() as AddressInfo;
  const more = await Promise.all(others.map((address) => listenToo(app, address, taken)));
  return more.filter((server) => server !== undefined);
}

/**
 * The same for an address that the options `host` and `port` give. Throws INVALID_OPTION that names the one to change; the
 * app is closed then.
 */
export async function listen(
  where: string,
  app: FastifyInstance,
  { host, port }: { host: string; port: number },
): Promise<Server[]> {
  try {
    return await listenAt(app, host, port);
  } catch (cause) {
    await app.close();
    const { code, message } = cause as NodeJS.ErrnoException;
    const reasons: Record<string, string> = {
      EADDRINUSE: "another program listens there.",
      EACCES: "this user may not listen there.",
      EADDRNOTAVAIL: "this machine does not have that address.",
    };
    const what = text`${call(where)}: cannot listen at ${host}, port ${port}: ${reasons[code ?? ""] ?? message}`;
    throw new SuperSimpleNetError("INVALID_OPTION", what, {
      cause,
      option: code === "EADDRNOTAVAIL" ? "host" : "port",
      value: code === "EADDRNOTAVAIL" ? host : port,
      fix: text`Give another ${option(code === "EADDRNOTAVAIL" ? "host" : "port")}.`,
    });
  }
}

/** Undefined where this machine has no such address after all, or another program the port. */
function listenToo(app: FastifyInstance, host: string, port: number): Promise<Server | undefined> {
  const server = createServer((socket) => void app.server.emit("connection", socket));
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen({ host, port }, () => resolve(server));
  });
}
