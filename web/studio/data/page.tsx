import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { LabelRequest, StudioImage, Validation } from "../../../lib/studio/types.js";
import { addresses, api } from "../api.js";
import { Dialog } from "../dialog.js";
import { suggestedOf, useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";
import { Grid } from "./grid.js";
import { useLabelling } from "./labelling.js";
import { chosenFiles, type Dropped, droppedFiles, importFiles } from "./import.js";

type Place = "all" | "unlabelled" | "train" | "test";

const nothing: ReadonlySet<string> = new Set();

export function DataPage() {
  const studio = useStudio();
  const attempt = useAttempt();
  const { project, setProject, suggestions, tell, model, work } = studio;
  const [place, setPlace] = useState<Place>("all");
  const [what, setWhat] = useState("all");
  const [selected, setSelected] = useState(nothing);
  const [active, setActive] = useState<string>();
  const [kind, setKind] = useState("defect");
  const [opened, setOpened] = useState<string>();
  const [checked, setChecked] = useState<Validation>();
  const [importing, setImporting] = useState<string>();
  const [isOver, setOver] = useState(false);

  // What was found in other data than those that are there now says nothing of these.
  const validation = checked?.data === project.data ? checked : undefined;
  const suggested = useMemo(
    () => new Map(suggestedOf(suggestions, project).map(({ image, suggestion }) => [image.id, suggestion])),
    [suggestions, project],
  );
  const images = useMemo(() => {
    const found = project.images.filter(
      (image) =>
        (place === "all" || (image.split ?? "unlabelled") === place) &&
        (what === "all" ||
          (what === "good"
            ? image.label === "good"
            : what === "defect"
              ? image.label === "defect"
              : image.kind === what.slice(5))),
    );
    const rank = ({ id }: StudioImage): number => suggested.get(id)?.rank ?? Infinity;
    // Unlabelled ones in the order in which labels teach most.
    return place === "unlabelled" && suggested.size > 0
      ? [...found].sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)))
      : found;
  }, [project.images, place, what, suggested]);
  const chosen = images.filter(({ id }) => selected.has(id));
  const labelling = useLabelling();
  const select = (ids: readonly string[]): void => {
    setSelected(new Set(ids));
    setActive(ids[0]);
  };
  const activeImage = project.images.find(({ id }) => id === active);

  /** Labels what is selected. Of one image it goes to the next at once: whoever types fast is never waited for. */
  const label = async (wanted: Omit<LabelRequest, "ids">): Promise<void> => {
    if (chosen.length === 0) return;
    const ids = chosen.map(({ id }) => id);
    const last = images.findLastIndex(({ id }) => selected.has(id));
    const isOther = ({ id }: StudioImage): boolean => !selected.has(id);
    const after = images.slice(last + 1).find(isOther) ?? images.slice(0, last).findLast(isOther);
    const goesOn = chosen.length === 1 && after !== undefined;
    if (goesOn) select([after.id]);
    const now = await labelling.store(chosen, [{ ids, ...wanted }]);
    if (!goesOn) select(ids.map((id) => now?.get(id) ?? id));
  };

  const undo = async (): Promise<void> => {
    const id = await labelling.undo();
    if (id !== undefined) select([id]);
  };

  /** Training images become test images, or the other way round. */
  const swap = async (): Promise<void> => {
    const labelled = chosen.filter(({ label: its }) => its !== null);
    const [first] = labelled;
    if (!first) return;
    const split = first.split === "train" ? "test" : "train";
    const requests = (["good", "defect"] as const).flatMap((its) => {
      const ids = labelled.filter((image) => image.label === its && image.split !== split).map(({ id }) => id);
      return ids.length === 0 ? [] : [{ ids, label: its, split } as const];
    });
    const now = await labelling.store(labelled, requests);
    select(chosen.map(({ id }) => now?.get(id) ?? id));
  };

  const remove = (): Promise<void> =>
    attempt(async () => {
      if (chosen.length === 0 || !confirm(texts.removeQuestion(chosen.length))) return;
      setProject(await api.remove(chosen.map(({ id }) => id)));
      setSelected(nothing);
      tell({ text: texts.removed(chosen.length) });
    });

  const keys: Record<string, () => Promise<void>> = {
    g: () => label({ label: "good" }),
    d: () => label({ label: "defect", kind }),
    u: () => label({ label: null }),
    t: swap,
    z: undo,
    Delete: remove,
    m: async () => {
      if (activeImage?.label === "defect") location.hash = `#/masks/${encodeURIComponent(activeImage.id)}`;
    },
  };
  const onKey = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || opened !== undefined) return;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName)) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    void act();
  };
  // Of the last rendering: an effect would come too late for whoever types fast.
  const onKeyNow = useRef(onKey);
  onKeyNow.current = onKey;
  useEffect(() => {
    const listener = (event: KeyboardEvent): void => onKeyNow.current(event);
    addEventListener("keydown", listener);
    return () => removeEventListener("keydown", listener);
  }, []);

  const take = (files: readonly Dropped[]): Promise<void> =>
    attempt(async () => {
      const { added, masks, known, failed } = await importFiles(files, (done, total) =>
        setImporting(texts.importing(done, total)),
      ).finally(() => setImporting(undefined));
      await studio.reload();
      const [first] = failed;
      const text =
        texts.imported(added, masks, known) +
        (first ? ` ${texts.importFailed(failed.length, first.path, first.reason)}` : "");
      tell({ text, isError: failed.length > 0 });
    });

  const onDrop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    // The list is gone when the handler ends.
    const files = droppedFiles(event.dataTransfer!.items);
    void attempt(async () => take(await files));
  };

  const { counts } = project;
  const isEmpty = project.images.length === 0;
  return (
    <div
      class={`data ${isOver ? "over" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={onDrop}
    >
      <h1 class="hidden">{texts.pages.data}</h1>
      <section class="summary" aria-label={texts.summary}>
        <ul class="counts">
          <li>
            <strong>{texts.regimes[project.regime]}</strong>
            <span class="quiet">{texts.regimeHelp[project.regime]}</span>
          </li>
          <Count value={counts.trainGood} text={texts.counts.trainGood} />
          <Count value={counts.trainDefect} text={texts.counts.trainDefect(counts.trainMasks)} />
          <Count
            value={counts.testGood + counts.testDefect}
            text={texts.counts.test(counts.testGood, counts.testDefect)}
          />
          <Count value={counts.unlabelled} text={texts.counts.unlabelled} />
        </ul>
        <ul class="advice" tabIndex={0} aria-label={texts.advice}>
          {project.readOnly !== null && <li class="problem">{project.readOnly}</li>}
          {(validation?.problems ?? project.problems).map((problem) => (
            <li key={problem} class="problem">
              {problem}
            </li>
          ))}
          {validation?.warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
          {validation && validation.problems.length + validation.warnings.length === 0 && <li>{texts.validated}</li>}
          {project.advice.map((advice) => (
            <li key={advice}>{advice}</li>
          ))}
        </ul>
      </section>
      <div class="bar">
        <label>
          {texts.show}
          <select value={place} onChange={(event) => setPlace(event.currentTarget.value as Place)}>
            {Object.entries(texts.places).map(([name, text]) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
        </label>
        <label>
          {texts.labelled}
          <select value={what} onChange={(event) => setWhat(event.currentTarget.value)}>
            <option value="all">{texts.anyLabel}</option>
            <option value="good">{texts.good}</option>
            <option value="defect">{texts.anyDefect}</option>
            {project.kinds.map((name) => (
              <option key={name} value={`kind ${name}`}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <span class="quiet" role="status">
          {importing ??
            (work?.kind === "suggesting"
              ? texts.suggesting(work.done, work.total)
              : texts.shownOf(images.length, project.images.length))}
        </span>
        <span class="grow" />
        <FileButton text={texts.addImages} onFiles={(files) => void take(files)} />
        <FileButton text={texts.addFolder} folder onFiles={(files) => void take(files)} />
        <button
          type="button"
          class="plain"
          onClick={() =>
            void attempt(async () => {
              setChecked(await api.validate());
              await studio.reload();
            })
          }
        >
          {texts.check}
        </button>
        {model && counts.unlabelled > 0 && (
          <button
            type="button"
            class="plain"
            disabled={work !== undefined}
            title={texts.suggestHelp(model.name)}
            onClick={() =>
              void attempt(async () => {
                setPlace("unlabelled");
                await api.suggest(model.name);
              })
            }
          >
            {texts.suggest}
          </button>
        )}
      </div>
      {isEmpty ? (
        <div class="empty">
          <p class="large">{texts.dropHere}</p>
          <p>{texts.dropHelp}</p>
        </div>
      ) : (
        <Grid
          images={images}
          selected={selected}
          active={active}
          suggestions={suggested}
          onSelect={(ids, id) => {
            setSelected(ids);
            setActive(id);
          }}
          onOpen={({ id }) => setOpened(id)}
        />
      )}
      {!isEmpty && (
        <div class="bar actions" role="toolbar" aria-label={texts.actions}>
          <span class="quiet">{texts.selected(chosen.length)}</span>
          <Action
            hint="G"
            text={texts.labelGood}
            disabled={chosen.length === 0}
            onClick={keys["g"]!}
            className="good"
          />
          <Action
            hint="D"
            text={texts.labelDefect}
            disabled={chosen.length === 0}
            onClick={keys["d"]!}
            className="defect"
          />
          <label>
            {texts.kind}
            <input list="kinds" value={kind} maxLength={64} onInput={(event) => setKind(event.currentTarget.value)} />
            <datalist id="kinds">
              {project.kinds.map((name) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </label>
          <Action hint="T" text={texts.swap} disabled={!chosen.some(({ label: its }) => its !== null)} onClick={swap} />
          <Action
            hint="U"
            text={texts.unlabel}
            disabled={!chosen.some(({ label: its }) => its !== null)}
            onClick={keys["u"]!}
          />
          <Action hint="M" text={texts.drawMask} disabled={activeImage?.label !== "defect"} onClick={keys["m"]!} />
          <Action hint="Z" text={texts.undo} disabled={!labelling.canUndo} onClick={undo} />
          <Action hint="Del" text={texts.remove} disabled={chosen.length === 0} onClick={remove} />
        </div>
      )}
      {opened !== undefined && (
        <Viewer images={images} id={opened} onId={setOpened} onClose={() => setOpened(undefined)} />
      )}
    </div>
  );
}

const Count = ({ value, text }: { value: number; text: string }) => (
  <li>
    <strong>{value}</strong>
    <span class="quiet">{text}</span>
  </li>
);

interface ActionProps {
  hint: string;
  text: string;
  disabled: boolean;
  onClick(): Promise<void>;
  className?: string;
}

const Action = ({ hint, text, disabled, onClick, className = "" }: ActionProps) => (
  <button
    type="button"
    class={`plain ${className}`}
    disabled={disabled}
    title={`${text} (${hint})`}
    onClick={() => void onClick()}
  >
    {text} <kbd>{hint}</kbd>
  </button>
);

/** A button that lets files be chosen. */
function FileButton({
  text,
  folder = false,
  onFiles,
}: {
  text: string;
  folder?: boolean;
  onFiles(files: Dropped[]): void;
}) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" onClick={() => input.current!.click()}>
        {text}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        accept={folder ? undefined : "image/*,.tif,.tiff,.bmp"}
        {...(folder && { webkitdirectory: true })}
        onChange={(event) => {
          onFiles(chosenFiles(event.currentTarget.files!));
          event.currentTarget.value = "";
        }}
      />
    </>
  );
}

/** One image in full. */
function Viewer({
  images,
  id,
  onId,
  onClose,
}: {
  images: readonly StudioImage[];
  id: string;
  onId(id: string): void;
  onClose(): void;
}) {
  const at = images.findIndex((image) => image.id === id);
  const image = images[at];
  useEffect(() => {
    if (!image) onClose();
  }, [image]);
  if (!image) return null;
  const go = (step: number): void => {
    const next = images[at + step];
    if (next) onId(next.id);
  };
  return (
    <Dialog title={id} onClose={onClose} onLeft={() => go(-1)} onRight={() => go(1)}>
      <img class="whole" src={addresses.image(image)} alt={id} />
      <p>
        {image.label === null ? texts.unlabelled : image.label === "good" ? texts.good : image.kind}{" "}
        {image.label === "defect" && (
          <a href={`#/masks/${encodeURIComponent(id)}`}>{image.mask !== null ? texts.changeMask : texts.drawMask}</a>
        )}
      </p>
    </Dialog>
  );
}
