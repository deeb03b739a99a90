import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import type { ReportEpoch, ReportImage } from "../../lib/report/types.js";
import { curve, outcomeAt } from "./numbers.js";
import { texts } from "./texts.js";

const colourOf = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const dark = matchMedia("(prefers-color-scheme: dark)");

type ChartOptions = Omit<uPlot.Options, "width" | "height">;

/** A uPlot chart that fills its place and follows the theme. */
function Chart({ data, options, text }: { data: uPlot.AlignedData; options: () => ChartOptions; text: string }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = place.current!;
    let plot: uPlot | undefined;
    const draw = (): void => {
      plot?.destroy();
      plot = new uPlot({ ...options(), width: box.clientWidth, height: 260 }, data, box);
    };
    draw();
    const observer = new ResizeObserver(() => plot!.setSize({ width: box.clientWidth, height: 260 }));
    observer.observe(box);
    // On paper it is light: the style sheet knows the attribute.
    const print = (): void => {
      document.documentElement.toggleAttribute("data-print", true);
      draw();
    };
    const printed = (): void => {
      document.documentElement.removeAttribute("data-print");
      draw();
    };
    dark.addEventListener("change", draw);
    addEventListener("beforeprint", print);
    addEventListener("afterprint", printed);
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", draw);
      removeEventListener("beforeprint", print);
      removeEventListener("afterprint", printed);
      plot?.destroy();
    };
  }, [data]);
  return <div class="chart" ref={place} role="img" aria-label={text} />;
}

const axis = (label: string): uPlot.Axis => ({
  label,
  stroke: colourOf("--text"),
  grid: { stroke: colourOf("--line"), width: 1 },
  ticks: { stroke: colourOf("--line"), width: 1 },
  font: "12px system-ui, sans-serif",
  labelFont: "12px system-ui, sans-serif",
});

const unit: uPlot.Scale = { time: false, range: [0, 1.02] };

/** A share's line, and a point where the threshold is. */
const shareOptions = (x: string, y: string) => (): Omit<uPlot.Options, "width" | "height"> => ({
  scales: { x: { time: false, range: [-0.02, 1.02] }, y: unit },
  axes: [axis(x), axis(y)],
  legend: { show: false },
  cursor: { show: false },
  series: [
    {},
    { stroke: colourOf("--accent"), width: 2, points: { show: false }, spanGaps: true },
    { stroke: colourOf("--text"), paths: () => null, points: { show: true, size: 10, fill: colourOf("--text") } },
  ],
});

/** The same x values for a line and for the point on it. */
function withPoint(line: readonly [x: number, y: number][], [px, py]: [number, number]): uPlot.AlignedData {
  const all = [...line.map(([x, y]) => [x, y, null] as const), [px, null, py] as const];
  // Stable: a step keeps its order. The point comes after what has its x.
  all.sort((a, b) => a[0] - b[0]);
  return [all.map(([x]) => x), all.map(([, y]) => y), all.map(([, , point]) => point)];
}

export function Curves({ images, threshold }: { images: readonly ReportImage[]; threshold: number }) {
  const points = useMemo(() => curve(images), [images]);
  const { found, missed, rejected, passed } = outcomeAt(images, threshold);
  const recall = found / (found + missed);
  const falseRejects = rejected / (rejected + passed);
  const precision = found + rejected === 0 ? 1 : found / (found + rejected);
  const roc = useMemo(
    () =>
      withPoint([[0, 0], ...points.map((p): [number, number] => [p.falseRejects, p.recall])], [falseRejects, recall]),
    [points, falseRejects, recall],
  );
  const pr = useMemo(
    () => withPoint([[0, 1], ...points.map((p): [number, number] => [p.recall, p.precision])], [recall, precision]),
    [points, recall, precision],
  );
  if (points.length === 0) return null;
  return (
    <section>
      <h2>{texts.curves}</h2>
      <div class="columns">
        <figure>
          <figcaption>{texts.roc}</figcaption>
          <Chart data={roc} text={texts.roc} options={shareOptions(texts.falseRejects, texts.recall)} />
        </figure>
        <figure>
          <figcaption>{texts.pr}</figcaption>
          <Chart data={pr} text={texts.pr} options={shareOptions(texts.recall, texts.precision)} />
        </figure>
      </div>
    </section>
  );
}

const terms = ["loss", "l1Normal", "l1Anomalous", "focalMap", "focalScore"] as const;
const termColours = ["--text", "--good", "--accent", "--defect", "--unsure"];

export function TrainingCurves({ epochs }: { epochs: readonly ReportEpoch[] }) {
  const data = useMemo(
    () => [epochs.map(({ epoch }) => epoch), ...terms.map((term) => epochs.map((epoch) => epoch[term]))],
    [epochs],
  ) as uPlot.AlignedData;
  const options = (): Omit<uPlot.Options, "width" | "height"> => ({
    scales: { x: { time: false }, y: { distr: 3 } },
    axes: [axis(texts.epoch), axis(texts.loss)],
    legend: { live: false },
    cursor: { show: false },
    series: [
      { label: texts.epoch },
      ...terms.map((term, i) => ({
        label: texts.terms[term],
        stroke: colourOf(termColours[i]!),
        width: i === 0 ? 2 : 1,
        points: { show: false },
      })),
    ],
  });
  return (
    <section>
      <h2>{texts.training}</h2>
      <Chart data={data} text={texts.lossByEpoch} options={options} />
    </section>
  );
}
