import { readFile } from "node:fs/promises";
import path from "node:path";

import { packageFolder } from "../native/locate.js";
import type { ReportDocument } from "./types.js";

const built = path.join(packageFolder, "dist", "pages");

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[character]!);

/** Text inside a script or a style that must not end it. */
const enclosed = (text: string): string => text.replace(/<\/(?=script|style)/gi, "<\\/").replaceAll("<!--", "<\\!--");

/** JSON inside a script element: no tag begins in it. */
const embedded = (document: ReportDocument): string => JSON.stringify(document).replaceAll("<", "\\u003c");

/** The report as one file, which needs no other and no network. */
export async function reportHtml(document: ReportDocument): Promise<string> {
  const [script, style] = await Promise.all(
    ["report.js", "report.css"].map((name) => readFile(path.join(built, name), "utf8")),
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>${escaped(document.title)}</title>
<style>${enclosed(style!)}</style>
</head>
<body>
<main id="page"><noscript>This report needs JavaScript.</noscript></main>
<script type="application/json" id="document">${embedded(document)}</script>
<script>${enclosed(script!)}</script>
</body>
</html>
`;
}
