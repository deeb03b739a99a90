import { readFile } from "node:fs/promises";
import path from "node:path";

import { packageFolder } from "../native/locate.js";

const built = path.join(packageFolder, "dist", "pages");

/** The files that the page is made of, by their addresses. */
export const pageFiles: Readonly<Record<string, { type: string; read(): Promise<Buffer> }>> = {
  "/studio.js": { type: "text/javascript; charset=utf-8", read: () => readFile(path.join(built, "studio.js")) },
  "/studio.css": { type: "text/css; charset=utf-8", read: () => readFile(path.join(built, "studio.css")) },
};

export const pageHtml = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>supersimplenet studio</title>
<link rel="stylesheet" href="/studio.css">
</head>
<body>
<div id="page"><noscript>The studio needs JavaScript.</noscript></div>
<script src="/studio.js"></script>
</body>
</html>
`;

/** What the page may do: run its own script, show pictures of this server, ask it, and use the camera that the user allows. */
export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "media-src 'self' blob:",
  "worker-src 'self' blob:",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");
