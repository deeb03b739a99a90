import { inspect } from "node:util";

/** Every code that an error of this package can carry. docs/reference/errors.md has one heading for each. */
export type ErrorCode =
  | "INVALID_OPTION" // a value outside its range or of the wrong type
  | "UNKNOWN_OPTION" // a name that does not exist; the message suggests the nearest
  | "FILE_NOT_FOUND"
  | "NO_PERMISSION"
  | "NO_SPACE"
  | "FILE_ERROR" // any other failure of the file system
  | "FILE_CORRUPT" // a weights, model or checkpoint file that cannot be parsed
  | "IMAGE_UNREADABLE"
  | "VIEW_MISMATCH" // an image that the view of a model cannot be applied to
  | "DATASET_INVALID" // `problems` lists every one
  | "WEIGHTS_MISSING" // trained backbone weights were not found
  | "WEIGHTS_INVALID" // missing, misshapen or non-finite tensors
  | "CHECKSUM_MISMATCH"
  | "DOWNLOAD_FAILED"
  | "PICKLE_REFUSED" // a pickle that names something other than tensors and containers
  | "MODEL_INVALID"
  | "MODEL_TOO_NEW"
  | "CHECKPOINT_MISMATCH" // --resume with other options or data
  | "EXPORT_DIFFERS" // an exported graph does not compute what the engine does
  | "ONNXRUNTIME_UNUSABLE" // not installed, of another major version, or it does not open
  | "SCORES_CHANGED" // new good parts score otherwise than those that the thresholds were set on
  | "DEVICE_UNAVAILABLE"
  | "RANKS_DIFFER" // processes that train together were given different options or data; `problems` lists what
  | "RANK_FAILED" // one of them ended, fell silent or stopped with an error
  | "LIBTORCH_NOT_FOUND"
  | "LIBTORCH_VERSION"
  | "LIBTORCH_LOAD_FAILED"
  | "ENGINE_NOT_BUILT"
  | "GLIBC_TOO_OLD" // also: another C library than glibc, or a libstdc++ that is too old
  | "SHARP_MISSING" // the image library does not open
  | "METRIC_UNDEFINED" // e.g. AUROC of one class
  | "OUT_OF_MEMORY"
  | "DIVERGED" // the loss became NaN or infinite
  | "ABORTED"
  | "INTERNAL";

/** A part of an error's text that each front end spells in its own way. */
export type Word =
  | string
  /** An option by its path, such as "masks.dilation": quoted in the API, a flag on the command line. */
  | { readonly option: string }
  /** The function that was called, such as "new Trainer": the command's name on the command line. */
  | { readonly call: string }
  /** A command of the command line, without the program's name. */
  | { readonly command: string };

/** What an error says: a sentence, or its parts. */
export type Text = string | readonly Word[];

/** How a front end spells the words that are not plain text. */
export interface Spelling {
  option(path: string): string;
  call(name: string): string;
  command(line: string): string;
}

export const apiSpelling: Spelling = {
  option: (path) => `'${path}'`,
  call: (name) => name,
  command: (line) => `'supersimplenet ${line}'`,
};

/** A text with words that are spelled later: text`Give ${option("out")}.` */
export function text(strings: TemplateStringsArray, ...words: readonly (Word | Text | number)[]): Text {
  return strings.flatMap((string, i): readonly Word[] => {
    const word = words[i];
    if (word === undefined) return [string];
    return [
      string,
      ...(Array.isArray(word) ? (word as readonly Word[]) : [typeof word === "number" ? String(word) : (word as Word)]),
    ];
  });
}

export const option = (path: string): Word => ({ option: path });
export const call = (name: string): Word => ({ call: name });
export const command = (line: string): Word => ({ command: line });

/** The text as one front end spells it. */
export function spell(words: Text, spelling: Spelling): string {
  if (typeof words === "string") return words;
  return words
    .map((word) => {
      if (typeof word === "string") return word;
      if ("option" in word) return spelling.option(word.option);
      return "call" in word ? spelling.call(word.call) : spelling.command(word.command);
    })
    .join("");
}

/** What an error is about, as data. */
export interface ErrorDetails {
  cause?: unknown;
  /** The option that is wrong, by its path. */
  option?: string | undefined;
  /** The value that came. */
  value?: unknown;
  /** The file or folder. */
  path?: string | undefined;
  /** Every problem found, one line each. */
  problems?: readonly string[];
  /** What to do; the message ends with it. */
  fix?: Text | undefined;
}

/**
 * The one error class of this package. `code` is stable; the message says what was wrong, with which value, and what
 * to do about it. The same facts are here as data, so that each front end can word them.
 */
export class SuperSimpleNetError extends Error {
  override readonly name = "SuperSimpleNetError";
  readonly code: ErrorCode;
  /** INVALID_OPTION, UNKNOWN_OPTION: the option's path, such as "masks.dilation". */
  readonly option: string | undefined;
  /** INVALID_OPTION: the value that came. */
  readonly value: unknown;
  /** The file that the error is about, if it is about one. */
  readonly path: string | undefined;
  /** DATASET_INVALID, WEIGHTS_INVALID, RANKS_DIFFER: every problem found, one line each. */
  readonly problems: readonly string[];
  /** What to do, where that is one command or one sentence. The message ends with it. */
  readonly fix: string | undefined;
  readonly #what: Text;
  readonly #fix: Text | undefined;

