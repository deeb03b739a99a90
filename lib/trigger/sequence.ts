import type { Result } from "../outputs/output.js";

/** What a part's image came to, short enough for a PLC. The whole result goes to the outputs. */
export interface PartVerdict {
  part: string;
  /** "none": there is no verdict, and `error` says why. Treat such a part as not inspected. */
  verdict: Result["verdict"] | "none";
  /** When it was known: ISO 8601, UTC. */
  time: string;
  /** 0 to 1. */
  score?: number;
  /** How many regions of the image are defective. */
  regions?: number;
  error?: "NO_IMAGE" | "IMAGE_UNREADABLE" | "TOO_LATE";
}

/** Where a part stands (docs/guides/trigger.md has the diagram). "offline": nobody watches the folder. */
export type TriggerState =
  { state: "offline" } | { state: "ready" } | { state: "busy"; part: string } | ({ state: "done" } & PartVerdict);

export type Refusal = "BAD_PART" | "OFFLINE" | "BUSY" | "NOT_ACKNOWLEDGED" | "OTHER_PART" | "REPEATED";

const reasons: Readonly<Record<Refusal, string>> = {
  BAD_PART: "A part is a text of 1 to 128 characters.",
  OFFLINE: "No folder is being watched now.",
  BUSY: "Another part is at work.",
  NOT_ACKNOWLEDGED: "The verdict of the part before is not acknowledged yet.",
  OTHER_PART: "The verdict is that of another part.",
  REPEATED: "The part has its verdict already.",
};

/** What the state does not allow. */
export class TriggerRefused extends Error {
  override readonly name = "TriggerRefused";

  /** `code`: why, in one word. `verdict`: of REPEATED. */
  constructor(
    readonly code: Refusal,
    readonly verdict?: PartVerdict,
  ) {
    super(reasons[code]);
  }
}

/** One try of a part to get a verdict: of a part that is triggered again it is another one. */
export interface Attempt {
  readonly part: string;
}

interface Trying extends Attempt {
  /** Its image could not be read so far. */
  unreadable: boolean;
  image: "awaited" | "given";
}

/** Verdicts that are remembered, for triggers that a bus delivers again. */
const mostGiven = 1000;

/**
 * One part after the other: ready, triggered, busy, done, acknowledged, ready. The next image that comes into the folder
 * once it is busy is the part's.
 */
export class TriggerSequence {
  #state: TriggerState = { state: "offline" };
  readonly #listeners = new Set<(state: TriggerState) => void>();
  /** Looks at what lies in the folder: that is no image of the part. */
  #look: (() => Promise<void>) | undefined;
  /** A part that is let in, while what lies in the folder is looked at. */
  #coming: { attempt: Trying; looked: Promise<void> } | undefined;
  /** While the state is busy. */
  #attempt: Trying | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The last verdict of each part, the oldest first. */
  readonly #given = new Map<string, PartVerdict>();

  /** `timeoutMs`: from the trigger to the verdict; then there is none. */
  constructor(private readonly timeoutMs: number) {}

  /** What the PLC would read now. */
  get state(): TriggerState {
    return this.#state;
  }

