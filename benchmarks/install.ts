/**
 * The packed packages beside onnxruntime-node, which runs an export of the same network: sizes, time from `npm install` to the
 * first score, time to load, and memory of an idle detector. Every start is a process of its own; both take turns.
 *
 *   npm run pack:all -- --out DIR
 *   node dist/benchmarks/install.js --packages DIR [--architecture wide_resnet50_2] [--size 256] [--threads 2] [--repetitions 5]
 *     [--python python3] > benchmarks/results/NAME.json
 *
 * npm takes everything from its cache, which one installation before the measured ones fills; ours come from a local registry, because
 * npm unpacks files and addresses twice, and never caches files. Processor times are those of all processes, and tell more where others use the machine. Python needs
 * `torch`, `numpy` and `onnx` for the export. Linux with bash only.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import sharp from "sharp";

import { untrainedModel } from "../lib/benchmark/benchmark.js";
import { renderScene } from "../lib/datasets/surface.js";
import type { Architecture } from "../lib/native/binding.js";
import { Random } from "../lib/random.js";
import { machine, median, spread } from "./measure.js";
import { Child } from "./pytorch/child.js";

/** Milliseconds on the clock, and of the processor. */
interface Time {
  ms: number;
  cpuMs: number;
}

/** What a program prints that detects once and then waits. */
interface Run {
  score: number;
  /** From before the package is required until the detector is ready. */
  load: Time;
  /** Decoding and detection of the first image. */
  first: Time;
  /** After the detection and two idle seconds, in bytes; `private` without what is mapped from files. */
  resident: number;
  private: number;
}

const program = (load: string, detect: string): string => `const path = require("node:path");
const [, , model, image, threads] = process.argv;
(async () => {
  const now = () => ({ ms: performance.now(), cpuMs: (process.cpuUsage().user + process.cpuUsage().system) / 1000 });
  const between = (a, b) => ({ ms: b.ms - a.ms, cpuMs: b.cpuMs - a.cpuMs });
  const start = now();
  ${load}
  const loaded = now();
  ${detect}
  const done = now();
  globalThis.gc?.();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const status = require("node:fs").readFileSync("/proc/self/status", "utf8");
  const bytes = (name) => Number(new RegExp("^" + name + ":\\\\s+(\\\\d+) kB$", "m").exec(status)[1]) * 1024;
  process.stdout.write("\\n" + JSON.stringify({ score, load: between(start, loaded), first: between(loaded, done), resident: bytes("VmRSS"), private: bytes("RssAnon") }));
})();
`;

const programs = {
  supersimplenet: program(
    `const { Detector } = require("supersimplenet");
  const detector = await Detector.load(model, { threads: Number(threads), device: "cpu" });`,
    `const { score } = await detector.detect(image);`,
  ),
  onnxruntime: program(
    `const { InferenceSession, Tensor } = require("onnxruntime-node"), sharp = require("sharp");
  const session = await InferenceSession.create(model, { executionProviders: ["cpu"], intraOpNumThreads: Number(threads), interOpNumThreads: 1, graphOptimizationLevel: "all" });`,
    `const { data, info: { width, height } } = await sharp(image).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const plane = width * height, input = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) for (let p = 0; p < plane; p++) input[c * plane + p] = (data[3 * p + c] / 255 - [0.485, 0.456, 0.406][c]) / [0.229, 0.224, 0.225][c];
  const { score: { data: logits } } = await session.run({ image: new Tensor("float32", input, [1, 3, height, width]) });
  const score = 1 / (1 + Math.exp(-logits[0]));`,
  ),
};
type Name = keyof typeof programs;
const names = Object.keys(programs) as Name[];

/** Bytes of the files under a folder. */
function bytesUnder(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const inside = path.join(folder, entry.name);
    return sum + (entry.isDirectory() ? bytesUnder(inside) : entry.isFile() ? statSync(inside).size : 0);
  }, 0);
}

