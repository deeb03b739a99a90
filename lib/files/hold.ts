import { createHash } from "node:crypto";
import { realpath, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import { fileError, SuperSimpleNetError } from "../errors.js";

/**
 * Keeps other processes of this machine from using a folder in the same way until the returned function is called or the
 * process ends, however it ends: the system lets go of a socket's address then, where a file would stay. Throws FILE_ERROR
 * when it is in use.
 */
export async function holdFolder(folder: string): Promise<() => Promise<void>> {
  const real = await realpath(folder).catch((error: unknown) => Promise.reject(fileError(error, "use folder", folder)));
  const id = createHash("sha256").update(real).digest("hex").slice(0, 32);
  // Linux has addresses that are no files.
  const name = `supersimplenet-${id}`;
  const address = process.platform === "linux" ? `\0${name}` : path.join(tmpdir(), `${name}.sock`);
  const server = (await listen(address)) ?? (await takeOver(address));
  if (server === undefined)
    throw new SuperSimpleNetError(
      "FILE_ERROR",
      `The folder ${folder} is in use by another process of supersimplenet.`,
      {
        path: folder,
        fix: "Stop that one first, or choose another folder.",
      },
    );
  return () => new Promise((resolve) => server.close(() => resolve()));
}

function listen(address: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(undefined) : reject(error),
    );
    server.listen(address, () => resolve(server.unref()));
  });
}

/** A socket that is a file stays when its process is killed: nobody answers then. */
async function takeOver(address: string): Promise<Server | undefined> {
  if (address.startsWith("\0") || (await answers(address))) return undefined;
  await rm(address, { force: true });
  return listen(address);
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
