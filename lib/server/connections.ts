import type { Server, Socket } from "node:net";

import type { FastifyReply, FastifyRequest } from "fastify";

/** The connections of a server, also those on which nothing was asked for yet, which its HTTP side does not know. */
export class Connections {
  readonly #sockets = new Set<Socket>();
  #ended = (): void => undefined;

  constructor(server: Server) {
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => {
        this.#sockets.delete(socket);
        if (this.#sockets.size === 0) this.#ended();
      });
    });
  }

  /** Ends those on which nothing has come yet. */
  endSilent(): void {
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
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
  const over = (): void => {
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
