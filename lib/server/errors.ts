import { basename, dirname, isAbsolute, parse, sep } from "node:path";

import type { FastifyError } from "fastify";

import { type ErrorCode, SuperSimpleNetError } from "../errors.js";

/** What only a server can answer. docs/guides/server.md lists them with their status. */
const statuses = {
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  HOST_REFUSED: 403,
  ORIGIN_REFUSED: 403,
  TOKEN_NEEDED: 403,
  NO_SUCH_MODEL: 404,
  NO_SUCH_ADDRESS: 404,
  NOT_FOUND: 404,
  REQUEST_TIMEOUT: 408,
  MODELS_READ_ONLY: 409,
  CONFLICT: 409,
  TOO_LARGE: 413,
  UNSUPPORTED_TYPE: 415,
  QUEUE_FULL: 429,
  HEADERS_TOO_LARGE: 431,
  CLIENT_GONE: 499,
  STOPPING: 503,
  MODEL_UNLOADED: 503,
  DEADLINE_EXCEEDED: 504,
} as const;

export type HttpErrorCode = keyof typeof statuses;

/** An answer that is an error. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;

  constructor(
    readonly code: HttpErrorCode,
    message: string,
    /** Of the answer, beside it. */
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = statuses[code];
  }
}

/** The status of an error of the library: of an image or an option that the client sent, or else of the server. */
const libraryStatus: Partial<Record<ErrorCode, number>> = {
  INVALID_OPTION: 400,
  UNKNOWN_OPTION: 400,
  IMAGE_UNREADABLE: 422,
  VIEW_MISMATCH: 422,
  FILE_CORRUPT: 422, // a model file that was sent
  MODEL_INVALID: 422,
  MODEL_TOO_NEW: 422,
  WEIGHTS_MISSING: 422,
  WEIGHTS_INVALID: 422,
  CHECKSUM_MISMATCH: 422,
  OUT_OF_MEMORY: 503,
  NO_SPACE: 507,
};

/** An error as an answer holds it. */
export interface ErrorAnswer {
  code: HttpErrorCode | ErrorCode;
  message: string;
}

interface Answer {
  status: number;
  error: ErrorAnswer;
  headers: Readonly<Record<string, string>>;
}

/** What an error is answered with. One that nobody expected tells clients nothing; the log has it. */
export function answerTo(error: unknown): Answer {
  const known = error instanceof Error ? (fromFastify(error as FastifyError) ?? error) : error;
  if (known instanceof HttpError) {
    const { status, code, message, headers } = known;
    return { status, error: { code, message }, headers };
  }
  if (known instanceof SuperSimpleNetError && known.code !== "INTERNAL") {
    const { code, message, path } = known;
    return { status: libraryStatus[code] ?? 500, error: { code, message: withoutFolder(message, path) }, headers: {} };
  }
  const message = "The server failed in a way that was not expected. Its log has more, under the request's id.";
  return { status: 500, error: { code: "INTERNAL", message }, headers: {} };
}

/** Where a file of the server lies is nothing for its clients; the log has it. */
function withoutFolder(message: string, file: string | undefined): string {
  if (file === undefined || !isAbsolute(file)) return message;
  const folder = dirname(file);
  const named = message.replaceAll(file, basename(file));
  return folder === parse(file).root ? named : named.replaceAll(folder + sep, "").replaceAll(folder, "its folder");
}

/** Fastify's own errors, and a connection that ended, in our codes. */
function fromFastify({ code, statusCode, message }: FastifyError): HttpError | undefined {
  if (code === "ECONNRESET") return new HttpError("CLIENT_GONE", "The client went away before it was answered.");
  if (typeof code !== "string" || !/^(FST_|ERR_HTTP)/.test(code)) return undefined;
  switch (statusCode) {
    case 400:
    case 406:
      return new HttpError("BAD_REQUEST", message);
    case 413:
      return new HttpError("TOO_LARGE", message);
    case 415:
      return new HttpError("UNSUPPORTED_TYPE", message);
    case 503:
      return new HttpError("STOPPING", message, { connection: "close" });
    default:
      return undefined;
  }
}

/** Answers to what Node's own parser refuses, for which there is no request yet. */
export function answerToParser(code: string | undefined): HttpError {
  if (code === "HPE_HEADER_OVERFLOW") return new HttpError("HEADERS_TOO_LARGE", "The request has too large a head.");
  if (code === "ERR_HTTP_REQUEST_TIMEOUT")
    return new HttpError("REQUEST_TIMEOUT", "The request did not arrive within the time that the server allows.");
  return new HttpError("BAD_REQUEST", "This is no HTTP/1.1 request.");
}
