/** Decodes one file several times at once, and prints how each ended, and the address space in use before, in KiB. */
import { readFileSync } from "node:fs";

import { hasCode } from "../../lib/errors.js";
import { decodeImage, loadImage } from "../../lib/images/decode.js";

const [small, file, count] = process.argv.slice(2);

async function main(): Promise<void> {
  await decodeImage(small!); // opens the engine and the image library
  const kilobytes = /^VmSize:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1];
  const calls = Array.from({ length: Number(count) }, () => loadImage(file!, { height: 64, width: 64 }));
  const results = (await Promise.allSettled(calls)).map((result) => {
    if (result.status === "fulfilled") return "read";
    return hasCode(result.reason, "OUT_OF_MEMORY") ? "OUT_OF_MEMORY" : String(result.reason);
  });
  console.log(JSON.stringify({ kilobytes: Number(kilobytes), results }));
}

void main();
