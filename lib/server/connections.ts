import type { Server, Socket } from "node:net";

import type { FastifyReply, FastifyRequest } from "fastify";

/** Of clients that do nothing: each takes a descriptor. */
export const maxConnections = 512;

/** What Node's HTTP server allows a client that sends a request. */
export const requestLimits = (headersTimeout: number, requestTimeout: number) => ({
  headersTimeout,
  requestTimeout,
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 16 * 1024,
});

/**
 * The connections of a server at all of its addresses, also those on which nothing was asked for yet, which its HTTP side
 * does not know. Those beyond the limit are ended at once.
 */
export class Connections {
  readonly #sockets = new Set<Socket>();
  /** Of those with TLS, what carries the requests, once the handshake is done. */
  readonly #secure = new Set<Socket>();
  #stopping = false;
  #ended = (): void => undefined;

  constructor(server: Server) {
    server.on("connection", (socket) => {
      if (this.#stopping || this.#sockets.size >= maxConnections) return void socket.destroy();
      this.#sockets.add(socket);
      socket.once("close", () => {
        this.#sockets.delete(socket);
        if (this.#sockets.size === 0) this.#ended();
      });
    });
    server.on("secureConnection", (socket: Socket) => {
      if (this.#stopping) return void socket.destroy();
      this.#secure.add(socket);
      socket.once("close", () => this.#secure.delete(socket));
    });
  }

  /** Ends those on which nothing of a request has come, now and from now on. */
  endSilent(): void {
    this.#stopping = true;
    // A socket with TLS counts what was sent within it, without the handshake.
    for (const socket of [...this.#sockets, ...this.#secure]) if (socket.bytesRead === 0) socket.destroy();
  }

  endAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Waits for all of them to end. */
  async ended(): Promise<void> {
    if (this.#sockets.size > 0) await new Promise<void>((resolve) => (this.#ended = resolve));
  }
}

/** Calls `act` once: when a request is answered, or its connection has ended. */
export function whenOver({ raw: { socket } }: FastifyRequest, { raw }: FastifyReply, act: () => void): void {
  socket.setMaxListeners(0); // some for each request that is on its way
  let isOver = false;
  const over = (): void => {
    // A socket that closes closes its answer on the way, and has both called.
    if (isOver) return;
    isOver = true;
    raw.off("close", over);
    socket.off("close", over);
    act();
  };
  raw.on("close", over);
  // An answer that waits behind another one of its connection is not told of the end.
  socket.on("close", over);
}

/** Ends the connection of a client that does not take its answer in time. */
export function endUnlessTaken(request: FastifyRequest, reply: FastifyReply, milliseconds: number): void {
  const { socket } = request.raw;
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), milliseconds).unref();
  whenOver(request, reply, () => clearTimeout(timer));
}