  /** Calls `listener`, which must not throw, with every new state, until the returned function is called. */
  onState(listener: (state: TriggerState) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * A part is there. Resolves once its image may come, or once there is no verdict in time; a repetition changes nothing.
   * `redelivered`: the bus says that it may have delivered this trigger before, as MQTT's DUP does. A part that has its
   * verdict is refused with it then (REPEATED), and is not inspected again. Throws TriggerRefused.
   */
  async trigger(part: unknown, { redelivered = false }: { redelivered?: boolean } = {}): Promise<void> {
    if (typeof part !== "string" || part.length === 0 || part.length > 128) throw new TriggerRefused("BAD_PART");
    const now = this.#coming?.attempt ?? this.#attempt;
    const given = redelivered && now?.part !== part ? this.#given.get(part) : undefined;
    if (given) throw new TriggerRefused("REPEATED", given);
    if (now !== undefined && now.part !== part) throw new TriggerRefused("BUSY");
    if (now === undefined) {
      if (this.#state.state === "done") throw new TriggerRefused("NOT_ACKNOWLEDGED");
      if (!this.#look) throw new TriggerRefused("OFFLINE");
      const attempt: Trying = { part, unreadable: false, image: "awaited" };
      this.#timer = setTimeout(() => this.#timeOut(attempt), this.timeoutMs);
      this.#coming = { attempt, looked: this.#let(attempt, this.#look) };
    }
    await this.#coming?.looked;
    if (!this.#look) throw new TriggerRefused("OFFLINE");
  }

  async #let(attempt: Trying, look: () => Promise<void>): Promise<void> {
    await look();
    if (this.#coming?.attempt !== attempt) return; // too late
    this.#coming = undefined;
    this.#attempt = attempt;
    this.#set({ state: "busy", part: attempt.part });
  }

  /** The verdict of the part was taken; a repetition changes nothing. Throws TriggerRefused. */
  acknowledge(part: unknown): void {
    if (this.#state.state === "ready") return;
    if (this.#state.state === "offline") throw new TriggerRefused("OFFLINE");
    if (this.#state.state === "busy") throw new TriggerRefused("BUSY");
    if (this.#state.part !== part) throw new TriggerRefused("OTHER_PART");
    this.#set({ state: this.#look ? "ready" : "offline" });
  }

  /** A folder is being watched from now on. */
  begin(look: () => Promise<void>): void {
    this.#look = look;
    this.#set({ state: "ready" });
  }

  /** It is not watched any more. */
  end(): void {
    this.#look = undefined;
    this.#coming = undefined;
    this.#attempt = undefined;
    clearTimeout(this.#timer);
    this.#set({ state: "offline" });
  }

  /** The attempt whose image has come, if one is awaited. */
  claim(): Attempt | undefined {
    if (this.#attempt?.image !== "awaited") return undefined;
    this.#attempt.image = "given";
    return this.#attempt;
  }

  /**
   * The image was not complete, or could not be read yet: the attempt waits for it, or for another one. False: the attempt is
   * over, and the image is nobody's.
   */
  release(attempt: Attempt, unreadable = false): boolean {
    if (this.#attempt !== attempt) return false;
    this.#attempt.image = "awaited";
    this.#attempt.unreadable ||= unreadable;
    return true;
  }

  /** The part's image has a verdict. */
  judged(attempt: Attempt, { verdict, score, regions, time }: Result): void {
    if (this.#attempt === attempt) this.#done({ part: attempt.part, verdict, score, regions: regions.length, time });
  }

  /** The part's image cannot be read. */
  unreadable(attempt: Attempt): void {
    if (this.#attempt === attempt) this.#none(attempt.part, "IMAGE_UNREADABLE");
  }

  #timeOut(attempt: Trying): void {
    const { part, unreadable, image } = attempt;
    this.#none(part, unreadable ? "IMAGE_UNREADABLE" : image === "given" ? "TOO_LATE" : "NO_IMAGE");
  }

  #none(part: string, error: NonNullable<PartVerdict["error"]>): void {
    this.#done({ part, verdict: "none", error, time: new Date().toISOString() });
  }

  #done(verdict: PartVerdict): void {
    clearTimeout(this.#timer);
    this.#coming = undefined;
    this.#attempt = undefined;
    this.#given.delete(verdict.part);
    this.#given.set(verdict.part, verdict);
    if (this.#given.size > mostGiven) this.#given.delete(this.#given.keys().next().value!);
    this.#set({ state: "done", ...verdict });
  }

  #set(state: TriggerState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }
}

/** The part in {"part": "4711"}. Undefined: it is not that. */
export function partIn(text: string): unknown {
  try {
    return (JSON.parse(text) as { part?: unknown } | null)?.part;
  } catch {
    return undefined;
  }
}
