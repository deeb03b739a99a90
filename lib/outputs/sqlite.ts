import path from "node:path";

import { fileError, SuperSimpleNetError } from "../errors.js";
import { makeFolder, refuseSpecial } from "../write.js";
import { type Cell, columns } from "./columns.js";
import { optionalPackage } from "./optional.js";
import type { Receiver } from "./spooled.js";

/** What is used of better-sqlite3. */
interface Database {
  pragma(text: string, options?: { simple: true }): unknown;
  exec(sql: string): void;
  prepare(sql: string): { run(...values: Cell[]): void };
  transaction<T>(work: (items: readonly T[]) => void): (items: readonly T[]) => void;
  close(): void;
}

/** Of the table: PRAGMA user_version. */
const tableVersion = 1;

const quoted = (name: string): string => `"${name}"`;
const schema = `
  CREATE TABLE IF NOT EXISTS results (
    delivery TEXT PRIMARY KEY,
    ${columns.map(({ name, type }) => `${quoted(name)} ${type}`).join(",\n    ")},
    result TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS results_time ON results (time);
  CREATE INDEX IF NOT EXISTS results_verdict_time ON results (verdict, time);`;

/** Inserts results into the table `results`, each once: what comes again after a crash has the same key. */
export async function sqlite(file: string): Promise<Receiver> {
  const open = await optionalPackage("better-sqlite3", "12", async () => {
    // A variable: the package's types are not needed, and a bundler leaves it alone.
    const name: string = "better-sqlite3";
    const { default: Opened } = (await import(name)) as { default: new (file: string) => Database };
    return (): Database => new Opened(file);
  });
  await makeFolder(path.dirname(path.resolve(file)));
  await refuseSpecial(file);
  const database = opened(file, open);
  const insert = database.prepare(
    `INSERT OR IGNORE INTO results VALUES (${["delivery", ...columns, "result"].map(() => "?").join(", ")})`,
  );
  const insertAll = database.transaction<[string, ...Cell[]]>((rows) => rows.forEach((row) => insert.run(...row)));
  return {
    batch: 100,
    async send(deliveries) {
      insertAll(
        deliveries.map(({ id, result }) => [id, ...columns.map(({ of }) => of(result)), JSON.stringify(result)]),
      );
    },
    close: () => Promise.resolve(database.close()),
  };
}

function opened(file: string, open: () => Database): Database {
  let database: Database;
  try {
    database = open();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!code?.startsWith("SQLITE")) throw fileError(error, "open", file);
    throw new SuperSimpleNetError("FILE_ERROR", `Cannot open ${file}: ${(error as Error).message}.`, {
      cause: error,
      path: file,
    });
  }
  try {
    // Readers do not wait for the writer, and a commit is on the disk.
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("busy_timeout = 200"); // it stands in the event loop's way; the queue tries again
    const version = database.pragma("user_version", { simple: true });
    if (version !== 0 && version !== tableVersion)
      throw new Error(`its table has version ${String(version)}, not ${tableVersion}`);
    database.exec(schema);
    database.pragma(`user_version = ${tableVersion}`);
    return database;
  } catch (error) {
    database.close();
    throw new SuperSimpleNetError("FILE_ERROR", `Cannot use ${file}: ${(error as Error).message}.`, {
      cause: error,
      path: file,
      fix: "Give another file, or move this one away.",
    });
  }
}
