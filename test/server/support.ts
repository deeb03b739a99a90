import { execFileSync, spawnSync } from "node:child_process";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { connect } from "node:net";
import path from "node:path";
import { after, type TestContext } from "node:test";

import sharp from "sharp";

import { untrainedModel } from "../../lib/benchmark/benchmark.js";
import { renderScene } from "../../lib/datasets/surface.js";
import {
  createServer,
  type DetectionServer,
  type Keeper,
  type Output,
  type Result,
  type ServerOptions,
} from "../../lib/index.js";
import { openEngine } from "../../lib/native/engine.js";
import { Random } from "../../lib/random.js";
import { DetectionQueue } from "../../lib/server/queue.js";

/** A model file with random weights; models of different `threshold` decide differently. */
export async function modelFile(folder: string, name = "model", size = 64, threshold = 0.5): Promise<string> {
  await openEngine("cpu");
  const model = await untrainedModel("resnet18", [size, size], "random");
  model.setThresholds({ score: threshold });
  const file = path.join(folder, `${name}.safetensors`);
  await model.save(file, { embedBackbone: true });
  return file;
}

/** A PNG of a drawn surface. */
export async function pngImage(width = 64, height = width, seed = 0): Promise<Buffer> {
  const { pixels } = renderScene(new Random(seed, "server"), height, width);
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

const servers: DetectionServer[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

/** A server that is closed after the file's tests. Its log is in `log`. */
export async function served(
  options: ServerOptions,
  output?: Output,
  keeper?: Keeper,
): Promise<{ server: DetectionServer; url: string; log: Record<string, unknown>[] }> {
  const log: Record<string, unknown>[] = [];
  const onLog = (line: string): void => void log.push(JSON.parse(line) as Record<string, unknown>);
  const server = await createServer(
    { port: 0, threads: 1, device: "cpu", reloadSeconds: 0, onLog, ...options },
    output,
    keeper,
  );
  servers.push(server);
  return { server, url: server.url, log };
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  json: any;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  signal?: AbortSignal;
}

/** One request on a connection of its own, with any headers, also those that fetch does not send. */
export function ask(address: string, { method, headers = {}, body, signal }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { method: method ?? (body === undefined ? "GET" : "POST"), headers, agent: false, signal };
    const request = httpRequest(address, options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("error", reject);
      response.on("end", () => {
        const isJson = /^application\/json/.test(response.headers["content-type"] ?? "");
        const json: unknown = isJson && text !== "" ? JSON.parse(text) : undefined;
        resolve({ status: response.statusCode!, headers: response.headers, text, json });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** What the server sends on a connection until it ends it; `bytes` are sent as they are. */
export function rawAsk(url: string, bytes: string | Uint8Array): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.setEncoding("utf8").on("data", (part: string) => (text += part));
    socket.on("error", () => undefined); // the server may end it while we still write
    socket.on("close", () => resolve(text));
  });
}

/** A multipart body of files. */
export function multipart(files: readonly { name: string; bytes: Uint8Array; type?: string }[]): {
  body: Buffer;
  headers: Record<string, string>;
} {
  const boundary = "----test";
  const parts = files.flatMap(({ name, bytes, type = "image/png" }) => [
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="image"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n`,
    ),
    bytes,
    Buffer.from("\r\n"),
  ]);
  return {
    body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]),
    headers: { "content-type": `multipart/form-data; boundary=${boundary}` },
  };
}

/** Holds what comes out of the queues of all servers of a test until `release`. */
export class HeldDetections {
  /** Images that were detected. */
  images = 0;
  release!: () => void;

  constructor(t: TestContext) {
    const free = new Promise<void>((resolve) => (this.release = resolve));
    const { detect } = DetectionQueue.prototype;
    const held = this;
    t.mock.method(DetectionQueue.prototype, "detect", async function (this: DetectionQueue, ...image: any) {
      const detected = await detect.apply(this, image as Parameters<typeof detect>);
      held.images++;
      await free;
      return detected;
    });
  }
}

/** An output that keeps what it is given, and holds it back until `release` where it was told to. */
export class HeldOutput implements Output {
  readonly results: Result[] = [];
  closed = false;
  readonly #free: Promise<void>;
  release!: () => void;

  constructor(hold = false) {
    this.#free = new Promise((resolve) => (this.release = resolve));
    if (!hold) this.release();
  }

  async write(result: Result): Promise<boolean> {
    this.results.push(result);
    await this.#free;
    return true;
  }

  status() {
    return [{ output: "test", written: this.results.length, waiting: 0, lost: 0, error: undefined }];
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

/** The value of a metric, by its name and labels as the text has them. */
export async function metric(url: string, line: string, headers: Record<string, string> = {}): Promise<number> {
  const { text } = await ask(`${url}/metrics`, { headers });
  const found = text.split("\n").find((one) => one.startsWith(`${line} `));
  return found === undefined ? 0 : Number(found.slice(line.length + 1));
}

/** Why a test that needs a program is skipped. */
export const missing = (program: string): string | false =>
  spawnSync(program, ["--version"]).error ? `there is no ${program} here` : false;

/** A key and a certificate for 127.0.0.1, made with openssl. */
export function selfSigned(folder: string): { tlsKey: string; tlsCert: string } {
  const [tlsKey, tlsCert] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
  execFileSync("openssl", [...made, "-keyout", tlsKey, "-out", tlsCert, ...named], { stdio: "ignore" });
  return { tlsKey, tlsCert };
}
