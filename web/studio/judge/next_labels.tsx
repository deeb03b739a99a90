import { useState } from "preact/hooks";

import { addresses, api } from "../api.js";
import { useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";

/** Images that are shown at a time. */
const shown = 12;

/** What to label next, with the reason. */
export function NextLabels() {
  const { project, setProject, suggestions, model, work } = useStudio();
  const attempt = useAttempt();
  const [kind, setKind] = useState("defect");
  if (!model || project.counts.unlabelled === 0) return null;
  const byId = new Map(project.images.filter(({ label }) => label === null).map((image) => [image.id, image]));
  const next = (suggestions?.images ?? []).filter(({ id }) => byId.has(id)).slice(0, shown);
  const label = (id: string, as: "good" | "defect"): Promise<void> =>
    attempt(async () => {
      const request = { ids: [id], label: as, ...(as === "defect" && { kind }) };
      setProject((await api.label(request)).project);
    });
  const isWorking = work?.kind === "suggesting";
  return (
    <section>
      <h2>{texts.nextLabels}</h2>
      <p class="quiet">{texts.nextLabelsHelp}</p>
      <div class="bar">
        <button
          type="button"
          disabled={work !== undefined}
          onClick={() => void attempt(async () => void (await api.suggest(model.name)))}
        >
          {isWorking ? texts.suggesting(work.done, work.total) : texts.findNext(project.counts.unlabelled)}
        </button>
        {next.length > 0 && (
          <label>
            {texts.kind}
            <input
              value={kind}
              list="next-kinds"
              maxLength={64}
              onInput={(event) => setKind(event.currentTarget.value)}
            />
            <datalist id="next-kinds">
              {project.kinds.map((name) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </label>
        )}
      </div>
      <ul class="tiles next">
        {next.map(({ id, verdict, score, reason }) => (
          <li key={id}>
            <img src={addresses.thumbnail(byId.get(id)!)} alt={id} />
            <p class="quiet">
              {texts.suggestion(texts.verdicts[verdict])}, {score.toFixed(3)} · {texts.reasons[reason]}
            </p>
            <div class="bar">
              <button type="button" class="plain good" onClick={() => void label(id, "good")}>
                {texts.good}
              </button>
              <button type="button" class="plain defect" onClick={() => void label(id, "defect")}>
                {texts.defect}
              </button>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
