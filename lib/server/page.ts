import { createHash } from "node:crypto";

const style = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1d2026; }
form { display: grid; grid-template-columns: max-content 1fr; gap: .5rem 1rem; align-items: center; }
button { grid-column: 2; justify-self: start; padding: .3rem 1.2rem; font: inherit; }
pre { background: #f1f2f4; padding: 1rem; overflow: auto; max-height: 24rem; }
img { max-width: 100%; display: block; margin: 1rem 0; }
#verdict { font-size: 1.5rem; font-weight: 600; }
`;

const script = `
const at = (id) => document.getElementById(id);
const headers = () => (at("token").value ? { authorization: "Bearer " + at("token").value } : {});
async function json(response) {
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.code + ": " + answer.error.message);
  return answer;
}
async function listModels() {
  const { models } = await json(await fetch("/api/v1/models", { headers: headers() }));
  at("model").replaceChildren(...models.map(({ name }) => new Option(name)));
}
const tell = (error) => { at("verdict").textContent = error.message; };
at("token").addEventListener("change", () => listModels().catch(tell));
at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("pictures").replaceChildren();
  at("answer").textContent = "";
  at("verdict").textContent = "...";
  try {
    const address = "/api/v1/models/" + encodeURIComponent(at("model").value) + "/detect?overlay=1";
    const response = await fetch(address, { method: "POST", headers: headers(), body: at("image").files[0] });
    const { overlay, ...answer } = await json(response);
    at("verdict").textContent = answer.verdict + ", score " + answer.score.toFixed(4);
    at("answer").textContent = JSON.stringify(answer, null, 2);
    const picture = new Image();
    picture.alt = "image, heat map and contour";
    picture.src = "data:" + overlay.mediaType + ";base64," + overlay.base64;
    at("pictures").append(picture);
  } catch (error) {
    tell(error);
  }
});
listModels().catch(tell);
`;

/** The page to try the server: one file that loads nothing from elsewhere. */
export const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>supersimplenet</title>
<style>${style}</style>
<h1>supersimplenet</h1>
<form id="form">
  <label for="token">Token</label><input id="token" type="password" autocomplete="off">
  <label for="model">Model</label><select id="model" required></select>
  <label for="image">Image</label><input id="image" type="file" accept="image/*" required>
  <button>Detect</button>
</form>
<p id="verdict" role="status"></p>
<div id="pictures"></div>
<pre id="answer"></pre>
<p><a href="/openapi.json">OpenAPI description</a></p>
<script>${script}</script>
</html>
`;

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** What the page may do: run its own script, use its own style, ask this server. */
export const pagePolicy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "img-src data:",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");
