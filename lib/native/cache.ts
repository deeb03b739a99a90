import os from "node:os";
import path from "node:path";

/**
 * The folder that keeps what is fetched once: libtorch and backbone weights. `SUPERSIMPLENET_CACHE`, else the platform's
 * cache folder (`XDG_CACHE_HOME` or ~/.cache, ~/Library/Caches, %LOCALAPPDATA%) / supersimplenet. It may not exist yet.
 */
export function cacheFolder(): string {
  const own = process.env["SUPERSIMPLENET_CACHE"];
  if (own) return path.resolve(own);
  return path.join(platformCache(), "supersimplenet");
}

function platformCache(): string {
  const xdg = process.env["XDG_CACHE_HOME"];
  if (xdg && path.isAbsolute(xdg)) return xdg; // the XDG specification: relative paths are invalid and ignored
  if (process.platform === "darwin") return path.join(os.homedir(), "Library", "Caches");
  if (process.platform === "win32") return process.env["LOCALAPPDATA"] ?? path.join(os.homedir(), "AppData", "Local");
  return path.join(os.homedir(), ".cache");
}
