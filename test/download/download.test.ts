import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, beforeEach, test } from "node:test";
import { promisify } from "node:util";

import { catalogueEntry, listWeights, weightsUrl } from "../../lib/backbones/catalogue.js";
import { type DownloadOptions, type Progress, download, downloadText } from "../../lib/download/download.js";
import { pullWeights } from "../../lib/backbones/pull.js";
import type { ErrorCode } from "../../lib/errors.js";
import {
  type FileServer,
  type FileServerOptions,
  answeringProxy,
  certificate,
  fileServer,
  proxyServer,
  silentServer,
} from "./servers.js";

const root = mkdtempSync(path.join(os.tmpdir(), "ssn-download-"));
after(() => rmSync(root, { recursive: true, force: true }));
for (const name of [
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "SUPERSIMPLENET_WEIGHTS_URL",
])
  delete process.env[name];

const content = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3));
const sha256Prefix = createHash("sha256").update(content).digest("hex").slice(0, 8);
let folder = "";
let file = "";
let number = 0;
beforeEach(() => {
  folder = path.join(root, String(number++));
  file = path.join(folder, "w.pth");
});

async function withServer(
  options: Partial<FileServerOptions>,
  body: (server: FileServer) => Promise<void>,
): Promise<void> {
  const server = await fileServer({ content, ...options });
  try {
    await body(server);
  } finally {
    await server.close();
  }
}

const fetchFile = (server: FileServer, options: Partial<DownloadOptions> = {}): Promise<{ bytes: number }> =>
  download({
    url: `${server.url}/file`,
    file,
    sha256Prefix,
    otherwise: "run 'weights import FILE'",
    retryDelayMs: 1,
    timeoutMs: 5000,
    ...options,
  });
const fails = (promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
  assert.rejects(promise, { name: "SuperSimpleNetError", code, message });
const arrived = (): void => {
  assert.deepEqual(readFileSync(file), content);
  assert.deepEqual(readdirSync(folder), ["w.pth"]);
};
function leavePart(bytes: Buffer, name = "w.pth.part"): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, name), bytes);
}

test("a download reports its progress and leaves only the file", () =>
  withServer({}, async (server) => {
    const progress: Progress[] = [];
    assert.deepEqual(await fetchFile(server, { onProgress: (p) => progress.push(p) }), { bytes: content.length });
    arrived();
    assert.deepEqual(progress[0], { received: 0, total: content.length });
    assert.deepEqual(progress.at(-1), { received: content.length, total: content.length });
    assert.equal(server.seen[0]!.range, undefined);
  }));

test("what an earlier download left is resumed, also that of a process that is gone", () =>
  withServer({}, async (server) => {
    for (const name of ["w.pth.part", "w.pth.part-99999999-0"]) {
      leavePart(content.subarray(0, 100_000), name);
      const progress: Progress[] = [];
      await fetchFile(server, { onProgress: (p) => progress.push(p) });
      arrived();
      assert.equal(server.seen.at(-1)!.range, "bytes=100000-");
      assert.deepEqual(progress[0], { received: 100_000, total: content.length });
      rmSync(file);
    }
    // The part of a process that still runs is left alone.
    leavePart(content.subarray(0, 10), `w.pth.part-${process.pid}-777`);
    await fetchFile(server);
    assert.equal(server.seen.at(-1)!.range, undefined);
    assert.deepEqual(readdirSync(folder).sort(), ["w.pth", `w.pth.part-${process.pid}-777`]);
  }));

test("a part that is whole already is only checked", () =>
  withServer({}, async (server) => {
    leavePart(content);
    await fetchFile(server);
    arrived();
    assert.equal(server.seen.length, 1);
  }));

test("a server without Range starts again", () =>
  withServer({ noRange: true }, async (server) => {
    leavePart(Buffer.alloc(100_000, "x"));
    await fetchFile(server);
    arrived();
  }));

test("a part of another file, or one that is too long, is thrown away", () =>
  withServer({}, async (server) => {
    for (const bytes of [Buffer.alloc(100_000, "x"), Buffer.alloc(content.length + 5)]) {
      leavePart(bytes);
      await fetchFile(server);
      arrived();
    }
  }));

