import { useEffect, useRef, useState } from "preact/hooks";

import type { StudioDetection } from "../../../lib/studio/types.js";
import { api } from "../api.js";
import { Judged } from "../judge/detail.js";
import { ModelChoice } from "../judge/model_choice.js";
import { NoModel } from "../judge/no_model.js";
import { useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";
import { Camera } from "./camera.js";
import { Line } from "./line.js";

interface Shown {
  /** The model that was asked, as it was. */
  model: string;
  name: string;
  source: string;
  detection: StudioDetection | undefined;
}

export function UsePage({ rest }: { rest: string }) {
  const { model } = useStudio();
  const attempt = useAttempt();
  const [latest, setShown] = useState<Shown>();
  const [isCamera, setCamera] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const source = useRef<string | undefined>(undefined);
  useEffect(() => () => void (source.current && URL.revokeObjectURL(source.current)), []);
  if (rest === "line") return <Line />;
  if (!model)
    return (
      <NoModel>
        <p>
          <a href="#/use/line">{texts.line}</a>
        </p>
      </NoModel>
    );
  const now = `${model.name} ${model.finished}`;
  // What another model said of the image would stand under this one's name.
  const shown = latest?.model === now ? latest : undefined;
  const show = (name: string, image: Blob, detection?: StudioDetection): Shown => {
    if (source.current) URL.revokeObjectURL(source.current);
    source.current = URL.createObjectURL(image);
    const next = { model: now, name, source: source.current, detection };
    setShown(next);
    return next;
  };
  const judge = (name: string, image: Blob): Promise<void> =>
    attempt(async () => {
      const asked = show(name, image);
      const instead = (next: Shown | undefined): void => setShown((last) => (last === asked ? next : last));
      try {
        instead({ ...asked, detection: await api.detect(model.name, name, image) });
      } catch (error) {
        instead(undefined); // nothing is asked any more
        throw error;
      }
    });
  /** The picture before it stays until there is a verdict: of one after another nothing else could be read. */
  const judgePicture = (image: Blob): Promise<void> =>
    attempt(async () => void show(texts.cameraImage, image, await api.detect(model.name, texts.cameraImage, image)));
  return (
    <div
      class="use"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        const [file] = event.dataTransfer!.files;
        if (file) void judge(file.name, file);
      }}
    >
      <h1 class="hidden">{texts.pages.use}</h1>
      <div class="bar">
        <ModelChoice />
        <button type="button" onClick={() => input.current!.click()}>
          {texts.chooseImage}
        </button>
        <input
          ref={input}
          type="file"
          hidden
          accept="image/*,.tif,.tiff,.bmp"
          onChange={(event) => {
            const [file] = event.currentTarget.files!;
            if (file) void judge(file.name, file);
            event.currentTarget.value = "";
          }}
        />
        <button type="button" class="plain" aria-pressed={isCamera} onClick={() => setCamera(!isCamera)}>
          {texts.camera}
        </button>
        <span class="grow" />
        <a href="#/use/line">{texts.line}</a>
      </div>
      {isCamera && <Camera onImage={judgePicture} onClose={() => setCamera(false)} />}
      {shown ? (
        <section>
          <p class={`huge ${shown.detection?.verdict ?? ""}`} role="status">
            {shown.detection ? texts.verdicts[shown.detection.verdict] : texts.asking}
          </p>
          <p class="quiet">{shown.name}</p>
          <Judged source={shown.source} detection={shown.detection} />
        </section>
      ) : (
        <div class="empty">
          <p class="large">{texts.dropOne}</p>
          <p>{texts.dropOneHelp}</p>
        </div>
      )}
    </div>
  );
}