  /** `what` says what was wrong; the message is it and `details.fix`. */
  constructor(code: ErrorCode, what: Text, details: ErrorDetails = {}) {
    const { cause, fix } = details;
    super(worded(what, fix, apiSpelling), cause === undefined ? undefined : { cause });
    this.code = code;
    this.#what = what;
    this.#fix = fix;
    this.option = details.option;
    this.value = details.value;
    this.path = details.path;
    this.problems = details.problems ?? [];
    this.fix = fix === undefined ? undefined : spell(fix, apiSpelling);
  }

  /** The message as another front end spells it. */
  messageFor(spelling: Spelling): string {
    return worded(this.#what, this.#fix, spelling);
  }

  /** What to do, as another front end spells it. */
  fixFor(spelling: Spelling): string | undefined {
    return this.#fix === undefined ? undefined : spell(this.#fix, spelling);
  }

  /** The same error with more to say: `what` replaces or continues its text. */
  with(what: (before: Text) => Text, cause: unknown = this): SuperSimpleNetError {
    return this.#reworded(what(this.#what), this.#fix, cause);
  }

  /** The same error with one more sentence about what to do. */
  advising(advice: Text): SuperSimpleNetError {
    return this.#reworded(this.#what, this.#fix === undefined ? advice : text`${this.#fix} ${advice}`, this);
  }

  #reworded(what: Text, fix: Text | undefined, cause: unknown): SuperSimpleNetError {
    const { code, option: name, value, path, problems } = this;
    return new SuperSimpleNetError(code, what, { cause, option: name, value, path, problems, fix });
  }
}

/** Whether an error is one of this package's with one of these codes. */
export const hasCode = (error: unknown, ...codes: readonly ErrorCode[]): error is SuperSimpleNetError =>
  error instanceof SuperSimpleNetError && codes.includes(error.code);

/** What a call fails with once its signal has fired; the signal's reason is the cause. */
export const abortedError = (signal: AbortSignal): SuperSimpleNetError =>
  new SuperSimpleNetError("ABORTED", "The operation was cancelled by its signal.", { cause: signal.reason });

/** Throws ABORTED once the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal);
}

/** What is wrong, and what to do. */
function worded(what: Text, fix: Text | undefined, spelling: Spelling): string {
  const wrong = spell(what, spelling);
  return fix === undefined ? wrong : `${wrong.replace(/(?<![.!?])$/, ".")} ${spell(fix, spelling)}`;
}

/** An address, or a text with addresses, without user names and passwords. */
export const shownUrl = (address: string): string => address.replace(/(?<=^|\/\/)[^/\s]*@/g, "");

/** A value as an error text shows it. */
export function shown(value: unknown): string {
  if (typeof value === "string") return `'${value.includes("//") ? shownUrl(value) : value}'`;
  return inspect(value, { depth: 1, maxArrayLength: 10, breakLength: Infinity }).replace(/^\[ (.*) \]$/, "[$1]");
}

/** INVALID_OPTION in one form: what was expected, for which option, and what came. */
export function invalid(where: string, path: string, expected: Text, value: unknown): SuperSimpleNetError {
  const what = text`${call(where)}: expected ${expected} for ${option(path)} but received ${shown(value)}.`;
  return new SuperSimpleNetError("INVALID_OPTION", what, { option: path, value });
}

/** A failed file operation as our error: what failed, on which file, and what to do. Anything else, such as what a callback threw, as it is. */
export function fileError(error: unknown, action: string, path: string): unknown {
  if (error instanceof SuperSimpleNetError) return error;
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  if (typeof code !== "string") return error;
  const failed = (ours: ErrorCode, what: string, fix?: string): SuperSimpleNetError =>
    new SuperSimpleNetError(ours, `Cannot ${action} ${path}: ${what}`, { cause: error, path, fix });
  switch (code) {
    case "ENOENT":
      // Node puts U+FFFD for bytes of a name that it cannot read, and no file has that name.
      if (path.includes("\uFFFD"))
        return failed("FILE_NOT_FOUND", "its name is not valid UTF-8, as \uFFFD shows.", "Rename it.");
      return failed("FILE_NOT_FOUND", "it does not exist.", "Check the path.");
    case "EACCES":
    case "EPERM":
      return failed("NO_PERMISSION", "permission denied.", "Check the rights of the file and its folder.");
    case "EROFS":
      return failed("FILE_ERROR", "read-only file system.", "Choose another place, or mount it writable.");
    case "ENOSPC":
    case "EDQUOT":
      return failed("NO_SPACE", "no space left on the device.", "Free some and try again.");
    case "ENAMETOOLONG":
      return failed("FILE_ERROR", "the name is too long for this file system.", "Choose a shorter one.");
    default:
      return failed("FILE_ERROR", (error as Error).message);
  }
}
