import { createServer, type Server, type Socket } from "node:net";

export interface Broker {
  /** As a power cut would. */
  kill(): Promise<void>;
  /** Sends everybody a message of QoS 1 as one that is delivered again. */
  deliverAgain(topic: string, payload: string): void;
}

/** A broker, and what it was told: every message of QoS 1 as it came, and the retained status. */
export async function broker(
  port: number,
  messages: { topic: string; payload: string; retain: boolean }[],
): Promise<Broker> {
  const { Aedes } = await import("aedes"); // an ECMAScript module
  const aedes = await Aedes.createBroker();
  const sockets = new Set<Socket>();
  aedes.on("publish", ({ topic, payload, retain }) => {
    if (!topic.startsWith("$SYS")) messages.push({ topic, payload: payload.toString(), retain });
  });
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    aedes.handle(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    deliverAgain(topic, payload) {
      const content = Buffer.concat([Buffer.from([0, topic.length]), Buffer.from(`${topic}\0\x07${payload}`)]);
      const publishQos1Dup = 0x3a;
      for (const socket of sockets)
        socket.write(Buffer.concat([Buffer.from([publishQos1Dup, content.length]), content]));
    },
    async kill() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => aedes.close(() => resolve()));
    },
  };
}
