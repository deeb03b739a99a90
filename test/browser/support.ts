import { existsSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";

import AxeBuilder from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** SUPERSIMPLENET_CHROMIUM, or one where Linux systems have it. */
const executable = process.env["SUPERSIMPLENET_CHROMIUM"] ?? known.find((file) => existsSync(file));

/** Why the tests in a browser do not run; false: they do. */
export const withoutBrowser: string | false =
  executable === undefined && "there is no Chromium: install it, or name it with SUPERSIMPLENET_CHROMIUM";

let browser: Browser | undefined;

export async function openBrowser(): Promise<void> {
  // Root needs the first; only pages of these tests are opened. The camera is one that Chromium draws.
  const args = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
  if (executable !== undefined) browser = await chromium.launch({ executablePath: executable, args });
}

export async function closeBrowser(): Promise<void> {
  await browser?.close();
}

export interface Look {
  width?: number;
  theme?: "light" | "dark";
}

/** What the tabs of one user share. */
export async function openContext(
  t: TestContext,
  { width = 1280, theme = "light" }: Look = {},
): Promise<BrowserContext> {
  const context = await browser!.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
  t.after(() => context.close());
  return context;
}

/** A page, and all that it complained about or asked for. `context`: whose tab it is; without, that of another user. */
export async function openPage(
  t: TestContext,
  address: string,
  look: Look = {},
  context?: BrowserContext,
): Promise<{ page: Page; complaints: string[] }> {
  const page = await (context ?? (await openContext(t, look))).newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  // A page from disk asks for nothing, that of a server for what lies there.
  const own = (url: string): boolean =>
    address.startsWith("file:") ? url === address : url.startsWith(`${new URL(address).origin}/`);
  page.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url()) && !own(request.url())) complaints.push(`asked for ${request.url()}`);
  });
  await page.goto(address);
  return { page, complaints };
}

/** What axe finds wrong by WCAG 2.1 A and AA. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AxeBuilder.source);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof AxeBuilder };
    const { violations } = await axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    );
  });
}

/** A picture of the page for who looks at it: in SUPERSIMPLENET_SCREENSHOTS, if that is set. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const folder = process.env["SUPERSIMPLENET_SCREENSHOTS"];
  if (folder !== undefined) await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}