test("broken connections and passing errors of the server are retried where they stopped", () =>
  withServer({ breakAfter: 50_000, breaks: 3, statuses: [503, 429] }, async (server) => {
    await fetchFile(server, { attempts: 3 });
    arrived();
    assert.deepEqual(
      server.seen.map((s) => s.range !== undefined),
      [false, false, false, true, true, true],
    );
  }));

test("a connection that never delivers everything fails, and keeps the part", () =>
  withServer({ breakAfter: 0, breaks: 100 }, async (server) => {
    leavePart(content.subarray(0, 1000));
    await fails(
      fetchFile(server, { attempts: 2 }),
      "DOWNLOAD_FAILED",
      /Cannot download http.*broke off.*weights import FILE/s,
    );
    assert.equal(server.seen.length, 2);
    assert.deepEqual(readdirSync(folder), ["w.pth.part"]);
    assert.equal(readFileSync(path.join(folder, "w.pth.part")).length, 1000);
  }));

test("404 fails at once", () =>
  withServer({ statuses: [404, 404] }, async (server) => {
    await fails(fetchFile(server), "DOWNLOAD_FAILED", /the server answered 404 Not Found/);
    assert.equal(server.seen.length, 1);
    assert.equal(existsSync(file), false);
  }));

test("a wrong checksum is refused and nothing is kept", () =>
  withServer({ content: Buffer.from("<html>login</html>") }, async (server) => {
    await fails(fetchFile(server), "CHECKSUM_MISMATCH", new RegExp(`instead of ${sha256Prefix}.*weights import`));
    assert.deepEqual(readdirSync(folder), []);
  }));

test("redirects are followed, but not for ever and not to other protocols", async () => {
  await withServer({}, async (server) => {
    await fetchFile(server, { url: `${server.url}/redirect/5` });
    arrived();
    await fails(
      fetchFile(server, { url: `${server.url}/redirect/6` }),
      "DOWNLOAD_FAILED",
      /redirects more than five times/,
    );
  });
  await withServer({ redirectTo: "ftp://localhost/x" }, (server) =>
    fails(fetchFile(server, { url: `${server.url}/redirect/1` }), "DOWNLOAD_FAILED", /insecure address ftp:/),
  );
});

test("a silent server runs into the time limit", () =>
  withServer({ silent: true }, (server) =>
    fails(fetchFile(server, { timeoutMs: 50, attempts: 2 }), "DOWNLOAD_FAILED", /sent nothing for 0\.05 s/),
  ));

test("a server that is not there fails", () =>
  fails(
    download({ url: "http://localhost:1/x", file, sha256Prefix, otherwise: "", attempts: 1 }),
    "DOWNLOAD_FAILED",
    /ECONNREFUSED|refused/,
  ));

test("cancelling stops the transfer and keeps the part", () =>
  withServer({ breakAfter: 50_000, breaks: 1 }, async (server) => {
    const controller = new AbortController();
    const promise = fetchFile(server, {
      signal: controller.signal,
      retryDelayMs: 60_000,
      onProgress: (p) => p.received >= 50_000 && setTimeout(() => controller.abort(), 30),
    });
    await fails(promise, "ABORTED", /cancelled/);
    assert.deepEqual(readdirSync(folder), ["w.pth.part"]);
    await fails(fetchFile(server, { signal: AbortSignal.abort() }), "ABORTED", /cancelled/);
  }));

test("an exception of the progress callback ends the download", () =>
  withServer({}, async (server) => {
    await assert.rejects(
      fetchFile(server, {
        onProgress: () => {
          throw new RangeError("mine");
        },
      }),
      /mine/,
    );
    assert.equal(server.seen.length, 1);
  }));

test("a proxy gets the whole address, with its credentials, and NO_PROXY goes round it", async () => {
  const proxy = await proxyServer("us%er:pa:ss");
  try {
    await withServer({ breakAfter: 1000, breaks: 1 }, async (server) => {
      process.env["HTTP_PROXY"] = proxy.url.replace("//", "//us%25er:pa%3Ass@");
      await fetchFile(server);
      arrived();
      assert.deepEqual(proxy.seen, [
        { url: `GET ${server.url}/file`, range: undefined },
        { url: `GET ${server.url}/file`, range: "bytes=1000-" },
      ]);
      process.env["NO_PROXY"] = "example.com,localhost";
      await fetchFile(server);
      assert.equal(proxy.seen.length, 2);
      delete process.env["NO_PROXY"];
      process.env["HTTP_PROXY"] = proxy.url;
      await fails(fetchFile(server), "DOWNLOAD_FAILED", /answered 407/);
    });
  } finally {
    delete process.env["HTTP_PROXY"];
    delete process.env["NO_PROXY"];
    await proxy.close();
  }
});

