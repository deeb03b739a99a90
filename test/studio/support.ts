import { after, type TestContext } from "node:test";

import { studioOptions } from "../../lib/schema/studio.js";
import { startStudio, type Studio } from "../../lib/studio/server.js";
import type { StudioEvent, StudioProject } from "../../lib/studio/types.js";
import { type Answer, ask } from "../server/support.js";

const studios = new Set<Studio>();
after(() => Promise.all([...studios].map((studio) => studio.close())));

export interface Opened {
  studio: Studio;
  url: string;
  /** A request with JSON, or with bytes. */
  call(method: string, address: string, body?: unknown): Promise<Answer>;
  project(): Promise<StudioProject>;
}

/** A studio on a folder, closed after the file's tests at the latest. */
export async function opened(folder: string, options: { data?: string } = {}): Promise<Opened> {
  const settings = studioOptions.parse({ port: 0, withoutBrowser: true, device: "cpu", threads: 1, ...options });
  const studio = await startStudio(folder, settings);
  studios.add(studio);
  const { url } = studio;
  const call: Opened["call"] = (method, address, body) => {
    const isBytes = body instanceof Uint8Array;
    const type = isBytes ? "application/octet-stream" : "application/json";
    const sent = body === undefined ? undefined : isBytes ? body : JSON.stringify(body);
    return ask(`${url}/api/v1${address}`, {
      method,
      ...(sent !== undefined && { body: sent, headers: { "content-type": type } }),
    });
  };
  return { studio, url, call, project: async () => (await call("GET", "/project")).json as StudioProject };
}

/** Listens to the studio until the test ends; `heard` resolves to the first event that is wanted. */
export function listened(
  t: TestContext,
  url: string,
): { events: StudioEvent[]; heard(wanted: (event: StudioEvent) => boolean): Promise<StudioEvent> } {
  const events: StudioEvent[] = [];
  const waiting = new Set<() => void>();
  const controller = new AbortController();
  t.after(() => controller.abort());
  const listen = async (): Promise<void> => {
    const { body } = await fetch(`${url}/api/v1/events`, { signal: controller.signal });
    let text = "";
    for await (const part of body!.pipeThrough(new TextDecoderStream())) {
      text += part;
      const lines = text.split("\n\n");
      text = lines.pop()!;
      for (const line of lines) if (line.startsWith("data: ")) events.push(JSON.parse(line.slice(6)) as StudioEvent);
      for (const wake of waiting) wake();
    }
  };
  listen().catch(() => undefined); // the studio or the test has ended
  return {
    events,
    async heard(wanted) {
      for (;;) {
        const found = events.find(wanted);
        if (found) return found;
        await new Promise<void>((resolve) => {
          waiting.add(resolve);
        });
        waiting.clear();
      }
    },
  };
}
