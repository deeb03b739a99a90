import { useEffect, useRef } from "preact/hooks";

import { addresses, api } from "../api.js";
import { useStudio } from "../studio.js";
import { texts } from "../texts.js";
import { MaskEditor } from "./editor.js";

/** The mask of one defect, and the way to the next one. `rest`: the image's id; empty: the first defect without a mask. */
export function MaskPage({ rest }: { rest: string }) {
  const { project, reload, model, tell } = useStudio();
  const defects = project.images.filter(({ label }) => label === "defect");
  const image =
    rest === "" ? (defects.find(({ mask }) => mask === null) ?? defects[0]) : defects.find(({ id }) => id === rest);
  /** The mask that the editor shows: what another page stores meanwhile is not written over. */
  const seen = useRef<{ id: string; mask: string | null }>({ id: "", mask: null });
  /** The image whose mask was not saved, as the user was told. */
  const failed = useRef("");
  if (image && seen.current.id !== image.id) seen.current = { id: image.id, mask: image.mask };
  // The address says which, so that it stays the same one when it has its mask.
  const id = image?.id;
  useEffect(() => {
    if (rest === "" && id !== undefined) location.replace(`#/masks/${encodeURIComponent(id)}`);
  }, [rest, id]);
  if (!image)
    return (
      <div class="empty">
        <h1 class="large">{defects.length > 0 ? texts.noDefectNow : texts.noDefects}</h1>
        <p>{defects.length > 0 ? rest : texts.noDefectsHelp}</p>
        <p>
          {defects.length > 0 && <a href="#/masks">{texts.otherDefects}</a>} <a href="#/data">{texts.pages.data}</a>
        </p>
      </div>
    );
  const at = defects.indexOf(image);
  const to = (step: number): string | undefined => {
    const next = defects[at + step];
    return next && `#/masks/${encodeURIComponent(next.id)}`;
  };
  const withMask = defects.filter(({ mask }) => mask !== null).length;
  return (
    <div class="mask-page">
      <h1 class="hidden">{texts.pages.masks}</h1>
      <div class="bar">
        <a href="#/data">{texts.back}</a>
        <strong class="grow name">{image.id}</strong>
        <span class="quiet">{texts.masksDone(withMask, defects.length)}</span>
        {to(-1) && <a href={to(-1)}>{texts.before}</a>}
        {to(1) && <a href={to(1)}>{texts.next}</a>}
      </div>
      {project.readOnly !== null && <p class="problem">{project.readOnly}</p>}
      <MaskEditor
        key={image.id}
        image={addresses.image(image)}
        {...(image.mask !== null && { mask: addresses.mask(image) })}
        {...(model && { propose: () => api.proposal(model.name, image.id) })}
        onSave={async (mask) => {
          const { id: shownId, mask: before } = seen.current;
          try {
            const stored = await api.saveMask(image.id, shownId === image.id ? before : image.mask, mask);
            if (seen.current.id === image.id) seen.current.mask = stored.mask;
            if (failed.current === image.id) tell(undefined);
            failed.current = "";
          } catch (error) {
            // The editor says so too, but may show another image by now, or be gone.
            failed.current = image.id;
            tell({ text: texts.maskNotSaved(image.id, (error as Error).message), isError: true });
            throw error;
          }
          await reload();
        }}
      />
    </div>
  );
}
