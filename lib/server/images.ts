import type { FastifyRequest } from "fastify";

import type { RawImage } from "../images/source.js";
import { invalid } from "../errors.js";
import { HttpError } from "./errors.js";

/** The type of raw pixels: uint8, row by row, channels interleaved. Width, height and channels are its parameters. */
export const rawType = "application/x-raw-pixels";

/** The image that is a request's body: encoded, or raw pixels by its type. Errors: BAD_REQUEST, INVALID_OPTION. */
export function imageOf(body: unknown, contentType = ""): Uint8Array | RawImage {
  if (!(body instanceof Uint8Array) || body.length === 0)
    throw new HttpError("BAD_REQUEST", "The request has no body. Send an image.");
  const [type, ...parameters] = contentType.split(";").map((part) => part.trim());
  if (type!.toLowerCase() !== rawType) return body;
  const given = new Map(parameters.map((text) => text.split("=", 2) as [string, string]));
  const size = (name: string): number => {
    const written = given.get(name) ?? "";
    if (!/^[1-9]\d{0,8}$/.test(written)) throw invalid(rawType, name, "a whole number", written);
    return Number(written);
  };
  const channels = size("channels") as RawImage["channels"];
  return { data: body, width: size("width"), height: size("height"), channels };
}

/** An image of a request that has several. */
export interface Part {
  /** What it is called: its file's name, or its field's. */
  name: string;
  contentType: string;
  read(): Promise<Buffer>;
}

/** The images of a multipart request, one after another. Errors: TOO_LARGE, BAD_REQUEST. */
export async function* partsOf(
  request: FastifyRequest,
  limits: { maxBytes: number; maxParts: number },
): AsyncGenerator<Part> {
  const { maxBytes, maxParts } = limits;
  const files = request.files({
    limits: { fileSize: maxBytes, files: maxParts, parts: maxParts + 1, fields: 1, fieldSize: 1024, headerPairs: 32 },
  });
  try {
    for await (const file of files)
      yield {
        name: (file.filename || file.fieldname).slice(0, 256),
        contentType: file.mimetype,
        read: () => file.toBuffer(),
      };
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    throw code === undefined ? new HttpError("BAD_REQUEST", message) : error; // the parser's own have no code
  }
}

/**
 * Does `work` on items as they come, at most `ahead` at a time, and yields the results in the order of the items, each as
 * soon as it is there. Where the items fail, the results of those before still come, then the failure.
 */
export async function* inOrder<Item, Result>(
  items: AsyncIterable<Item>,
  work: (item: Item) => Promise<Result>,
  ahead: number,
): AsyncGenerator<Result> {
  const source = items[Symbol.asyncIterator]();
  const running: Promise<{ result: Result }>[] = [];
  type Coming = { item: Item } | { end: { failure?: unknown } };
  const pull = (): Promise<Coming> =>
    source.next().then(
      ({ done, value }) => (done ? { end: {} } : { item: value as Item }),
      (failure: unknown) => ({ end: { failure } }),
    );
  let coming: Promise<Coming> | undefined;
  let end: { failure?: unknown } | undefined;
  try {
    for (;;) {
      if (!end && running.length < ahead) coming ??= pull();
      if (!coming && running.length === 0) break;
      const next = await Promise.race([...running.slice(0, 1), ...(coming ? [coming] : [])]);
      if ("result" in next) {
        void running.shift();
        yield next.result;
        continue;
      }
      coming = undefined;
      if ("end" in next) end = next.end;
      else {
        const result = work(next.item).then((value) => ({ result: value }));
        result.catch(() => undefined); // heard when its turn comes
        running.push(result);
      }
    }
    if (end && "failure" in end) throw end.failure;
  } finally {
    // Not awaited: a client that fell silent would be waited for.
    if (!end) void source.return?.().catch(() => undefined);
  }
}
