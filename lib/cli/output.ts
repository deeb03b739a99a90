import { apiSpelling, fileError, shownUrl, type Spelling, SuperSimpleNetError } from "../errors.js";
import { isCheckout } from "../native/locate.js";

/** How this program is called here: a checkout has no `supersimplenet` on the PATH, and npm finds its scripts inside it only. */
export const program = !isCheckout
  ? "supersimplenet"
  : process.env["npm_package_name"] === "supersimplenet"
    ? "npm run -s supersimplenet --"
    : `node ${quoted(process.argv[1]!)}`;

/** An argument as a POSIX shell reads it. */
export function quoted(argument: string): string {
  return /^[\w./:=,@%+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

export interface ProgramSpelling extends Spelling {
  /** An option's name as data: without quotes. */
  optionName(path: string): string;
}

/** Error texts without a command, as before one is known. */
export const programSpelling: ProgramSpelling = {
  ...apiSpelling,
  optionName: (path) => path,
  command: (line) => `'${program} ${line}'`,
};

const escapes: Record<string, string> = { "\n": "\\n", "\t": "\\t", "\r": "\\r" };
const escaped = (character: string): string =>
  escapes[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;

/** A file name for one line of a terminal: control characters are escaped. */
export const printable = (name: string): string => name.replace(/[\x00-\x1f\x7f-\x9f]/g, escaped);

/** Lines stay lines; no file name can move the cursor or colour what follows. */
const harmless = (text: string): string => text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, escaped);

/** Without a terminal, progress is told this often at most. */
const quietMs = 30_000;

/**
 * What a command says. People read stderr (logs, progress) and, without --json, results on stdout; with --json stdout
 * carries one JSON document and nothing else.
 */
export class Output {
  json = false;
  /** Set by a command whose work is in files: it goes on when nobody reads stdout any more. */
  worksOn = false;
  /** Results could not be written to stdout. */
  lost = false;
  /** How errors are spelled, once the command is known. */
  spelling: ProgramSpelling = programSpelling;
  /** When something was last written to stderr, in ms. */
  private lastLog = performance.now();
  /** The line of progress that a terminal shows now. */
  private live = "";
  /** What a command has finished so far. With --json it stands beside the error of one that fails. */
  finished: Record<string, unknown> = {};

  get isTerminal(): boolean {
    return process.stderr.isTTY === true && process.env["TERM"] !== "dumb";
  }

  /** A result: stdout, unless stdout is for JSON. */
  result(text: string): void {
    this.clear();
    if (!this.json) process.stdout.write(`${harmless(text)}\n`);
  }

  /** The result of --json. */
  document(value: unknown): void {
    this.clear();
    if (this.json) process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** A line of log on stderr. */
  log(text: string): void {
    this.lastLog = performance.now();
    this.clear();
    process.stderr.write(`${harmless(text)}\n`);
    this.redraw();
  }

  warn(text: string): void {
    this.log(`warning: ${text}`);
  }

  /** Replaces the one live line of a terminal; elsewhere it is a line of log, if there was none for a while. */
  progress(text: string): void {
    if (!this.isTerminal) {
      if (performance.now() - this.lastLog > quietMs) this.log(text);
      return;
    }
    this.live = printable(text).slice(0, Math.max(20, (process.stderr.columns || 80) - 1));
    this.redraw();
  }

  /** Takes the live line away. */
  done(): void {
    this.clear();
    this.live = "";
  }

  private clear(): void {
    if (this.live && this.isTerminal) process.stderr.write("\r\x1b[K");
  }

  private redraw(): void {
    if (this.live) process.stderr.write(`\r\x1b[K${this.live}`);
  }
}

export const output = new Output();

/**
 * A reader of stdout that went away (`| head`) ends the command quietly and with the code that shells give a program which such
 * a reader has ended (SIGPIPE), unless its work is in files. Without a reader of the log every command goes on.
 */
export function handleOutputErrors(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (!output.worksOn && error.code === "EPIPE") process.exit(141);
    if (error.code !== "EPIPE") {
      output.lost = true;
      output.json = false; // a document about it could not be written either
      report(fileError(error, "write", "the standard output"));
    }
    if (!output.worksOn) process.exit(1);
  });
  process.stderr.on("error", () => undefined);
}

/** Exit code of an error: 2 wrong usage, 130 interrupted, 1 anything else. */
export function exitCode(error: unknown): number {
  if (!(error instanceof SuperSimpleNetError)) return 1;
  if (error.code === "ABORTED") return 130;
  return error.code === "INVALID_OPTION" || error.code === "UNKNOWN_OPTION" ? 2 : 1;
}

/** Prints an error for people on stderr, and with --json an `error` document on stdout. */
export function report(error: unknown): void {
  if (!(error instanceof SuperSimpleNetError)) return reportUnexpected(error);
  const message = error.messageFor(output.spelling);
  // The message of DATASET_INVALID may hold the problems already.
  const problems = error.problems.filter((problem) => !message.includes(problem));
  // Line ends of the message stay, those in file names do not.
  const names = [error.path ?? "", ...process.argv.slice(2)].filter((name) => printable(name) !== name);
  const shown = names.reduce((text, name) => text.replaceAll(name, printable(name)), message);
  output.log([`error [${error.code}] ${shown}`, ...problems.map((problem) => `  - ${problem}`)].join("\n"));
  if (error.code === "INTERNAL")
    output.log(`This is a fault of the program. Please report it with the output of '${program} doctor'.`);
  output.document({ error: errorDocument(error), ...output.finished });
}

function reportUnexpected(error: unknown): void {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  output.log(`error [INTERNAL] unexpected: ${stack}\nPlease report this with the output of '${program} doctor'.`);
  const message = error instanceof Error ? error.message : String(error);
  output.document({ error: { code: "INTERNAL", message, problems: [] }, ...output.finished });
}

/** An error in a JSON document, in the words of the command line. What does not apply is left out. */
export function errorDocument(error: SuperSimpleNetError): Record<string, unknown> {
  const { code, option, value, path, problems } = error;
  return {
    code,
    message: error.messageFor(output.spelling),
    option: option && output.spelling.optionName(option),
    value: typeof value === "string" && value.includes("//") ? shownUrl(value) : value,
    path,
    fix: error.fixFor(output.spelling),
    problems,
  };
}

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0
    ? `${h}:${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")}`
    : `${m}:${String(s).padStart(2, "0")}`;
}

/** Columns of text, each as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => [...(row[column] ?? "")].length))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell + " ".repeat(widths[column]! - [...cell].length))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
