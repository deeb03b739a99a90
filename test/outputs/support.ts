import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import type { Output, OutputStatus, Result } from "../../lib/outputs/output.js";
import { Spool } from "../../lib/outputs/spool.js";

/** What a detector says of an image, without one. */
export function resultOf(name: string, changes: Partial<Result> = {}): Result {
  return {
    path: name,
    time: "2026-03-04T05:06:07.089Z",
    score: 0.75,
    logit: 1.0986,
    peak: 2.5,
    verdict: "defect",
    anomalous: true,
    decidedBy: ["score", "map"],
    margin: 1.25,
    threshold: 0.5,
    mapThreshold: 2,
    pixelThreshold: 0,
    regions: [{ area: 12, x: 1, y: 2, width: 3, height: 4, peak: 2.5, peakX: 2, peakY: 3 }],
    width: 64,
    height: 48,
    warnings: [],
    timings: { decodeMs: 1, engineMs: 2, postMs: 3, totalMs: 6 },
    model: { name: "bottle", checksum: "0123456789abcdef" },
    ...changes,
  };
}

export const names = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, i) => `part-${String(from + i).padStart(3, "0")}.png`);

export const statusOf = (output: Output): OutputStatus => output.status()[0]!;

export interface Posted {
  headers: IncomingHttpHeaders;
  body: string;
}

/** A receiver of webhooks on a port of one's own; `answer` says with which status. */
export async function receiver(
  port: number,
  answer: (posted: Posted) => number,
): Promise<{ server: Server; port: number }> {
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (text: string) => (body += text));
    request.on("end", () => {
      response.statusCode = answer({ headers: request.headers, body });
      response.end("thanks");
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { server, port: (server.address() as AddressInfo).port };
}

export function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** The images of the results that a closed output has left in its queue. */
export async function openSpool(folder: string): Promise<string[]> {
  const spool = await Spool.open(folder, 2 ** 30, {});
  const paths: string[] = [];
  const { signal } = new AbortController();
  while (spool.waiting > 0) {
    const taken = (await spool.take(1000, signal))!;
    for (const line of taken.lines) paths.push((JSON.parse(line) as { result: Result }).result.path!);
    await spool.sent(taken);
  }
  await spool.close();
  return paths;
}
