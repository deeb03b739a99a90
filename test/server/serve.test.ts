// The command, in a process of its own: its log, its end, and clients in other languages.
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { packageFolder } from "../../lib/native/locate.js";
import { scratchFolder } from "../training/support.js";
import { ask, missing, modelFile, pngImage, selfSigned } from "./support.js";
import { until } from "../support/until.js";

const main = path.resolve(__dirname, "../../lib/cli/main.js");
const folder = scratchFolder();
const run = promisify(execFile);
let file: string;
let picture: string;
before(async () => {
  file = await modelFile(folder);
  picture = path.join(folder, "part.png");
  writeFileSync(picture, await pngImage());
});

interface Running {
  child: ChildProcess;
  url: string;
  stdout: () => string;
  stderr: () => string;
  ended: Promise<number | null>;
}

const children: ChildProcess[] = [];
after(() => children.forEach((child) => child.kill("SIGKILL")));

async function serve(...args: string[]): Promise<Running> {
  const env = { ...process.env, SUPERSIMPLENET_THREADS: "1", OMP_NUM_THREADS: "1" };
  const child = spawn(process.execPath, [main, "serve", "--port", "0", ...args], { env });
  children.push(child);
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  await Promise.race([until(() => /https?:\/\/\S+/.test(stdout)), ended]);
  const [url] = /https?:\/\/[^\s"]+/.exec(stdout) ?? [];
  assert.ok(url, stderr);
  return { child, url, stdout: () => stdout, stderr: () => stderr, ended };
}

test("SIGTERM: the running requests are answered, also on connections that are kept, and the exit code is 0", async () => {
  const { child, url, stdout, stderr, ended } = await serve("--model", `part=${file}`);
  assert.match(stdout(), /^Serving part at http:\/\/127\.0\.0\.1:\d+\n$/);
  // Large enough to be running when the signal comes.
  const large = await pngImage(2000, 1500);
  const agent = new Agent({ keepAlive: true });
  const detect = () =>
    new Promise<number>((resolve, reject) => {
      const asked = request(`${url}/api/v1/models/part/detect`, { method: "POST", agent }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode!));
      });
      asked.on("error", reject);
      asked.end(large);
    });
  assert.equal(await detect(), 200);
  const running = [detect(), detect(), detect()];
  await until(async () => /queue_images [1-3]\n/.test((await ask(`${url}/metrics`)).text));
  child.kill("SIGTERM");
  assert.deepEqual(await Promise.all(running), [200, 200, 200]);
  assert.equal(await ended, 0);
  const lines = stderr()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.ok(lines.some(({ msg }) => msg === "stopped"));
  const requests = lines.filter(({ route }) => route === "/api/v1/models/:name/detect");
  assert.equal(requests.length, 4);
  for (const { requestId, status, model, verdict } of requests) {
    assert.match(String(requestId), /^[\w.-]+$/);
    assert.deepEqual([status, model, typeof verdict], [200, "part", "string"]);
  }
  agent.destroy();
});

test("--json: one document about where it listens, and the log stays on stderr", async () => {
  const { child, url, stdout, ended } = await serve("--model", `a=${file}`, "--model", `b=${file}`, "--json");
  assert.equal((await ask(`${url}/healthz`)).status, 200);
  child.kill("SIGINT");
  assert.equal(await ended, 0);
  assert.deepEqual(JSON.parse(stdout()), { url, models: ["a", "b"] });
});

test("what is wrong on the command line is said in its words, and the exit code is 2", async () => {
  const failed = async (...args: string[]) => {
    const { code, stderr } = (await run(process.execPath, [main, "serve", ...args]).catch(
      (error: unknown) => error,
    )) as {
      code: number;
      stderr: string;
    };
    assert.equal(code, 2, stderr);
    return stderr;
  };
  assert.match(await failed("--model", file), /NAME=FILE, each name once/);
  assert.match(await failed("--model", `a=${file}`, "--model", `a=${file}`), /each name once/);
  assert.match(
    await failed("--model", `a=${file}`, "--host", "0.0.0.0"),
    /other machines reach 0\.0\.0\.0.*Give --token-file, or --no-token/s,
  );
});

