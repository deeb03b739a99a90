/** A process that ends while the engine works. Run by lifetime.test.ts: node child.js MODE DELAY_MS; not a test itself. */
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

import type {
  NativeDetector,
  NativePixelStatistics,
  NativeRegionFinder,
  NativeTrainer,
} from "../../lib/native/binding.js";
import { engine } from "../../lib/native/engine.js";
import { detectorConfig, trainerConfig } from "../support/trainer_config.js";

/** Work of two kinds: one long job of libtorch, behind it a long queue of short ones whose promises settle all the time. */
function keepBusy(): Promise<unknown> {
  const native = engine();
  const jobs: Promise<unknown>[] = [];
  for (let i = 0; i < 3000; i++) jobs.push(native.setThreads(2));
  jobs.push(native.randomBackbone("wide_resnet50_2", 0));
  for (let i = 0; i < 300; i++) jobs.push(native.setThreads(2));
  return Promise.all(jobs);
}

const after = (ms: number, body: () => void): unknown => (ms === 0 ? setImmediate(body) : setTimeout(body, ms));
const startWorker = (mode: string, delay: number): Worker => new Worker(__filename, { workerData: { mode, delay } });

const size = { imageHeight: 64, imageWidth: 64 };

/** What is still in use when the process or worker ends. */
const kept: unknown[] = [];
async function makeObjects(): Promise<void> {
  const native = engine();
  const backbone = await native.randomBackbone("resnet18", 0);
  const heads = await native.randomHeads(384, 0);
  const strip = new Float32Array(256 * 256);
  for (const end of [
    (made: unknown) => void kept.push(made),
    () => {},
    (made: NativeDetector | NativeTrainer | NativeRegionFinder | NativePixelStatistics) => made.dispose(),
  ]) {
    const finder = native.createRegionFinder({ width: 256, thresholds: [0, 1], minArea: 1 });
    await finder.addRows(strip, 256);
    end(finder);
    const statistics = native.createPixelStatistics();
    await statistics.addRows(strip, 256, 256, new Uint8Array(256 * 256).fill(1));
    end(statistics);
    end(await native.createDetector(detectorConfig(size), backbone, heads));
    end(await native.createTrainer(trainerConfig(size), backbone, heads));
  }
  kept.push(
    native.createGroup({
      rank: 0,
      worldSize: 2,
      masterAddress: "127.0.0.1",
      masterPort: 1,
      launcherStore: true,
      prefix: "",
      timeoutSeconds: 1,
      joinTimeoutSeconds: 1,
    }),
  );
}

/** Two jobs of the pool of some tens of milliseconds each. */
function takeStrips(): Promise<void>[] {
  const [width, rows] = [4096, 2048];
  const map = new Float32Array(width * rows);
  return [
    engine()
      .createRegionFinder({ width, thresholds: [0, 1], minArea: 1 })
      .addRows(map, rows),
    engine().createPixelStatistics().addRows(map, width, rows),
  ];
}

