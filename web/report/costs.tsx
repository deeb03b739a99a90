import { useMemo, useState } from "preact/hooks";

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
  // As typed: a number that is being typed is not written over.
  const [typed, setTyped] = useState({ miss: "100", reject: "1", defects: "2" });
  const costs: Costs = useMemo(() => {
    const number = (text: string, most = Infinity): number => Math.min(most, Math.max(0, Number(text) || 0));
    return { miss: number(typed.miss), reject: number(typed.reject), defects: number(typed.defects, 100) / 100 };
  }, [typed]);
  const best = useMemo(() => cheapest(images, costs), [images, costs]);
  const defects = images.filter(isDefect).length;
  if (defects === 0 || defects === images.length) return <p class="quiet">{texts.noCosts}</p>;
  const cost = costAt(images, threshold, costs);
  const field = (name: keyof Costs, label: string, most?: number) => (
    <label>
      {label}
      <input
        type="number"
        min={0}
        max={most}
        step="any"
        value={typed[name]}
        onInput={(event) => setTyped({ ...typed, [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <div class="costs">
      <h3>{texts.costs}</h3>
      <div class="fields">
        {field("miss", texts.costOfMiss)}
        {field("reject", texts.costOfReject)}
        {field("defects", texts.shareOfDefects, 100)}
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
