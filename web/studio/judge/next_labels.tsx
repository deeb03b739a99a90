import { useState } from "preact/hooks";

import type { StudioImage } from "../../../lib/studio/types.js";
import { addresses, api } from "../api.js";
import { useLabelling } from "../data/labelling.js";
import { suggestedOf, useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";

/** Images that are shown at a time. */
const shown = 12;

/** What to label next, with the reason. */
export function NextLabels() {
  const { project, suggestions, model, work } = useStudio();
  const attempt = useAttempt();
  const labelling = useLabelling();
  const [kind, setKind] = useState("defect");
  if (!model || project.counts.unlabelled === 0) return null;
  const next = suggestedOf(suggestions, project).slice(0, shown);
  const label = (image: StudioImage, as: "good" | "defect"): Promise<unknown> =>
    labelling.store([image], [{ ids: [image.id], label: as, ...(as === "defect" && { kind }) }]);
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
        {next.map(({ image, suggestion: { id, verdict, score, reason } }) => (
          <li key={id}>
            <img src={addresses.thumbnail(image)} alt={id} />
            <p class="quiet">
              {texts.suggestion(texts.verdicts[verdict])}, {score.toFixed(3)} · {texts.reasons[reason]}
            </p>
            <div class="bar">
              <button type="button" class="plain good" onClick={() => void label(image, "good")}>
                {texts.good}
              </button>
              <button type="button" class="plain defect" onClick={() => void label(image, "defect")}>
                {texts.defect}
              </button>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
