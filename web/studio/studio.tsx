import { createContext } from "preact";
import { useCallback, useContext, useEffect, useMemo, useState } from "preact/hooks";

import type {
  LineResult,
  StudioEvent,
  StudioImage,
  StudioProject,
  StudioRun,
  Suggestion,
  Suggestions,
  TrainingProgress,
} from "../../lib/studio/types.js";
import { api } from "./api.js";
import { listen } from "./live.js";
import { type Heard, heardOf, nothingHeard, stillRunning } from "./train/epochs.js";

/** Work on many images. */
export interface Work {
  kind: "judging" | "suggesting";
  run: string;
  done: number;
  total: number;
}

/** What all pages know. */
export interface Studio {
  project: StudioProject;
  setProject(project: StudioProject): void;
  reload(): Promise<void>;
  runs: readonly StudioRun[];
  progress: TrainingProgress | undefined;
  epochs: Heard;
  work: Work | undefined;
  suggestions: Suggestions | null;
  line: readonly LineResult[];
  isThere: boolean;
  /** The run whose model is asked; undefined: none has one. */
  model: StudioRun | undefined;
  setModel(name: string): void;
  tell(message: Message | undefined): void;
  message: Message | undefined;
}

export interface Message {
  text: string;
  isError?: boolean;
}

const StudioContext = createContext<Studio | undefined>(undefined);

export const useStudio = (): Studio => useContext(StudioContext)!;

export const StudioProvider = StudioContext.Provider;

/** Does something that may fail, and tells of it. */
export function useAttempt(): (work: () => Promise<void>) => Promise<void> {
  const { tell } = useStudio();
  return useCallback(
    (work) => work().catch((error: unknown) => tell({ text: (error as Error).message, isError: true })),
    [tell],
  );
}

/** The suggestions for images that are still there and have no label, in their order. */
export function suggestedOf(
  suggestions: Suggestions | null,
  { images }: StudioProject,
): { image: StudioImage; suggestion: Suggestion }[] {
  const open = new Map(images.filter(({ label }) => label === null).map((image) => [image.id, image]));
  return (suggestions?.images ?? []).flatMap((suggestion) => {
    const image = open.get(suggestion.id);
    return image?.version === suggestion.version ? [{ image, suggestion }] : [];
  });
}

const modelKey = "supersimplenet model";

/** Undefined until the project is known. */
export function useStudioState(): Studio | undefined {
  const [project, setProject] = useState<StudioProject>();
  const [runs, setRuns] = useState<readonly StudioRun[]>([]);
  const [progress, setProgress] = useState<TrainingProgress>();
  const [epochs, setEpochs] = useState(nothingHeard);
  const [work, setWork] = useState<Work>();
  const [suggestions, setSuggestions] = useState<Suggestions | null>(null);
  const [line, setLine] = useState<readonly LineResult[]>([]);
  const [isThere, setThere] = useState(true);
  const [message, tell] = useState<Message>();
  const [chosen, setChosen] = useState(() => localStorage.getItem(modelKey));

  const reload = useCallback(async () => setProject(await api.project()), []);

  useEffect(() => {
    const load = async (): Promise<void> => {
      await reload();
      setSuggestions(await api.suggestions());
      setLine(await api.line());
    };
    load().catch((error: unknown) => tell({ text: (error as Error).message, isError: true }));
    const onEvent = (event: StudioEvent): void => {
      if (event.event === "project") void reload().catch(() => undefined);
      else if (event.event === "runs") {
        setRuns(event.runs);
        setEpochs((before) => stillRunning(before, event.runs));
        if (!event.runs.some(({ state }) => state === "running")) setProgress(undefined);
      } else if (event.event === "progress") setProgress(event.progress);
      else if (event.event === "epoch") setEpochs((before) => heardOf(before, event.run, event.epoch));
      else if (event.event === "suggestions") setSuggestions(event.suggestions);
      else if (event.event === "line") setLine(event.results);
      else setWork(event.done < event.total ? { kind: event.event, ...event } : undefined);
    };
    return listen({
      onEvent,
      onState(there) {
        setThere(there);
        if (there) return;
        setProgress(undefined);
        setWork(undefined);
      },
      onMissed: () => void load().catch(() => undefined),
    });
  }, [reload]);

  const model =
    runs.find(({ name, finished }) => name === chosen && finished !== null) ??
    runs.find(({ finished }) => finished !== null);
  const setModel = useCallback((name: string) => {
    localStorage.setItem(modelKey, name);
    setChosen(name);
  }, []);
  return useMemo(
    () =>
      project && {
        project,
        setProject,
        reload,
        runs,
        progress,
        epochs,
        work,
        suggestions,
        line,
        isThere,
        model,
        setModel,
        tell,
        message,
      },
    [project, reload, runs, progress, epochs, work, suggestions, line, isThere, model, setModel, message],
  );
}
