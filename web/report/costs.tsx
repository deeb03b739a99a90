import { useState } from "preact/hooks";

import type { ReportImage } from "../../lib/report/types.js";
import { cheapest, costAt, type Costs, isDefect } from "./numbers.js";
import { texts } from "./texts.js";

interface Props {
  images: readonly ReportImage[];
  threshold: number;
  onThreshold(value: number): void;
}

const shown = (cost: number): string => cost.toLocaleString("en-GB", { maximumFractionDigits: cost < 10 ? 2 : 0 });

/** What a threshold costs, by the reader's own numbers. */
export function CostPanel({ images, threshold, onThreshold }: Props) {
  const [costs, setCosts] = useState<Costs>({ miss: 100, reject: 1, defects: 0.02 });
  const defects = images.filter(isDefect).length;
  if (defects === 0 || defects === images.length) return <p class="quiet">{texts.noCosts}</p>;
  const best = cheapest(images, costs);
  const cost = costAt(images, threshold, costs);
  const field = (name: keyof Costs, label: string, scale: number, most?: number) => (
    <label>
      {label}
      <input
        type="number"
        min={0}
        max={most}
        step="any"
        value={costs[name] * scale}
        onInput={(event) => {
          const value = Number(event.currentTarget.value) / scale;
          if (value >= 0 && (most === undefined || value * scale <= most)) setCosts({ ...costs, [name]: value });
        }}
      />
    </label>
  );
  return (
    <div class="costs">
      <h3>{texts.costs}</h3>
      <div class="fields">
        {field("miss", texts.costOfMiss, 1)}
        {field("reject", texts.costOfReject, 1)}
        {field("defects", texts.shareOfDefects, 100, 100)}
        <p>
          {texts.perThousand}: <strong>{shown(cost)}</strong>
        </p>
      </div>
      <p class="quiet">
        {texts.costsHelp} {cost > best.cost && texts.cheapest(shown(best.cost))}
      </p>
      {cost > best.cost && (
        <button type="button" onClick={() => onThreshold(best.threshold)}>
          {texts.takeCheapest}
        </button>
      )}
    </div>
  );
}
