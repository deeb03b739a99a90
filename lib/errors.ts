/** Every code an error of this package can carry. docs/reference/errors.md has one heading per code. */
export type ErrorCode =
  | "INVALID_OPTION" // a value outside its range or of the wrong type
  | "UNKNOWN_OPTION" // a name that does not exist; the message suggests the nearest
  | "FILE_NOT_FOUND"
  | "NO_PERMISSION"
  | "NO_SPACE"
  | "FILE_ERROR" // any other failure of the file system
  | "FILE_CORRUPT" // a weights, model or checkpoint file that cannot be parsed
  | "IMAGE_UNREADABLE"
  | "DATASET_INVALID" // `problems` lists every one
  | "WEIGHTS_MISSING" // trained backbone weights were not found
  | "WEIGHTS_INVALID" // missing, misshapen or non-finite tensors
  | "CHECKSUM_MISMATCH"
  | "DOWNLOAD_FAILED"
  | "PICKLE_REFUSED" // a pickle that names something other than tensors and containers
  | "MODEL_INVALID"
  | "MODEL_TOO_NEW"
  | "CHECKPOINT_MISMATCH" // --resume with other options or data
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

/**
 * The one error class of this package. `code` is stable; the message says what was wrong, with which value, and what
 * to do about it.
 */
export class SuperSimpleNetError extends Error {
  override readonly name = "SuperSimpleNetError";
  readonly code: ErrorCode;
  /** The file the error is about, if it is about one. */
  readonly path: string | undefined;
  /** DATASET_INVALID, WEIGHTS_INVALID, RANKS_DIFFER: every problem found, one line each. */
  readonly problems: readonly string[];
  /** Of an installation that does not work: the command that puts it right, for 'doctor'. The message has it too. */
  readonly fix: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; path?: string; problems?: readonly string[]; fix?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.path = options.path;
    this.problems = options.problems ?? [];
    this.fix = options.fix;
  }
}

/** A failed file operation as our error: what failed, on which file, and what to do. Anything else, such as what a callback threw, as it is. */
export function fileError(error: unknown, action: string, path: string): unknown {
  if (error instanceof SuperSimpleNetError) return error;
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  if (typeof code !== "string") return error;
  const options = { cause: error, path };
  switch (code) {
    case "ENOENT":
      // Node puts U+FFFD for bytes of a name that it cannot read, and no file has that name.
      if (path.includes("\uFFFD"))
        return new SuperSimpleNetError(
          "FILE_NOT_FOUND",
          `Cannot ${action} ${path}: its name is not valid UTF-8, as \uFFFD shows. Rename it.`,
          options,
        );
      return new SuperSimpleNetError(
        "FILE_NOT_FOUND",
        `Cannot ${action} ${path}: it does not exist. Check the path.`,
        options,
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new SuperSimpleNetError(
        "NO_PERMISSION",
        `Cannot ${action} ${path}: permission denied. Check the rights of the file and its folder.`,
        options,
      );
    case "ENOSPC":
    case "EDQUOT":
      return new SuperSimpleNetError(
        "NO_SPACE",
        `Cannot ${action} ${path}: no space left on the device. Free some and try again.`,
        options,
      );
    case "ENAMETOOLONG":
      return new SuperSimpleNetError(
        "FILE_ERROR",
        `Cannot ${action} ${path}: the name is too long for this file system. Choose a shorter one.`,
        options,
      );
    default:
      return new SuperSimpleNetError("FILE_ERROR", `Cannot ${action} ${path}: ${(error as Error).message}`, options);
  }
}
