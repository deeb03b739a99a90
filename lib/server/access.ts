import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";

import { HttpError } from "./errors.js";

/** Whether nobody but this machine reaches an address. */
export function isLoopback(host: string): boolean {
  const name = withoutBrackets(host).toLowerCase();
  return name === "localhost" || name === "::1" || (isIP(name) === 4 && name.startsWith("127."));
}

const withoutBrackets = (host: string): string => host.replace(/^\[(.*)\]$/, "$1");

/** The name in a Host header, or undefined for what is none. */
function nameIn(host: string): string | undefined {
  const [, name] = /^(\[[0-9a-f:.]+\]|[^:/?#@\s]+)(?::\d{1,5})?$/i.exec(host) ?? [];
  return name && withoutBrackets(name).toLowerCase();
}

/**
 * Throws HOST_REFUSED for a name that is not known to be this machine's. A web page can let its own name point to this
 * machine (DNS rebinding), and the browser then takes both for one; it cannot do so with an address or with localhost.
 */
export function checkHost(host: string | undefined, allowed: readonly string[]): void {
  const name = nameIn(host ?? "");
  if (name === undefined) throw new HttpError("HOST_REFUSED", "The request has no usable Host header.");
  if (isIP(name) !== 0 || name === "localhost" || allowed.includes(name)) return;
  // The studio lets none be allowed.
  const advice = allowed.length > 0 ? "Allow it with --allow-host." : "Open it as localhost.";
  throw new HttpError("HOST_REFUSED", `This server does not go by the name '${name}'. ${advice}`);
}

/** Throws ORIGIN_REFUSED for what a browser sends from a page of another origin. Other programs send neither header. */
export function checkOrigin({ host, origin, ...headers }: IncomingHttpHeaders, scheme: "http" | "https"): void {
  const own = `${scheme}://${host}`.toLowerCase();
  if (origin !== undefined && origin.toLowerCase() !== own)
    throw new HttpError("ORIGIN_REFUSED", "Pages of other origins cannot use this server.");
  const site = headers["sec-fetch-site"];
  // A link to the page of this server is followed; what a foreign page fetches or embeds is not.
  const isLink = headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document";
  if (site !== undefined && site !== "same-origin" && site !== "none" && !isLink)
    throw new HttpError("ORIGIN_REFUSED", "Pages of other origins cannot use this server.");
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Throws UNAUTHORIZED without the token. The time it takes does not depend on what was sent: digests of one length are compared. */
export function tokenCheck(token: string): (authorization: string | undefined) => void {
  const wanted = digest(token);
  return (authorization) => {
    const [, given] = /^Bearer +(\S+)$/i.exec(authorization ?? "") ?? [];
    if (timingSafeEqual(digest(given ?? ""), wanted) && given !== undefined) return;
    throw new HttpError("UNAUTHORIZED", "Send the server's token as 'Authorization: Bearer TOKEN'.", {
      "www-authenticate": "Bearer",
    });
  };
}
