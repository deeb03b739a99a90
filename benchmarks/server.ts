// The server beside the detector itself, and a long run of it.
//   node dist/benchmarks/server.js [--threads N] [--rounds N] [--images N] [--out FILE]
// Throughput of 4 clients against 'serve' and of 'benchmark' (file-to-decision stream), in turns, ResNet-18 at 256x256,
// PNG bodies; then latency with 1, 4, 16 and 64 clients, and with a queue that is full.
//   node dist/benchmarks/server.js --soak REQUESTS [--clients N] [--out FILE]
// Requests of mixed sizes, 1 % of them damaged: every one must be answered as it should, and memory, descriptors and
// threads of the server must be at the end what they were at the beginning. Exit code 1 if not.
// The server has a process of its own; the clients are in this one, on the same machine.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import sharp from "sharp";

import { type Benchmark, percentile, untrainedModel } from "../lib/benchmark/benchmark.js";
import { renderScene } from "../lib/datasets/surface.js";
import { Detector } from "../lib/index.js";
import { packageFolder } from "../lib/native/locate.js";
import { openEngine } from "../lib/native/engine.js";
import { Random } from "../lib/random.js";
import { machine, median, mixedSizes } from "./measure.js";

const program = path.join(__dirname, "..", "lib", "cli", "main.js");

interface Server {
  child: ChildProcess;
  url: string;
  stop(): Promise<number | null>;
}

async function startServer(model: string, ...args: string[]): Promise<Server> {
  const all = ["serve", "--model", `part=${model}`, "--port", "0", "--device", "cpu", "--log-level", "warn", "--json"];
  const child = spawn(process.execPath, [program, ...all, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const url = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      if (text.endsWith("}\n")) resolve((JSON.parse(text) as { url: string }).url);
    });
    child.on("close", (code) => reject(new Error(`serve ended with ${code}`)));
  });
  const stop = (): Promise<number | null> => {
    child.kill("SIGTERM");
    return ended;
  };
  return { child, url, stop };
}

interface Answered {
  status: number;
  ms: number;
  text: string;
}

function detect(url: string, agent: Agent, body: Uint8Array): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const asked = request(`${url}/api/v1/models/part/detect`, { method: "POST", agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode!, ms: performance.now() - start, text }));
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.setHeader("content-length", body.length);
    asked.end(body);
  });
}

/** So many clients, each asking again as soon as it has its answer, until `count` requests are made. */
async function load(
  url: string,
  clients: number,
  count: number,
  bodyOf: (index: number) => Uint8Array,
  onAnswer: (answer: Answered, index: number) => void | Promise<void>,
): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  let next = 0;
  const start = performance.now();
  const client = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++)
      await onAnswer(await detect(url, agent, bodyOf(index)), index);
  };
  await Promise.all(Array.from({ length: clients }, client));
  const seconds = (performance.now() - start) / 1000;
  agent.destroy();
  return seconds;
}

/** Processor time of a process so far, and what it holds. Linux only. */
function measured(pid: number): {
  processorSeconds: number;
  residentMiB: number;
  descriptors: number;
  threads: number;
} {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]!;
  return {
    processorSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
    residentMiB: Number((Number(resident) / 1024).toFixed(1)),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
  };
}

async function makeModel(folder: string, size: number): Promise<string> {
  await openEngine("cpu");
  const file = path.join(folder, "model.safetensors");
  await (await untrainedModel("resnet18", [size, size], "random")).save(file, { embedBackbone: true });
  return file;
}

const picture = (width: number, height: number, seed: number) =>
  sharp(renderScene(new Random(seed, "server"), height, width).pixels, { raw: { width, height, channels: 3 } });

const rounded = (value: number): number => Number(value.toPrecision(4));

interface Plan {
  threads: number;
  rounds: number;
  images: number;
  out: string;
}

