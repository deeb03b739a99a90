import { readdirSync } from "node:fs";

import { Counter, Gauge, Histogram, Registry } from "prom-client";

import type { Detection } from "../detection/types.js";
import type { Output, OutputStatus } from "../outputs/output.js";
import type { Admission } from "./admission.js";
import type { Keeping } from "./keeping.js";
import type { Loaded, Models } from "./models.js";

const stages = ["decode", "wait", "engine", "post", "total"] as const;

/** What GET /metrics tells, in Prometheus' text format. docs/guides/server.md lists the names. */
export class Metrics {
  readonly #registry = new Registry();
  readonly contentType = this.#registry.contentType;
  readonly #requests = this.#counter("http_requests_total", "HTTP requests.", ["method", "route", "status"]);
  readonly #verdicts = this.#counter("verdicts_total", "Images by verdict.", ["model", "verdict"]);
  readonly #errors = this.#counter("image_errors_total", "Images without a verdict.", ["model", "code"]);
  readonly #reloads = this.#counter("model_loads_total", "Model files loaded or refused.", ["model", "outcome"]);
  readonly #stages = new Histogram({
    name: "supersimplenet_stage_seconds",
    help: "Time of an image by stage; wait is the time in the queue, total is from the request's head to the answer.",
    labelNames: ["model", "stage"] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.#registry],
  });
  readonly #batches = new Histogram({
    name: "supersimplenet_batch_images",
    help: "Images that went through the network together.",
    labelNames: ["model"] as const,
    buckets: [1, 2, 4, 8, 16, 32, 64],
    registers: [this.#registry],
  });
  /** Milliseconds that an image takes in the engine, averaged over the last dozens. */
  #engineMs = 0;

  /** Gauges are read when somebody asks. */
  watch(admission: Admission, models: Models, output: Output | undefined, keeping: Keeping | undefined): void {
    this.#gauge("queue_images", "Images that wait or are being detected.", [], (gauge) => gauge.set(admission.images));
    this.#gauge("queue_bytes", "Bytes of images as sent that are not answered yet.", [], (gauge) =>
      gauge.set(admission.bytes),
    );
    this.#gauge("queue_limit_images", "Images from which on requests are refused.", [], (gauge) =>
      gauge.set(admission.limits.images),
    );
    this.#gauge("model_loaded_timestamp_seconds", "When the model was loaded.", ["model", "checksum"], (gauge) => {
      for (const { name, checksum, loadedAt } of models.loaded())
        gauge.set({ model: name, checksum }, loadedAt.getTime() / 1000);
    });
    this.#gauge("model_reload_failed", "1: the file that lies there now was not loaded.", ["model"], (gauge) => {
      for (const { name, failed } of models.failures()) gauge.set({ model: name }, Number(failed));
    });
    this.#gauge("drift_images", "Images that drift was counted over.", ["model"], (gauge) => {
      for (const { name, detector } of models.loaded()) gauge.set({ model: name }, detector.drift().n);
    });
    this.#gauge("drift_changed", "1: scores are not those of the calibration.", ["model"], (gauge) => {
      for (const { name, detector } of models.loaded())
        gauge.set({ model: name }, Number(detector.drift().verdict === "changed"));
    });
    this.#gauge("drift_statistic", "Kolmogorov and Smirnov's D, 0 to 1.", ["model", "source"], (gauge) => {
      for (const { name, detector } of models.loaded()) {
        const { score, map } = detector.drift();
        if (score) gauge.set({ model: name, source: "score" }, score.statistic);
        if (map) gauge.set({ model: name, source: "map" }, map.statistic);
      }
    });
    this.#processGauges();
    if (output) this.#outputGauges(output);
    if (keeping) this.#keepingGauges(keeping);
  }

  #processGauges(): void {
    this.#gauge("resident_memory_bytes", "Memory of the process.", [], (gauge) => gauge.set(process.memoryUsage.rss()));
    this.#gauge("javascript_memory_bytes", "JavaScript's heap and what hangs on it.", [], (gauge) => {
      const { heapUsed, external } = process.memoryUsage();
      gauge.set(heapUsed + external);
    });
    this.#gauge("cpu_seconds", "Processor time of the process so far.", [], (gauge) => {
      const { user, system } = process.cpuUsage();
      gauge.set((user + system) / 1e6);
    });
    if (process.platform === "linux")
      this.#gauge("open_descriptors", "Open files and connections.", [], (gauge) =>
        gauge.set(readdirSync("/proc/self/fd").length),
      );
  }

  #outputGauges(output: Output): void {
    const told: [string, string, (status: OutputStatus) => number][] = [
      ["output_written", "Results written.", ({ written }) => written],
      ["output_waiting", "Results kept on the disk until they can be written.", ({ waiting }) => waiting],
      ["output_lost", "Results given up.", ({ lost }) => lost],
      ["output_failing", "1: the last attempt failed.", ({ error }) => Number(error !== undefined)],
    ];
    for (const [name, help, value] of told)
      this.#gauge(name, help, ["output"], (gauge) => {
        for (const status of output.status()) gauge.set({ output: status.output }, value(status));
      });
  }

  #keepingGauges(keeping: Keeping): void {
    const told: [string, string, (status: ReturnType<Keeping["status"]>) => number][] = [
      ["kept_images", "Images kept for the next training.", ({ kept }) => kept],
      ["kept_missed", "Images that should have been kept and could not be written.", ({ missed }) => missed],
      ["kept_full", "1: the folder has reached its size.", ({ full }) => Number(full)],
      ["kept_failing", "1: the last attempt failed.", ({ failing }) => Number(failing)],
    ];
    for (const [name, help, value] of told) this.#gauge(name, help, [], (gauge) => gauge.set(value(keeping.status())));
  }

  request(method: string, route: string, status: number): void {
    this.#requests.inc({ method, route, status });
  }

  detected(model: string, { verdict, timings }: Detection, waitMs: number, totalMs: number): void {
    this.#verdicts.inc({ model, verdict });
    const { decodeMs, engineMs, postMs } = timings;
    this.#engineMs += (engineMs + postMs - this.#engineMs) / (this.#engineMs === 0 ? 1 : 32);
    for (const [i, ms] of [decodeMs, waitMs, engineMs, postMs, totalMs].entries())
      this.#stages.observe({ model, stage: stages[i]! }, ms / 1000);
  }

  failed(model: string, code: string): void {
    this.#errors.inc({ model, code });
  }

  batch({ name }: Loaded, images: number): void {
    this.#batches.observe({ model: name }, images);
  }

  modelLoaded(model: string, outcome: "loaded" | "refused"): void {
    this.#reloads.inc({ model, outcome });
  }

  /** When so many images will be done, about. */
  secondsFor(images: number): number {
    return Math.max(1, Math.ceil((images * this.#engineMs) / 1000));
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name: `supersimplenet_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    read: (gauge: Gauge<Label>) => void,
  ): void {
    new Gauge({
      name: `supersimplenet_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset(); // models come and go
        read(this);
      },
    });
  }
}
