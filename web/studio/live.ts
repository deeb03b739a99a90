import type { StudioEvent } from "../../lib/studio/types.js";

export interface Listener {
  onEvent(event: StudioEvent): void;
  onState(isThere: boolean): void;
  /** Something may have happened that was not heard. */
  onMissed(): void;
}

/** What the tab that is connected tells the others; "hello" asks it where things are. */
type Told = { event: StudioEvent } | { isThere: boolean; missed: boolean } | "hello";

const name = "supersimplenet studio events";
/** After an answer that was refused the browser does not ask again by itself. */
const againMs = 3000;

/**
 * Listens to the server. A browser opens six connections to it at most, so of all tabs one is connected and passes on what it
 * hears; when it goes, another one takes over. Returns what ends that.
 */
export function listen(listener: Listener): () => void {
  const end = new AbortController();
  // Only pages of a safe origin, such as 127.0.0.1, have locks. Without, each tab is connected by itself.
  const channel = "locks" in navigator ? new BroadcastChannel(name) : undefined;
  const take = (told: Told): void => {
    if (told === "hello") return;
    if ("event" in told) return listener.onEvent(told.event);
    listener.onState(told.isThere);
    if (told.missed) listener.onMissed();
  };
  channel?.addEventListener("message", ({ data }: MessageEvent<Told>) => take(data));
  const lead = (isSuccessor: boolean): Promise<void> => connect(channel, take, isSuccessor, end.signal);
  const follow = async (): Promise<void> => {
    if (!channel) return lead(false);
    const isFirst = await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
      if (lock) await lead(false);
      return lock !== null;
    });
    if (isFirst) return;
    channel.postMessage("hello" satisfies Told);
    await navigator.locks.request(name, { signal: end.signal }, () => lead(true));
  };
  void follow().catch((error: unknown) => {
    if (!end.signal.aborted) throw error;
  });
  return () => {
    end.abort();
    channel?.close();
  };
}

/** Is connected until the signal fires, for this tab and for those on the channel. */
function connect(
  channel: BroadcastChannel | undefined,
  take: (told: Told) => void,
  isSuccessor: boolean,
  signal: AbortSignal,
): Promise<void> {
  /** What the server tells at the beginning only: a tab that comes later has to know it too. */
  const last = new Map<string, StudioEvent>();
  let isThere = true;
  let missed = isSuccessor;
  let source: EventSource;
  const tell = (told: Told): void => {
    channel?.postMessage(told);
    take(told);
  };
  const open = (): void => {
    if (signal.aborted) return;
    source = new EventSource("/api/v1/events");
    source.onopen = () => {
      isThere = true;
      tell({ isThere, missed });
      missed = true;
    };
    source.onerror = () => {
      isThere = false;
      last.clear();
      tell({ isThere, missed: false });
      if (source.readyState === EventSource.CLOSED) setTimeout(open, againMs);
    };
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data as string) as StudioEvent;
      if (event.event === "runs" || event.event === "progress") last.set(event.event, event);
      if (event.event === "runs" && !event.runs.some(({ state }) => state === "running")) last.delete("progress");
      tell({ event });
    };
  };
  channel?.addEventListener("message", ({ data }: MessageEvent<Told>) => {
    if (data !== "hello") return;
    channel.postMessage({ isThere, missed: false } satisfies Told);
    for (const event of last.values()) channel.postMessage({ event } satisfies Told);
  });
  open();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => {
      source.close();
      resolve();
    });
  });
}