const modes: Record<string, (delay: number) => void> = {
  exit(delay) {
    void keepBusy();
    after(delay, () => process.exit(7));
  },
  throw(delay) {
    void keepBusy();
    after(delay, () => {
      throw new Error("on purpose");
    });
  },
  reject(delay) {
    void keepBusy();
    after(delay, () => void Promise.reject(new Error("on purpose")));
  },
  /** Jobs alone keep the process alive, and it ends when they are done. */
  finish() {
    void keepBusy().then(() => console.log("all settled"));
  },
  /** Promises of the pool are pending as well. */
  exitPool(delay) {
    void Promise.all(takeStrips());
    void engine().resizeImage(new Uint8Array(3000 * 3000 * 3), 3000, 3000, 3, 1500, 1500, "antialias");
    void keepBusy();
    after(delay, () => process.exit(7));
  },
  afterShutdown() {
    engine().shutdown();
    engine().shutdown();
    try {
      void engine().setThreads(1);
    } catch (error) {
      console.log((error as { code: string }).code);
    }
  },
  shutdownPool() {
    const jobs = takeStrips();
    engine().shutdown();
    void Promise.allSettled(jobs).then((ended) =>
      console.log(ended.map((job) => job.status === "rejected" && (job.reason as { code: string }).code).join(" ")),
    );
  },
  /** The main thread exits while workers and itself work. */
  exitWithWorkers(delay) {
    const workers = [startWorker("busy", 0), startWorker("busy", 0)];
    let online = 0;
    for (const worker of workers)
      worker.once("message", () => {
        if (++online < workers.length) return;
        void keepBusy();
        after(delay, () => process.exit(7));
      });
  },
  /** Ten workers one after another, terminated at different moments; then the engine of the main thread still works. */
  terminate() {
    void (async () => {
      for (let i = 0; i < 10; i++) {
        const worker = startWorker("busy", 0);
        await new Promise((resolve) => worker.once("message", resolve));
        await new Promise((resolve) => setTimeout(resolve, i * 7));
        await worker.terminate();
      }
      await engine().setThreads(1);
      console.log("terminated ten");
    })();
  },
  /** Workers terminated while the pool works, or while a call copies its arguments: both are moments of their own. */
  terminatePool() {
    void (async () => {
      for (const mode of ["busyPool", "busyCopying"]) {
        for (let i = 0; i < 8; i++) {
          const worker = startWorker(mode, 0);
          await new Promise((resolve) => worker.once("message", resolve));
          await new Promise((resolve) => setTimeout(resolve, i * 4));
          await worker.terminate();
        }
      }
      console.log("terminated all");
    })();
  },
  /** Ten workers that end themselves: five by process.exit, five by an exception. */
  workersEnd() {
    void (async () => {
      const codes: number[] = [];
      for (let i = 0; i < 10; i++) {
        const worker = startWorker(i % 2 === 0 ? "exit" : "throw", i * 5);
        worker.on("error", () => {});
        codes.push(await new Promise<number>((resolve) => worker.once("exit", resolve)));
      }
      await engine().setThreads(1);
      console.log(codes.join(" "));
    })();
  },
  /** The addon in four workers and the main thread at once, all of which finish their work. */
  parallel() {
    const ended = [0, 1, 2, 3].map(
      () => new Promise<number>((resolve) => startWorker("finish", 0).once("exit", resolve)),
    );
    void Promise.all([keepBusy(), ...ended]).then(([, ...codes]) => console.log(codes.join(" ")));
  },
  /** The main thread and workers that end with detectors, trainers and groups in use, dropped and disposed of: by themselves, by process.exit, terminated. */
  objects() {
    void (async () => {
      await makeObjects();
      const codes: number[] = [];
      for (const mode of ["endWithObjects", "exitWithObjects", "waitWithObjects"]) {
        const worker = startWorker(mode, 0);
        worker.once("message", () => void worker.terminate());
        codes.push(await new Promise<number>((resolve) => worker.once("exit", resolve)));
      }
      console.log(codes.join(" "));
    })();
  },
  endWithObjects: () => void makeObjects(),
  exitWithObjects: () => void makeObjects().then(() => process.exit(7)),
  waitWithObjects: () =>
    void makeObjects().then(() => {
      setInterval(() => {}, 1000);
      parentPort!.postMessage("made");
    }),
  busyPool() {
    const native = engine();
    for (const job of takeStrips()) void job;
    for (let i = 0; i < 4; i++)
      void native.resizeImage(new Uint8Array(2000 * 2000 * 3), 2000, 2000, 3, 1000, 1000, "antialias");
    for (let i = 0; i < 4; i++) void native.regions(new Float32Array(512 * 512), 512, 512, 0, 1);
    parentPort!.postMessage("busy");
  },
  busyCopying() {
    const native = engine();
    void (async () => {
      const backbone = await native.randomBackbone("resnet18", 0);
      const heads = await native.randomHeads(384, 0);
      parentPort!.postMessage("busy");
      for (let i = 0; i < 60; i++) void native.createDetector(detectorConfig(size), backbone, heads);
    })();
  },
  busy() {
    void keepBusy();
    parentPort!.postMessage("busy");
  },
};

const { mode, delay } = isMainThread
  ? { mode: process.argv[2]!, delay: Number(process.argv[3] ?? 0) }
  : (workerData as { mode: string; delay: number });
modes[mode]!(delay);
