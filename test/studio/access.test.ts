import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";

import { temporaryFolder, writeTree } from "../datasets/files.js";
import { ask } from "../server/support.js";
import { opened } from "./support.js";

test("no page of another origin, and no other name, reaches the studio", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTree(path.join(folder, "data"), ["train/good/0.png", "train/good/1.png"]);
  const { url } = await opened(folder);
  const port = new URL(url).port;
  const address = `${url}/api/v1/removals`;
  const body = JSON.stringify({ ids: ["train/good/0.png"] });
  const refused: Record<string, string>[] = [
    { host: "evil.example" },
    { host: `evil.example:${port}` },
    { origin: "http://evil.example" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
  ];
  for (const headers of refused) {
    const answer = await ask(address, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });
    assert.equal(answer.status, 403, JSON.stringify(headers));
  }
  for (const page of ["/", "/api/v1/project"])
    assert.equal((await ask(url + page, { headers: { host: "evil.example" } })).status, 403);
  const { json } = await ask(`${url}/api/v1/project`);
  assert.equal((json as { images: unknown[] }).images.length, 2, "nothing was removed");
});

test("the page has a strict policy, and loads from this server alone", async (t) => {
  const { url } = await opened(await temporaryFolder(t));
  const { status, headers, text } = await ask(`${url}/`);
  assert.equal(status, 200);
  const policy = headers["content-security-policy"] as string;
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  assert.deepEqual(
    [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file),
    ["/studio.css", "/studio.js"],
  );
  for (const [file, type] of [
    ["/studio.css", "text/css"],
    ["/studio.js", "text/javascript"],
  ] as const) {
    const answer = await ask(url + file);
    assert.match(answer.headers["content-type"]!, new RegExp(`^${type}`));
    assert.equal(answer.headers["x-content-type-options"], "nosniff");
  }
  for (const file of ["/../package.json", "/studio.js/../report.js", "/dist/pages/studio.js"])
    assert.equal((await ask(url + file)).status, 404);
});

test("two programs cannot listen at one port, and the message names it", async (t) => {
  const { url } = await opened(await temporaryFolder(t));
  const { startStudio } = await import("../../lib/studio/server.js");
  const { studioOptions } = await import("../../lib/schema/studio.js");
  const settings = studioOptions.parse({ port: Number(new URL(url).port) });
  await assert.rejects(startStudio(await temporaryFolder(t), settings), /another program listens there/);
});