test("https goes through the proxy's tunnel, and the certificate is checked inside it", async () => {
  const proxy = await proxyServer("u:p");
  try {
    await withServer({ tls: true }, async (server) => {
      process.env["HTTPS_PROXY"] = proxy.url.replace("//", "//u:p@");
      await fails(fetchFile(server, { attempts: 1 }), "DOWNLOAD_FAILED", /self-signed certificate/);
      assert.equal(proxy.seen[0]!.url, `CONNECT ${new URL(server.url).host}`);
      // Trusted roots are read when Node starts.
      const roots = path.join(root, "roots.pem");
      writeFileSync(roots, certificate);
      const script = `require(process.argv[1]).download(JSON.parse(process.argv[2])).then((r) => console.log(String(r.bytes)))`;
      const args = [
        "-e",
        script,
        require.resolve("../../lib/download/download.js"),
        JSON.stringify({ url: `${server.url}/file`, file, sha256Prefix }),
      ];
      const child = await promisify(execFile)(process.execPath, args, {
        env: { ...process.env, NODE_EXTRA_CA_CERTS: roots },
      });
      assert.equal(child.stdout.trim(), String(content.length));
      arrived();
      assert.equal(proxy.seen.length, 2);
      process.env["HTTPS_PROXY"] = proxy.url;
      await fails(fetchFile(server), "DOWNLOAD_FAILED", /proxy localhost:\d+ refuses the connection: 407/);
    });
  } finally {
    delete process.env["HTTPS_PROXY"];
    await proxy.close();
  }
});

