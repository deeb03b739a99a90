// A studio on a file system that becomes full, for start.test.ts: prints what requests are answered, and the files.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { studioOptions } from "../../lib/schema/studio.js";
import { startStudio } from "../../lib/studio/server.js";
import { writeImage, writeMask, writeTree } from "../datasets/files.js";
import { fillDisk } from "../support/mounts.js";

async function main(folder: string): Promise<void> {
  const data = path.join(folder, "data");
  await writeTree(
    data,
    ["train/good/0.png", "train/good/1.png", "train/dent/2.png", "test/dent/3.png"],
    ["ground_truth/train/dent/2_mask.png"],
  );
  for (const name of ["a.png", "b.png"]) await writeMask(path.join(data, "ground_truth/dent/3", name));
  const mask = path.join(folder, "mask.png");
  await writeMask(mask, { value: 200 });
  const drawn = new Uint8Array(readFileSync(mask));
  await writeImage(path.join(folder, "image.png"), { width: 60 });
  const image = new Uint8Array(readFileSync(path.join(folder, "image.png")));
  const settings = studioOptions.parse({ port: 0, withoutBrowser: true, device: "cpu", threads: 1 });
  const studio = await startStudio(folder, settings);
  const call = async (method: string, address: string, body: unknown) => {
    const isBytes = body instanceof Uint8Array;
    const answer = await fetch(`${studio.url}/api/v1${address}`, {
      method,
      body: isBytes ? new Uint8Array(body) : JSON.stringify(body),
      headers: { "content-type": isBytes ? "application/octet-stream" : "application/json" },
    });
    const { error } = (await answer.json()) as { error?: { code: string } };
    return { status: answer.status, code: error?.code ?? "" };
  };
  const files = (): string[] =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => path.relative(folder, path.join(parentPath, name)))
      .sort();
  fillDisk(path.join(folder, "filler"));
  const before = files();
  const answers = {
    image: await call("POST", "/images?name=new.png", image),
    labelled: await call("POST", "/images?name=set/train/dent/new.png", image),
    mask: await call("PUT", "/mask?id=train/dent/2.png", drawn),
    severalMasks: await call("PUT", "/mask?id=test/dent/3.png", drawn),
    training: await call("POST", "/runs", { flags: { epochs: "1" } }),
  };
  const after = files();
  await studio.close();
  console.log(JSON.stringify({ answers, before, after }));
}

void main(process.argv[2]!);
