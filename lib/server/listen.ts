import { lookup } from "node:dns/promises";
import { type AddressInfo, createServer, type Server } from "node:net";

import type { FastifyInstance } from "fastify";

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

/** Undefined where this machine has no such address after all, or another program the port. */
function listenToo(app: FastifyInstance, host: string, port: number): Promise<Server | undefined> {
  const server = createServer((socket) => void app.server.emit("connection", socket));
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen({ host, port }, () => resolve(server));
  });
}
