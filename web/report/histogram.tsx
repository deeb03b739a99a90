import { useMemo, useRef } from "preact/hooks";

import type { ReportEvaluation } from "../../lib/report/types.js";
import { isDefect, shownRange } from "./numbers.js";
import { texts } from "./texts.js";

const bins = 48;
const [width, height] = [960, 200];

interface Props {
  evaluation: ReportEvaluation;
  threshold: number;
  onThreshold(value: number): void;
  /** What moving it does; undefined: on this page alone. */
  help: string | undefined;
}

/** Good parts upwards, defects downwards, and a line to drag. */
export function Histogram({ evaluation, threshold, onThreshold, help }: Props) {
  const { images, axis } = evaluation;
  const [low, high] = useMemo(() => shownRange(evaluation), [evaluation]);
  const drawing = useRef<SVGSVGElement>(null);
  const { counts, most, beyond } = useMemo(() => {
    const counts = Array.from({ length: bins }, () => ({ good: 0, defects: 0 }));
    let beyond = 0;
    for (const image of images) {
      const bin = Math.floor((bins * (image.value - low)) / (high - low));
      if (bin < 0 || bin >= bins) beyond++;
      counts[Math.max(0, Math.min(bins - 1, bin))]![isDefect(image) ? "defects" : "good"]++;
    }
    return { counts, beyond, most: Math.max(1, ...counts.flatMap(({ good, defects }) => [good, defects])) };
  }, [evaluation]);
  const x = (value: number): number => Math.max(0, Math.min(width, (width * (value - low)) / (high - low)));
  const middle = height / 2;
  const tall = (count: number): number => (middle - 6) * (count / most);
  const step = (high - low) / 400;

  const take = (event: PointerEvent): void => {
    const box = drawing.current!.getBoundingClientRect();
    onThreshold(low + ((high - low) * (event.clientX - box.left)) / box.width);
  };
  const ticks = ticksBetween(low, high);
  return (
    <div class="histogram">
      <p class="legend">
        <span class="key good">{texts.good}</span> <span class="key defect">{texts.defects}</span>
        <span class="quiet">{texts.axis[axis.kind]}</span>
      </p>
      <svg
        ref={drawing}
        viewBox={`0 0 ${width} ${height}`}
        preserveAspectRatio="none"
        aria-hidden="true"
        onPointerDown={(event) => {
          (event.currentTarget as Element).setPointerCapture(event.pointerId);
          take(event);
        }}
        onPointerMove={(event) => event.buttons === 1 && take(event)}
      >
        <rect class="above" x={x(threshold)} y={0} width={width - x(threshold)} height={height} />
        {counts.map(({ good, defects }, i) => {
          const place = { x: (i * width) / bins + 1, width: width / bins - 2 };
          return (
            <>
              <rect class="bar good" {...place} y={middle - tall(good)} height={tall(good)} />
              <rect class="bar defect" {...place} y={middle} height={tall(defects)} />
            </>
          );
        })}
        <line class="axis" x1={0} x2={width} y1={middle} y2={middle} />
        <line class="own" x1={x(axis.threshold)} x2={x(axis.threshold)} y1={0} y2={height} />
        <line class="threshold" x1={x(threshold)} x2={x(threshold)} y1={0} y2={height} />
      </svg>
      <div class="ticks" aria-hidden="true">
        {ticks.map((tick) => (
          <span key={tick} style={{ left: `${(100 * (tick - low)) / (high - low)}%` }}>
            {tick}
          </span>
        ))}
      </div>
      <div class="slider">
        <label for="threshold">{texts.threshold}</label>{" "}
        <output>
          {threshold.toFixed(3)}
          {axis.kind === "score" && ` (${texts.score(1 / (1 + Math.exp(-threshold)))})`}
        </output>
        <input
          id="threshold"
          type="range"
          min={low}
          max={high}
          step={step}
          value={threshold}
          onInput={(event) => onThreshold(Number(event.currentTarget.value))}
        />
      </div>
      <p class="quiet">
        {help ?? texts.thresholdHelp} {beyond > 0 && texts.beyond(beyond)}
      </p>
      {threshold !== axis.threshold && (
        <button type="button" onClick={() => onThreshold(axis.threshold)}>
          {texts.reset}
        </button>
      )}
    </div>
  );
}

/** Round numbers, five or so. */
function ticksBetween(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}
