import type {
  Estimate,
  Judgement,
  LabelRequest,
  LineResult,
  Moved,
  RunDetails,
  StudioDetection,
  StudioImage,
  StudioProject,
  StudioRun,
  Suggestions,
  TrainingFlags,
  TrainingOption,
  Validation,
} from "../../lib/studio/types.js";
import { texts } from "./texts.js";

/** An error that the server answered with, or that it did not answer. */
export class ServerError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

async function ask(address: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(address, init).catch((error: unknown) => {
    if ((error as Error).name === "AbortError") throw error;
    throw new ServerError("NO_ANSWER", texts.noAnswer);
  });
  if (response.ok) return response;
  const answer = (await response.json().catch(() => undefined)) as
    { error?: { code: string; message: string } } | undefined;
  throw new ServerError(answer?.error?.code ?? String(response.status), answer?.error?.message ?? response.statusText);
}

const json = async <T>(address: string, init?: RequestInit): Promise<T> =>
  (await ask(address, init)).json() as Promise<T>;

const send = (method: "POST" | "PUT", body?: unknown, signal?: AbortSignal): RequestInit => ({
  method,
  ...(body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  ...(signal && { signal }),
});

const bytes = (method: "POST" | "PUT", body: Blob): RequestInit => ({
  method,
  headers: { "content-type": "application/octet-stream" },
  body,
});

const ofRun = (run: string, rest: string): string => `/api/v1/runs/${run}${rest}`;
const idOf = (id: string): string => `id=${encodeURIComponent(id)}`;
const addressed = ({ id, version }: StudioImage): string => `${idOf(id)}&v=${encodeURIComponent(version)}`;
const maskOf = ({ id, mask }: StudioImage): string => `${idOf(id)}&v=${encodeURIComponent(mask ?? "")}`;

export const addresses = {
  thumbnail: (image: StudioImage): string => `/api/v1/thumbnail?${addressed(image)}`,
  image: (image: StudioImage): string => `/api/v1/image?${addressed(image)}`,
  mask: (image: StudioImage): string => `/api/v1/mask?${maskOf(image)}`,
  heat: (run: string, image: StudioImage): string => ofRun(run, `/heat?${addressed(image)}`),
  report: (run: string): string => ofRun(run, "/report"),
};

export const api = {
  project: () => json<StudioProject>("/api/v1/project"),
  label: (request: LabelRequest) =>
    json<{ moved: Moved[]; project: StudioProject }>("/api/v1/labels", send("POST", request)),
  remove: (ids: readonly string[]) => json<StudioProject>("/api/v1/removals", send("POST", { ids })),
  add: (name: string, file: Blob) =>
    json<{ id: string | null }>(`/api/v1/images?name=${encodeURIComponent(name)}`, bytes("POST", file)),
  validate: () => json<Validation>("/api/v1/validation", send("POST")),
  /** `seen`: the version of the mask that was drawn on. Resolves to that of the one that is stored. */
  saveMask: (id: string, seen: string | null, mask: Blob | undefined) =>
    json<{ mask: string | null }>(
      `/api/v1/mask?${idOf(id)}&seen=${encodeURIComponent(seen ?? "")}`,
      mask ? bytes("PUT", mask) : { method: "DELETE" },
    ),
  options: async () => (await json<{ options: TrainingOption[] }>("/api/v1/training-options")).options,
  estimate: (flags: TrainingFlags, signal: AbortSignal) =>
    json<Estimate>("/api/v1/estimate", send("POST", { flags }, signal)),
  train: (name: string | undefined, flags: TrainingFlags) =>
    json<StudioRun>("/api/v1/runs", send("POST", { ...(name !== undefined && { name }), flags })),
  act: (run: string, action: "pause" | "resume" | "stop") => ask(ofRun(run, `/${action}`), send("POST")),
  removeRun: (run: string) => ask(ofRun(run, ""), { method: "DELETE" }),
  details: (run: string) => json<RunDetails>(ofRun(run, "")),
  judgement: (run: string) => json<Judgement>(ofRun(run, "/judgement")),
  judge: (run: string) => json<Judgement>(ofRun(run, "/judgement"), send("POST")),
  setThreshold: (run: string, value: number) => json<Judgement>(ofRun(run, "/threshold"), send("PUT", { value })),
  detection: (run: string, image: StudioImage) => json<StudioDetection>(ofRun(run, `/detection?${addressed(image)}`)),
  detect: (run: string, name: string, image: Blob) =>
    json<StudioDetection>(ofRun(run, `/detect?${idOf(name)}`), bytes("POST", image)),
  proposal: async (run: string, id: string) => (await ask(ofRun(run, `/proposal?${idOf(id)}`))).blob(),
  suggest: (run: string) => json<{ suggestions: Suggestions | null }>(ofRun(run, "/suggestions"), send("POST")),
  suggestions: async () => (await json<{ suggestions: Suggestions | null }>("/api/v1/suggestions")).suggestions,
  line: async () => (await json<{ results: LineResult[] }>("/api/v1/line")).results,
};