/** The block of a language in the guide, with this server's address. */
function example(language: string, url: string): string {
  const guide = readFileSync(path.join(packageFolder, "docs", "guides", "server.md"), "utf8");
  const [, code] = new RegExp(`\`\`\`${language}\n([^]*?)\n\`\`\``).exec(guide) ?? [];
  assert.ok(code, language);
  return code.replaceAll("http://127.0.0.1:8080", url).replaceAll("/models/bottle/", "/models/part/");
}

test("the guide's client in Python", { skip: missing("python3") }, async () => {
  const { child, url, ended } = await serve("--model", `part=${file}`);
  const { stdout } = await run("python3", ["-c", example("python", url)], { cwd: folder });
  assert.match(stdout, /^(good|defect) 0\.\d+\n$/);
  child.kill("SIGTERM");
  assert.equal(await ended, 0);
});

test("the guide's calls of curl", { skip: missing("curl") }, async () => {
  const { child, url, ended } = await serve("--model", `part=${file}`);
  const { stdout } = await run("sh", ["-ec", example("sh", url)], { cwd: folder });
  const lines = stdout.trim().split("\n");
  assert.equal(lines.length, 3, stdout);
  for (const line of lines.slice(0, 2)) assert.equal(typeof (JSON.parse(line) as { score: number }).score, "number");
  assert.match(lines[2]!, /"models":\[\{"name":"part"/);
  child.kill("SIGTERM");
  assert.equal(await ended, 0);
});

test("HTTPS", { skip: missing("openssl") || missing("curl") }, async () => {
  const { tlsKey: key, tlsCert: cert } = selfSigned(folder);
  const { child, url, ended } = await serve("--model", `part=${file}`, "--tls-cert", cert, "--tls-key", key);
  assert.match(url, /^https:/);
  const address = `${url}/api/v1/models/part/detect`;
  const { stdout } = await run("curl", ["-sS", "--cacert", cert, "--data-binary", `@${picture}`, address]);
  assert.equal(typeof (JSON.parse(stdout) as { score: number }).score, "number");
  const refused = await run("curl", [
    "-sS",
    "--cacert",
    cert,
    "-H",
    `Origin: ${url.replace("https", "http")}`,
    `${url}/healthz`,
  ]);
  assert.match(refused.stdout, /ORIGIN_REFUSED/);
  child.kill("SIGTERM");
  assert.equal(await ended, 0);
});

test("--to sends the results on, and what is answered is there", async () => {
  const results = path.join(folder, "results");
  const { child, url, ended } = await serve("--model", `part=${file}`, "--to", `jsonl:${results}`);
  const { json } = await ask(`${url}/api/v1/models/part/detect`, { body: readFileSync(picture) });
  const [name] = readdirSync(results);
  const {
    time: _,
    model,
    ...record
  } = JSON.parse(readFileSync(path.join(results, name!), "utf8")) as {
    time: string;
    model: { name: string };
  };
  assert.deepEqual(record, json);
  assert.equal(model.name, "part");
  child.kill("SIGTERM");
  assert.equal(await ended, 0);
});

test("--keep keeps images", async () => {
  const keepDir = path.join(folder, "kept");
  const args = ["--model", `part=${file}`, "--keep", "good,unsure,defect", "--keep-dir", keepDir, "--keep-mib", "10"];
  const { child, url, ended } = await serve(...args);
  await ask(`${url}/api/v1/models/part/detect`, { body: readFileSync(picture) });
  child.kill("SIGTERM");
  assert.equal(await ended, 0);
  const { file: kept } = JSON.parse(readFileSync(path.join(keepDir, "kept.jsonl"), "utf8")) as { file: string };
  assert.deepEqual(readFileSync(path.join(keepDir, kept)), readFileSync(picture));
});