async function throughput({ threads, rounds, images, out }: Plan, folder: string): Promise<void> {
  const model = await makeModel(folder, 256);
  const body = await picture(256, 256, 0).png().toBuffer();
  const stream = (): number => {
    const args = ["benchmark", "--model", model, "--device", "cpu", "--threads", String(threads), "--json"];
    const repetitions = ["--repetitions", String(images)];
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args, ...repetitions], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(stderr);
    return (JSON.parse(stdout) as Benchmark).fileToDecision.imagesPerSecond;
  };
  const file = path.join(folder, "image.png");
  writeFileSync(file, body);
  const detector = await Detector.load(model, { device: "cpu", threads, batchSize: 1 });
  /** Of the same stream in this process, per image: it says more where others use the machine. */
  const streamProcessorMs = async (): Promise<number> => {
    const before = process.cpuUsage();
    for await (const _ of detector.detectEach(Array.from({ length: images }, () => file)));
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / images;
  };
  await detector.detect(file);
  const turns: Record<"stream" | "server" | "ratio" | "streamProcessorMs" | "serverProcessorMs", number>[] = [];
  const args = ["--threads", String(threads)];
  for (let round = 0; round < rounds; round++) {
    const streamed = stream();
    const server = await startServer(model, ...args);
    await load(server.url, 4, 20, () => body, checked);
    const before = measured(server.child.pid!).processorSeconds;
    const seconds = await load(server.url, 4, images, () => body, checked);
    const processorSeconds = measured(server.child.pid!).processorSeconds - before;
    await server.stop();
    const turn = {
      stream: rounded(streamed),
      server: rounded(images / seconds),
      ratio: rounded(images / seconds / streamed),
      streamProcessorMs: rounded(await streamProcessorMs()),
      serverProcessorMs: rounded((1000 * processorSeconds) / images),
    };
    console.error(JSON.stringify(turn));
    turns.push(turn);
  }
  detector.dispose();
  const latencies: Record<string, unknown>[] = [];
  const server = await startServer(model, ...args, "--queue-size", "256");
  for (const clients of [1, 4, 16, 64]) {
    await load(server.url, clients, 2 * clients, () => body, checked);
    const times: number[] = [];
    const seconds = await load(
      server.url,
      clients,
      Math.max(images, 4 * clients),
      () => body,
      (answer) => {
        checked(answer);
        times.push(answer.ms);
      },
    );
    const told = {
      clients,
      p50Ms: rounded(percentile(times, 50)),
      p99Ms: rounded(percentile(times, 99)),
      imagesPerSecond: rounded(times.length / seconds),
    };
    console.error(JSON.stringify(told));
    latencies.push(told);
  }
  await server.stop();
  const full = await fullQueue(model, args, body, images);
  console.error(JSON.stringify(full));
  const result = {
    what: "4 clients beside benchmark's file-to-decision stream, in turns; latency by clients; a full queue",
    ...machine(threads),
    images,
    bytes: body.length,
    medianRatio: median(turns.map(({ ratio }) => ratio)),
    turns,
    latencies,
    full,
  };
  writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
}

function checked({ status, text }: Answered): void {
  if (status !== 200) throw new Error(`${status}: ${text}`);
}

/** 64 clients for a queue of 8, until `count` images are done. Who is refused comes again after 50 ms, which is harder on the server than Retry-After. */
async function fullQueue(model: string, args: string[], body: Buffer, count: number): Promise<Record<string, unknown>> {
  const server = await startServer(model, ...args, "--queue-size", "8");
  const agent = new Agent({ keepAlive: true });
  const times: number[] = [];
  const resident: number[] = [];
  let refused = 0;
  const client = async (): Promise<void> => {
    while (times.length < count) {
      const answer = await detect(server.url, agent, body);
      if (answer.status === 429) {
        refused++;
        await sleep(50);
        continue;
      }
      checked(answer);
      times.push(answer.ms);
      resident.push(measured(server.child.pid!).residentMiB);
    }
  };
  await Promise.all(Array.from({ length: 64 }, client));
  agent.destroy();
  await server.stop();
  const tenth = Math.ceil(resident.length / 10);
  return {
    clients: 64,
    queueSize: 8,
    answered: times.length,
    refused,
    p50Ms: rounded(percentile(times, 50)),
    p99Ms: rounded(percentile(times, 99)),
    residentMiBFirstTenth: median(resident.slice(0, tenth)),
    residentMiBLastTenth: median(resident.slice(-tenth)),
  };
}