function command(folder: string, ...args: string[]): Time & { stdout: string } {
  const before = performance.now();
  const { status, stdout, stderr } = spawnSync("bash", ["-c", 'TIMEFORMAT="%U %S"; time "$@"', "bash", ...args], {
    cwd: folder,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
  const [user, system] = stderr.trim().split("\n").at(-1)!.split(" ").map(Number);
  return { ms: performance.now() - before, cpuMs: (user! + system!) * 1000, stdout };
}

/** A registry of one version of one package, which serves the files beside it too, in a process of its own. */
async function serve(tarball: string): Promise<{ url: string; end(): void }> {
  const script = `const fs = require("node:fs"), path = require("node:path");
    const [, tarball, manifest] = process.argv, { name, version } = JSON.parse(manifest), integrity = "sha512-" + require("node:crypto").createHash("sha512").update(fs.readFileSync(tarball)).digest("base64");
    require("node:http").createServer((request, response) => {
      if (decodeURIComponent(request.url) !== "/" + name) return fs.createReadStream(path.join(path.dirname(tarball), path.basename(request.url))).pipe(response);
      const dist = { tarball: "http://" + request.headers.host + "/" + path.basename(tarball), integrity };
      response.end(JSON.stringify({ name, "dist-tags": { latest: version }, versions: { [version]: { ...JSON.parse(manifest), dist } } }));
    }).listen(0, "127.0.0.1", function () { console.log(this.address().port); });`;
  const manifest = command(path.dirname(tarball), "tar", "-xzOf", tarball, "package/package.json").stdout;
  const child = spawn(process.execPath, ["-e", script, tarball, manifest], { stdio: ["ignore", "pipe", "inherit"] });
  const [port] = (await once(child.stdout, "data")) as [Buffer];
  return { url: `http://127.0.0.1:${String(port).trim()}`, end: () => void child.kill() };
}

const spreads = (times: readonly Time[]): object => ({
  clock: spread(times.map(({ ms }) => ms)),
  processor: spread(times.map(({ cpuMs }) => cpuMs)),
});
const sum = (a: Time, b: Time): Time => ({ ms: a.ms + b.ms, cpuMs: a.cpuMs + b.cpuMs });

async function measure(): Promise<void> {
  const { values } = parseArgs({
    options: {
      packages: { type: "string" },
      architecture: { type: "string", default: "wide_resnet50_2" },
      size: { type: "string", default: "256" },
      threads: { type: "string", default: "2" },
      repetitions: { type: "string", default: "5" },
      python: { type: "string", default: "python3" },
    },
  });
  if (values.packages === undefined)
    throw new Error("--packages DIR is needed: the tarballs of 'npm run pack:all -- --out DIR'.");
  const [packages, size, repetitions] = [
    path.resolve(values.packages),
    Number(values.size),
    Number(values.repetitions),
  ];
  const tarballs = readdirSync(packages)
    .filter((file) => file.endsWith(".tgz"))
    .map((file) => path.join(packages, file));
  const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-install-"));
  const at = (name: string): string => path.join(folder, name);
  const named = (start: RegExp): string => {
    const file = tarballs.find((tarball) => start.test(path.basename(tarball)));
    if (file === undefined) throw new Error(`${packages} has no ${start.source}`);
    return file;
  };
  const [main, libtorch] = [named(/^supersimplenet-\d/), named(/^supersimplenet-libtorch-/)];
  const server = await serve(libtorch);
  try {
    // The network for both, and an image that neither has to resize.
    const model = await untrainedModel(values.architecture as Architecture, [size, size], "random", undefined);
    const models = { supersimplenet: at("model.safetensors"), onnxruntime: at("model.onnx") };
    await model.save(models.supersimplenet);
    const { pixels } = renderScene(new Random(0, "benchmark", 0), size, size);
    await sharp(pixels, { raw: { width: size, height: size, channels: 3 } })
      .png()
      .toFile(at("image.png"));
    writeFileSync(at("pixels"), pixels);
    const child = new Child(values.python, 1);
    try {
      await child.send({
        command: "load",
        architecture: values.architecture,
        variant: model.config.variant,
        alignCorners: model.config.alignCorners,
        weights: models.supersimplenet,
        threads: 1,
        device: "cpu",
        precision: "float32",
      });
      await child.send({ command: "pixels", path: at("pixels"), count: 1, height: size, width: size });
      await child.send({ command: "export", path: models.onnxruntime });
    } finally {
      child.end();
    }

    const wanted = {
      supersimplenet: [`${server.url}/${path.basename(main)}`, `--@supersimplenet:registry=${server.url}/`],
      onnxruntime: ["onnxruntime-node", "sharp"],
    };
    const install = (name: Name): Time => {
      rmSync(at(name), { recursive: true, force: true });
      mkdirSync(at(name));
      writeFileSync(path.join(at(name), "package.json"), '{ "name": "app", "version": "1.0.0" }\n');
      writeFileSync(path.join(at(name), "app.cjs"), programs[name]);
      // onnxruntime-node's install script would download CUDA libraries.
      return command(
        at(name),
        "npm",
        "install",
        "--prefer-offline",
        "--no-audit",
        "--no-fund",
        ...(name === "onnxruntime" ? ["--ignore-scripts"] : []),
        ...wanted[name],
      );
    };
    const start = (name: Name): { run: Run; time: Time } => {
      const { stdout, ms, cpuMs } = command(
        at(name),
        process.execPath,
        "--expose-gc",
        "app.cjs",
        models[name],
        at("image.png"),
        values.threads,
      );
      return { run: JSON.parse(stdout.split("\n").at(-1)!) as Run, time: { ms: ms - 2000, cpuMs } };
    };

    for (const name of names) {
      install(name);
      start(name);
    }
    const nothing = () => ({ install: [] as Time[], installToFirstScore: [] as Time[], runs: [] as Run[] });
    const seen = { supersimplenet: nothing(), onnxruntime: nothing() };
    for (let i = 0; i < repetitions; i++)
      for (const name of names) {
        const installed = install(name);
        const whole = sum(installed, start(name).time);
        seen[name].install.push(installed);
        seen[name].installToFirstScore.push(whole);
        // A second start: the files are in the system's cache, as they are where a service is started again.
        const { run } = start(name);
        seen[name].runs.push(run);
        console.error(
          `${i + 1}/${repetitions} ${name}: npm ${(installed.ms / 1000).toFixed(1)} s, to the first score ${(whole.ms / 1000).toFixed(1)} s, load ${run.load.ms.toFixed(0)} ms, ${(run.resident / 1e6).toFixed(0)} MB`,
        );
      }
    const [ours, theirs] = names.map((name) => seen[name].runs[0]!.score) as [number, number];
    if (!(Math.abs(ours - theirs) < 1e-4)) throw new Error(`The scores differ: ${ours} and ${theirs}.`);

    const lock = JSON.parse(readFileSync(path.join(at("onnxruntime"), "package-lock.json"), "utf8")) as {
      packages: Record<string, { version: string }>;
    };
    const own = {
      supersimplenet: ["supersimplenet", "@supersimplenet"],
      onnxruntime: ["onnxruntime-node", "onnxruntime-common"],
    };
    command(
      folder,
      "npm",
      "pack",
      "--silent",
      "--ignore-scripts",
      ...own.onnxruntime.map((name) => `${name}@${lock.packages[`node_modules/${name}`]!.version}`),
    );
    const packed = {
      supersimplenet: tarballs,
      onnxruntime: readdirSync(folder)
        .filter((file) => file.endsWith(".tgz"))
        .map(at),
    };
    const results = names.map((name) => {
      const of = seen[name];
      return [
        name,
        {
          packedBytes: packed[name].reduce((sum, file) => sum + statSync(file).size, 0),
          installedBytes: own[name].reduce(
            (sum, inside) => sum + bytesUnder(path.join(at(name), "node_modules", inside)),
            0,
          ),
          nodeModulesBytes: bytesUnder(path.join(at(name), "node_modules")),
          modelBytes: statSync(models[name]).size,
          install: spreads(of.install),
          installToFirstScore: spreads(of.installToFirstScore),
          load: spreads(of.runs.map(({ load }) => load)),
          firstDetection: spreads(of.runs.map(({ first }) => first)),
          idleResidentBytes: median(of.runs.map(({ resident }) => resident)),
          idlePrivateBytes: median(of.runs.map((run) => run.private)),
        },
      ];
    });
    const version = (name: string): string => lock.packages[`node_modules/${name}`]!.version;
    console.log(
      JSON.stringify(
        {
          what: "install",
          architecture: values.architecture,
          size,
          repetitions,
          machine: machine(Number(values.threads)),
          npm: command(folder, "npm", "--version").stdout.trim(),
          "onnxruntime-node": version("onnxruntime-node"),
          ...Object.fromEntries(results),
        },
        null,
        2,
      ),
    );
  } finally {
    server.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

measure().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