/** Runs `body` with these proxy variables and no others. */
async function withProxies(variables: Record<string, string>, body: () => Promise<void>): Promise<void> {
  Object.assign(process.env, variables);
  try {
    await body();
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}

test("proxy variables: which proxy, and for what", async () => {
  const [proxy, other] = [await answeringProxy(), await answeringProxy()];
  const host = new URL(proxy.url).host;
  // Names that no server has, and ports where none listens: without the proxy all of these fail.
  const proxied = async (url: string): Promise<boolean> => {
    const before = proxy.seen.length;
    await downloadText({ url, accept: "*/*", otherwise: "", attempts: 1, timeoutMs: 2000 }).catch(() => undefined);
    return proxy.seen.length > before;
  };
  try {
    assert.equal(await proxied("http://a.invalid:1/x"), false);
    await withProxies({ HTTP_PROXY: proxy.url }, async () => {
      assert.equal(await proxied("https://a.invalid:1/x"), false);
      assert.equal(await proxied("http://a.invalid:1/x"), true);
    });
    await withProxies({ HTTPS_PROXY: host }, async () => {
      assert.equal(await proxied("http://a.invalid:1/x"), false);
      assert.equal(await proxied("https://a.invalid:1/x"), true);
    });
    await withProxies({ HTTP_PROXY: other.url, http_proxy: proxy.url }, async () =>
      assert.equal(await proxied("http://a.invalid:1/x"), true),
    );
    const excluded = " .b.invalid, c.invalid:8443,*.d.invalid,127.0.0.1,[::1]";
    await withProxies({ HTTP_PROXY: proxy.url, NO_PROXY: excluded }, async () => {
      for (const url of ["b.invalid", "x.b.invalid", "c.invalid:8443", "x.d.invalid", "127.0.0.1:1", "[::1]:1"])
        assert.equal(await proxied(`http://${url}/`), false, url);
      for (const url of ["ab.invalid", "c.invalid", "127.0.0.2:1"])
        assert.equal(await proxied(`http://${url}/`), true, url);
    });
    await withProxies({ HTTP_PROXY: proxy.url, NO_PROXY: "*" }, async () =>
      assert.equal(await proxied("http://a.invalid:1/x"), false),
    );
    assert.equal(other.seen.length, 0);
  } finally {
    await proxy.close();
    await other.close();
  }
});

test("a proxy of another protocol is refused, and its password is not shown", () =>
  withProxies({ HTTPS_PROXY: "socks5://u:secret@p" }, () =>
    assert.rejects(
      fetchFile({ url: "https://a.invalid" } as FileServer),
      (e: Error) => /not an http or https/.test(e.message) && !e.message.includes("secret"),
    ),
  ));

test("a proxy gets its user name without a password, and one that is not percent-encoded", async () => {
  for (const [inUrl, credentials] of [
    ["user@", "user:"],
    ["us%er:p@", "us%er:p"],
  ] as const) {
    const proxy = await proxyServer(credentials);
    try {
      await withServer({}, (server) =>
        withProxies({ HTTP_PROXY: proxy.url.replace("//", `//${inUrl}`) }, async () => {
          await fetchFile(server);
          arrived();
          rmSync(file);
        }),
      );
    } finally {
      await proxy.close();
    }
  }
});

test("a redirect from https to http is refused", () =>
  withServer({ tls: true, redirectTo: "http://a.invalid/file" }, async (server) => {
    const script = `require(process.argv[1]).download(JSON.parse(process.argv[2])).catch((e) => console.log(e.code, e.message))`;
    const roots = path.join(root, "redirect.pem");
    writeFileSync(roots, certificate);
    const options = JSON.stringify({ url: `${server.url}/redirect/1`, file, sha256Prefix, attempts: 1 });
    const child = await promisify(execFile)(
      process.execPath,
      ["-e", script, require.resolve("../../lib/download/download.js"), options],
      { env: { ...process.env, NODE_EXTRA_CA_CERTS: roots } },
    );
    assert.match(child.stdout, /^DOWNLOAD_FAILED .* redirects to the insecure address http:\/\/a\.invalid\/file/);
  }));

test("a proxy or server that accepts and never answers: the time limit, and cancelling at once", async () => {
  const silent = await silentServer();
  try {
    for (const [variables, url] of [
      [{ HTTPS_PROXY: silent.url }, "https://a.invalid/x"],
      [{ HTTP_PROXY: silent.url }, "http://a.invalid/x"],
      [{}, silent.url.replace("http:", "https:")],
    ] as [Record<string, string>, string][])
      await withProxies(variables, async () => {
        const server = { url } as FileServer;
        await fails(fetchFile(server, { timeoutMs: 200, attempts: 1 }), "DOWNLOAD_FAILED", /sent nothing for 0\.2 s/);
        const start = performance.now();
        const signal = AbortSignal.timeout(100);
        await fails(fetchFile(server, { timeoutMs: 60_000, signal }), "ABORTED", /cancelled/);
        assert.ok(performance.now() - start < 5000);
      });
  } finally {
    await silent.close();
  }
});

test("pull takes the catalogue's file from a mirror and refuses another content", () =>
  withServer({}, async (server) => {
    process.env["SUPERSIMPLENET_CACHE"] = folder;
    try {
      await fails(
        pullWeights("resnet18", { baseUrl: `${server.url}/mirror` }),
        "CHECKSUM_MISMATCH",
        /instead of f37072fd/,
      );
      process.env["SUPERSIMPLENET_WEIGHTS_URL"] = `${server.url}/other/`;
      await fails(pullWeights("wide_resnet50_2"), "CHECKSUM_MISMATCH", /instead of 95faca4d/);
      assert.deepEqual(
        server.seen.map((s) => s.url),
        ["/mirror/resnet18-f37072fd.pth", "/other/wide_resnet50_2-95faca4d.pth"],
      );
      await fails(pullWeights("resnet17"), "INVALID_OPTION", /did you mean 'resnet1?\d/);
      await fails(
        pullWeights("resnet18", { baseUrl: "file:///tmp" }),
        "INVALID_OPTION",
        /expected an http or https address/,
      );
      assert.deepEqual(
        listWeights()
          .filter(({ url }) => url !== null)
          .map(({ used }) => used),
        [null, null, null, null, null, null],
      );
    } finally {
      delete process.env["SUPERSIMPLENET_CACHE"];
      delete process.env["SUPERSIMPLENET_WEIGHTS_URL"];
    }
  }));

test("the official addresses", () => {
  assert.equal(
    weightsUrl(catalogueEntry("wide_resnet50_2")),
    "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
  );
});