/** By how much the last tenth may lie above the first. malloc keeps free memory, more or less of it. */
const limits = { residentMiB: 64, descriptors: 4, threads: 4 } as const;

async function soak(requests: number, clients: number, out: string, folder: string): Promise<boolean> {
  const model = await makeModel(folder, 64);
  const good: Buffer[] = [];
  for (const [i, [width, height]] of mixedSizes.entries())
    for (const format of ["png", "jpeg", "webp", "tiff"] as const)
      good.push(await picture(width, height, i).toFormat(format).toBuffer());
  const damaged = [good[12]!.subarray(0, 200), Buffer.from("<html>404</html>"), good[5]!.subarray(0, 40)];
  const random = new Random(0, "soak");
  const plan = Uint8Array.from({ length: requests }, () => (random.uniform() < 0.01 ? 1 : 0));
  const bodyOf = (index: number): Buffer =>
    plan[index] ? damaged[index % damaged.length]! : good[index % good.length]!;
  const logits = new Map<Buffer, number>();
  const server = await startServer(model, "--threads", "1", "--queue-size", "256");
  const pid = server.child.pid!;
  const wrong: string[] = [];
  const seen: ReturnType<typeof measured>[] = [];
  const every = Math.max(1, Math.floor(requests / 200));
  let answered = 0;
  const onAnswer = ({ status, text }: Answered, index: number): void => {
    const body = bodyOf(index);
    if (plan[index]) {
      if (status !== 422 || !text.includes("IMAGE_UNREADABLE")) wrong.push(`damaged: ${status} ${text}`);
    } else if (status !== 200) wrong.push(`${status} ${text}`);
    else {
      const { logit } = JSON.parse(text) as { logit: number };
      const before = logits.get(body) ?? logit;
      logits.set(body, before);
      if (!(Math.abs(before - logit) < 1e-3)) wrong.push(`logit ${logit} after ${before}`);
    }
    if (++answered % every === 0) seen.push(measured(pid));
  };
  await load(server.url, clients, Math.ceil(requests / 20), (index) => good[index % good.length]!, checked);
  const seconds = await load(server.url, clients, requests, bodyOf, onAnswer);
  const code = await server.stop();
  const tenth = Math.ceil(seen.length / 10);
  const least = (rows: typeof seen) =>
    Object.fromEntries(
      (Object.keys(limits) as (keyof typeof limits)[]).map((name) => [name, Math.min(...rows.map((row) => row[name]))]),
    ) as Record<keyof typeof limits, number>;
  const [first, last] = [least(seen.slice(0, tenth)), least(seen.slice(-tenth))];
  const grown = (Object.keys(limits) as (keyof typeof limits)[]).filter(
    (name) => last[name] - first[name] > limits[name],
  );
  const result = {
    what: "a long run of the server",
    ...machine(1),
    requests,
    clients,
    damaged: plan.filter(Boolean).length,
    answered,
    wrong: wrong.slice(0, 20),
    seconds: Math.round(seconds),
    exitCode: code,
    limits,
    first,
    last,
    grown,
  };
  writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
  console.error(JSON.stringify(result));
  return grown.length === 0 && wrong.length === 0 && answered === requests && code === 0;
}

async function main(): Promise<void> {
  const results = path.join(packageFolder, "benchmarks", "results");
  const { values } = parseArgs({
    options: {
      threads: { type: "string", default: "1" },
      rounds: { type: "string", default: "5" },
      images: { type: "string", default: "200" },
      soak: { type: "string" },
      clients: { type: "string", default: "8" },
      out: { type: "string" },
    },
  });
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-server-"));
  const { soak: requests, out } = values;
  try {
    if (requests !== undefined) {
      const file = out ?? path.join(results, "server-soak.json");
      if (!(await soak(Number(requests), Number(values.clients), file, folder))) process.exitCode = 1;
    } else {
      const [threads, rounds, images] = [values.threads, values.rounds, values.images].map(Number) as [
        number,
        number,
        number,
      ];
      await throughput({ threads, rounds, images, out: out ?? path.join(results, "server.json") }, folder);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
