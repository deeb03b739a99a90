import { useEffect, useState } from "preact/hooks";

import { DataPage } from "./data/page.js";
import { JudgePage } from "./judge/page.js";
import { MaskPage } from "./masks/page.js";
import { StudioProvider, useStudioState } from "./studio.js";
import { texts } from "./texts.js";
import { TrainPage } from "./train/page.js";
import { UsePage } from "./use/page.js";

const pages = { data: DataPage, masks: MaskPage, train: TrainPage, judge: JudgePage, use: UsePage } as const;
type PageName = keyof typeof pages;

/** "#/masks/train/scratch/000.png": the page, and what it shows. */
function useRoute(): { page: PageName; rest: string } {
  const read = (): { page: PageName; rest: string } => {
    const [, page = "", rest = ""] = /^#\/([a-z]+)\/?(.*)$/.exec(location.hash) ?? [];
    return { page: page in pages ? (page as PageName) : "data", rest: decoded(rest) };
  };
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const onChange = (): void => setRoute(read());
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  return route;
}

/** An address that somebody has typed may be damaged. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

export function App() {
  const studio = useStudioState();
  const { page, rest } = useRoute();
  useEffect(() => {
    document.title = `${texts.pages[page]} · ${studio?.project.name ?? ""} · supersimplenet`;
  }, [page, studio?.project.name]);
  // A message is about what was done last.
  useEffect(() => {
    if (!studio?.message || studio.message.isError) return;
    const timer = setTimeout(() => studio.tell(undefined), 6000);
    return () => clearTimeout(timer);
  }, [studio?.message]);
  if (!studio) return <p class="loading">{texts.loading}</p>;
  const { project, message, tell, isThere, progress } = studio;
  const Page = pages[page];
  return (
    <StudioProvider value={studio}>
      <header class="top">
        <a class="brand" href="#/data">
          supersimplenet <span class="quiet">{project.name}</span>
        </a>
        <nav aria-label={texts.navigation}>
          {(Object.keys(texts.pages) as PageName[]).map((name) => (
            <a key={name} href={`#/${name}`} aria-current={name === page ? "page" : undefined}>
              {texts.pages[name]}
              {name === "train" && progress && <span class="dot" title={texts.trainingNow} />}
            </a>
          ))}
        </nav>
      </header>
      {!isThere && (
        <p class="banner" role="alert">
          {texts.lost}
        </p>
      )}
      {message && (
        <p class={`banner ${message.isError ? "error" : ""}`} role={message.isError ? "alert" : "status"}>
          <span>{message.text}</span>
          <button type="button" class="plain" onClick={() => tell(undefined)}>
            {texts.dismiss}
          </button>
        </p>
      )}
      <main class={`page-${page}`}>
        <Page rest={rest} />
      </main>
    </StudioProvider>
  );
}
