import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { TestContext } from "node:test";

import { build } from "esbuild";
import type { Locator, Page } from "playwright-core";
import sharp from "sharp";

import { packageFolder } from "../../lib/native/locate.js";
import { until } from "../support/until.js";
import { type Look, openPage } from "./support.js";

/** A page with nothing but the editor, as a studio would use it. */
const script = `
  import { render } from "preact";
  import "./web/report/report.css";
  import { MaskEditor } from "./web/studio/masks/editor.js";

  const given = new URLSearchParams(location.search);
  const answered = async (request) => {
    const response = await request;
    if (!response.ok) throw new Error(await response.text());
    return response;
  };
  const propose = async () => (await answered(fetch("/proposal"))).blob();
  const show = (image) => {
    const onSave = async (mask) =>
      void (await answered(fetch(image + "/mask", mask ? { method: "PUT", body: mask } : { method: "DELETE" })));
    const optional = { ...(given.has("mask") && { mask: image + "/mask" }), ...(given.has("model") && { propose }) };
    render(<MaskEditor image={image} onSave={onSave} {...optional} />, document.querySelector("main"));
  };
  globalThis.show = show;
  show("/image");
`;

const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mask editor</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
</head>
<body><main></main><script src="/page.js"></script></body>
</html>`;

/** All that the editor needs. */
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'";

/** Bundles the page, once for all tests. */
async function bundle(): Promise<Record<string, string>> {
  const { outputFiles } = await build({
    stdin: { contents: script, loader: "tsx", resolveDir: packageFolder },
    ...{ absWorkingDir: packageFolder, outdir: "page", bundle: true, write: false, target: "es2022" },
    ...{ jsx: "automatic", jsxImportSource: "preact" },
  });
  const [scripts, styles] = [".js", ".css"].map((end) => outputFiles.find(({ path }) => path.endsWith(end))!.text);
  return { "/page.js": scripts!, "/page.css": `${styles} main { height: 100dvh; max-width: none; padding: 12px; }` };
}
let bundled: Promise<Record<string, string>> | undefined;

/** The server beside the page: an image, the masks that were stored, a proposal. */
export class Bench {
  /** By their order; undefined where the mask was empty. */
  readonly stored: (Buffer | undefined)[] = [];
  /** A mask from before. */
  mask: Buffer | undefined;
  proposal: Buffer | undefined;
  /** Is answered instead of storing. */
  failure: string | undefined;
  /** Saves wait for it. */
  gate: Promise<void> | undefined;
  /** Saves that have begun. */
  begun = 0;

  constructor(readonly image: Buffer) {}

  /** The editor with its image shown. */
  async open(t: TestContext, { query = "", ...look }: Look & { query?: string } = {}) {
    bundled ??= bundle();
    const pages = { "/": html, ...(await bundled) };
    const server = createServer((request, response) => void this.#answer(pages, request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const opened = await openPage(t, address + query, look);
    const complaints = (): string[] =>
      opened.complaints.filter((complaint) => !complaint.startsWith(`asked for ${address}`));
    return { page: opened.page, stage: opened.page.getByRole("application"), complaints };
  }

  async #answer(pages: Record<string, string>, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const place = new URL(request.url!, "http://localhost").pathname;
    const send = (status: number, type: string, body: Buffer | string | undefined): void =>
      void response.writeHead(status, { "content-type": type, "content-security-policy": policy }).end(body);
    const type = place.endsWith(".js") ? "text/javascript" : place.endsWith(".css") ? "text/css" : "text/html";
    if (place in pages) return send(200, type, pages[place]);
    if (place.endsWith("/mask") && request.method !== "GET") return this.#store(request, send);
    const held = place === "/proposal" ? this.proposal : place.endsWith("/mask") ? this.mask : this.image;
    send(held === undefined ? 404 : 200, "image/png", held ?? "there is none");
  }

  async #store(request: IncomingMessage, send: (status: number, type: string, body?: string) => void): Promise<void> {
    this.begun++;
    const body = await buffer(request);
    await this.gate;
    if (this.failure !== undefined) return send(500, "text/plain", this.failure);
    this.stored.push(request.method === "DELETE" ? undefined : body);
    send(200, "text/plain");
  }

  /** Waits for the save of this number, counted from 1, and returns its pixels, 0 or 1. */
  async saved(count: number): Promise<Uint8Array> {
    await until(() => this.stored.length >= count);
    return pixelsOf(this.stored[count - 1]!);
  }
}

/** 1 where a PNG is 255; throws where it has other values than 0 and 255. */
export async function pixelsOf(png: Buffer): Promise<Uint8Array> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  return Uint8Array.from({ length: info.width * info.height }, (_, i) => {
    const value = data[i * info.channels]!;
    if (value !== 0 && value !== 255) throw new Error(`pixel ${i} is ${value}`);
    return value / 255;
  });
}

/** A greyscale PNG with `value` where it is so. */
export function pngOf(
  width: number,
  height: number,
  isSet: (x: number, y: number) => boolean,
  value = 255,
): Promise<Buffer> {
  const pixels = Buffer.from(drawn(width, height, isSet).map((pixel) => pixel * value));
  return sharp(pixels, { raw: { width, height, channels: 1 } })
    .png()
    .toBuffer();
}

export const drawn = (width: number, height: number, isSet: (x: number, y: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: width * height }, (_, i) => Number(isSet(i % width, Math.floor(i / width))));

/** Where a point of a fitted image lies on the page. */
export async function placesOf(
  stage: Locator,
  width: number,
  height: number,
): Promise<(x: number, y: number) => [number, number]> {
  const box = (await stage.boundingBox())!;
  const scale = Math.min(64, box.width / width, box.height / height);
  return (x, y) => [box.x + box.width / 2 + (x - width / 2) * scale, box.y + box.height / 2 + (y - height / 2) * scale];
}

export async function drag(page: Page, from: [number, number], to: [number, number]): Promise<void> {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move(...to, { steps: 6 });
  await page.mouse.up();
}
