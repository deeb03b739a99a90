import { PassThrough } from "node:stream";

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";

import { datasets } from "../datasets/index.js";
import { hasCode } from "../errors.js";
import type { StudioSettings } from "../schema/studio.js";
import { type BaseSettings, makeBase } from "../server/base.js";
import { HttpError } from "../server/errors.js";
import { runFiles } from "../runs/files.js";
import { readRegular } from "../files/input.js";
import type { Detectors } from "./detectors.js";
import type { Events } from "./events.js";
import type { Judge } from "./judge.js";
import type { Labels } from "./labels.js";
import { lastResults } from "./line.js";
import { maskPng, storeMask } from "./masks.js";
import { trainingOptions } from "./options.js";
import { pageFiles, pageHtml, pagePolicy } from "./page.js";
import { type Picture, type Thumbnails, wholePicture } from "./pictures.js";
import type { Project } from "./project.js";
import { runName, type Trainings } from "./trainings.js";
import type { Validation } from "./types.js";

export interface StudioParts {
  project: Project;
  labels: Labels;
  thumbnails: Thumbnails;
  trainings: Trainings;
  judge: Judge;
  detectors: Detectors;
  events: Events;
  isStopping: () => boolean;
}

/** An image of a large camera, as it is sent. */
const maxBodyMiB = 512;

/** Limits that nobody has to set: one person uses the studio, on this machine. */
const limits = { headerTimeoutMs: 10_000, timeoutMs: 600_000, maxBodyMiB } as const;

const ids = z.array(z.string().min(1).max(4096)).min(1).max(100_000);
const labelRequest = z.strictObject({
  ids,
  label: z.enum(["good", "defect"]).nullable(),
  kind: z.string().max(255).optional(),
  split: z.enum(["train", "test"]).optional(),
});
const flags = z.record(z.string().max(64), z.string().max(1024));
const trainingRequest = z.strictObject({ name: runName.optional(), flags });
const byId = z.strictObject({
  id: z.string().min(1).max(4096),
  v: z.string().optional(),
  mask: z.literal("1").optional(),
});

const drawnOn = z.strictObject({ id: z.string().min(1).max(4096), seen: z.string().optional() });

type Run = { Params: { run: string } };
type Action = { Params: { run: string; action: string } };

/** The HTTP side of the studio. */
export function makeStudio(
  settings: Pick<StudioSettings, "logLevel"> & Pick<BaseSettings, "onLog">,
  parts: StudioParts,
): FastifyInstance {
  const app = makeBase(
    { ...limits, ...settings },
    {
      token: undefined,
      tls: undefined,
      hosts: [],
      openRoutes: new Set(),
      isStopping: parts.isStopping,
      onRequest: () => undefined,
    },
  );
  app.addContentTypeParser("application/json", { parseAs: "string" }, app.getDefaultJsonParser("error", "error"));
  addPage(app);
  addProject(app, parts);
  addTrainings(app, parts);
  addJudging(app, parts);
  addEvents(app, parts);
  return app;
}

/** Throws BAD_REQUEST that names what is wrong in a body, a query or an address. */
function read<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path: at, code, message } = parsed.error.issues[0]!;
  if (code === "invalid_format") throw new HttpError("BAD_REQUEST", message); // our own sentence
  const what = at.length > 0 ? `'${at.join(".").slice(0, 64)}' of the request` : "The request";
  throw new HttpError("BAD_REQUEST", `${what} is not what the studio takes. Load the page again.`);
}

const runOf = ({ params }: FastifyRequest<Run>): string => read(runName, params.run);

/** An image may be moved or removed while it is read. */
const found = <T>(work: Promise<T>): Promise<T> =>
  work.catch((error: unknown) => {
    if (hasCode(error, "FILE_NOT_FOUND")) throw new HttpError("NOT_FOUND", "The image was moved or removed meanwhile.");
    throw error;
  });

/** What never changes under its address. */
function sendPicture(reply: FastifyReply, { type, bytes }: Picture, forEver: boolean): FastifyReply {
  return reply
    .type(type)
    .header("cache-control", forEver ? "private, max-age=31536000, immutable" : "no-store")
    .send(bytes);
}

function addPage(app: FastifyInstance): void {
  app.get("/", (_, reply) =>
    reply.type("text/html; charset=utf-8").header("content-security-policy", pagePolicy).send(pageHtml),
  );
  for (const [address, { type, read: readFile }] of Object.entries(pageFiles))
    app.get(address, async (_, reply) => reply.type(type).send(await readFile()));
  app.get("/favicon.ico", (_, reply) => reply.code(204).send());
  app.get("/healthz", () => ({ status: "ok" }));
}

function addProject(app: FastifyInstance, { project, labels, thumbnails, events }: StudioParts): void {
  app.addHook("onClose", () => thumbnails.settled());
  const changed = (): void => events.projectChanged();

  app.get("/api/v1/project", async () => {
    await project.look();
    return project.shown();
  });
  app.post("/api/v1/labels", async ({ body }) => {
    const moved = await labels.set(read(labelRequest, body)).finally(changed);
    return { moved, project: project.shown() };
  });
  app.post("/api/v1/removals", async ({ body }) => {
    await labels.remove(read(z.strictObject({ ids }), body).ids).finally(changed);
    return project.shown();
  });
  app.post("/api/v1/images", async ({ query, body }) => {
    const { name } = read(z.strictObject({ name: z.string().min(1).max(4096) }), query);
    if (!Buffer.isBuffer(body) || body.length === 0) throw new HttpError("BAD_REQUEST", "Send an image as the body.");
    const id = await labels.add(name, body);
    changed();
    return { id };
  });
  app.get("/api/v1/image", async ({ query }, reply) => {
    const { id, v } = read(byId, query);
    const image = project.image(id);
    return sendPicture(reply, await found(wholePicture(image.file)), v === image.shown.version);
  });
  app.get("/api/v1/thumbnail", async ({ query }, reply) => {
    const { id, v, mask } = read(byId, query);
    const image = project.image(id);
    if (mask && image.mask === undefined) throw new HttpError("NOT_FOUND", "The image has no mask.");
    const picture = mask ? thumbnails.mask(image, image.mask!) : thumbnails.image(image);
    return sendPicture(reply, await found(picture), v === (mask ? image.shown.mask : image.shown.version));
  });
  app.get("/api/v1/mask", async ({ query }, reply) => {
    const bytes = await found(maskPng(project, read(byId, query).id));
    return bytes ? sendPicture(reply, { type: "image/png", bytes }, false) : reply.code(204).send();
  });
  const store = async ({ query, body }: FastifyRequest): Promise<{ mask: string | null }> => {
    const { id, seen } = read(drawnOn, query);
    await storeMask(project, labels, { id, seen, png: Buffer.isBuffer(body) ? body : undefined }).finally(changed);
    return { mask: project.image(id).shown.mask };
  };
  app.put("/api/v1/mask", (request) => {
    if (!Buffer.isBuffer(request.body) || request.body.length === 0)
      throw new HttpError("BAD_REQUEST", "Send a PNG as the body.");
    return store(request);
  });
  app.delete("/api/v1/mask", store);
  app.post("/api/v1/validation", async (request): Promise<Validation> => {
    await project.look();
    const { dataset } = project;
    const { problems, data } = project.shown();
    if (!dataset) return { data, problems, warnings: [] };
    try {
      const { warnings } = await datasets.validate(dataset, { signal: whileThere(request) });
      return { data, problems: [], warnings };
    } catch (error) {
      if (hasCode(error, "DATASET_INVALID")) return { data, problems: [...error.problems], warnings: [] };
      throw error;
    }
  });
  app.get("/api/v1/line", async () => ({ results: await lastResults(project.places.results) }));
}

/** Fires when the client goes away. */
function whileThere({ raw }: FastifyRequest): AbortSignal {
  const controller = new AbortController();
  raw.socket.once("close", () => controller.abort());
  return controller.signal;
}

function addTrainings(app: FastifyInstance, { project, trainings, judge }: StudioParts): void {
  app.get("/api/v1/training-options", () => ({ options: trainingOptions(project.regime) }));
  app.get("/api/v1/runs", async () => ({ runs: await trainings.list() }));
  app.post("/api/v1/runs", async ({ body }) => {
    const { name, flags: given } = read(trainingRequest, body);
    return trainings.add(name, given);
  });
  app.post("/api/v1/estimate", async (request) => {
    const { flags: given } = read(z.strictObject({ flags }), request.body);
    return trainings.estimate(given, whileThere(request));
  });
  app.get<Run>("/api/v1/runs/:run", (request) => trainings.details(runOf(request)));
  app.delete<Run>("/api/v1/runs/:run", async (request, reply) => {
    await judge.stop(runOf(request));
    await trainings.remove(runOf(request));
    return reply.code(204).send();
  });
  app.post<Action>("/api/v1/runs/:run/:action", async (request, reply) => {
    const action = read(z.enum(["pause", "resume", "stop"]), request.params.action);
    await trainings[action](runOf(request));
    return reply.code(204).send();
  });
  app.get<Run>("/api/v1/runs/:run/report", async (request, reply) => {
    const file = runFiles(trainings.folderOf(runOf(request))).report;
    const html = await readRegular(file).catch(() => undefined);
    if (!html) throw new HttpError("NOT_FOUND", "The run has no report.");
    // The file has a policy of its own, which allows what it holds and nothing else.
    return reply
      .type("text/html; charset=utf-8")
      .header(
        "content-security-policy",
        "default-src 'none'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'; sandbox allow-scripts",
      )
      .send(html);
  });
}

function addJudging(app: FastifyInstance, { judge }: StudioParts): void {
  app.get<Run>("/api/v1/runs/:run/judgement", (request) => judge.judgement(runOf(request)));
  app.post<Run>("/api/v1/runs/:run/judgement", async (request) => {
    await judge.evaluate(runOf(request));
    return judge.judgement(runOf(request));
  });
  app.put<Run>("/api/v1/runs/:run/threshold", async (request) => {
    const { value } = read(z.strictObject({ value: z.number() }), request.body);
    await judge.setThreshold(runOf(request), value);
    return judge.judgement(runOf(request));
  });
  app.get<Run>("/api/v1/runs/:run/heat", async (request, reply) =>
    sendPicture(
      reply,
      { type: "image/png", bytes: await found(judge.heat(runOf(request), read(byId, request.query).id)) },
      false,
    ),
  );
  app.get<Run>("/api/v1/runs/:run/proposal", async (request, reply) =>
    sendPicture(
      reply,
      { type: "image/png", bytes: await found(judge.proposal(runOf(request), read(byId, request.query).id)) },
      false,
    ),
  );
  app.get<Run>("/api/v1/runs/:run/detection", (request) => judge.detect(runOf(request), read(byId, request.query).id));
  app.post<Run>("/api/v1/runs/:run/detect", async (request) => {
    const { id } = read(byId, request.query);
    const { body } = request;
    if (!Buffer.isBuffer(body) || body.length === 0) throw new HttpError("BAD_REQUEST", "Send an image as the body.");
    return judge.detectImage(runOf(request), body, id);
  });
  app.get("/api/v1/suggestions", () => ({ suggestions: judge.suggestions }));
  app.post<Run>("/api/v1/runs/:run/suggestions", async (request) => {
    await judge.suggest(runOf(request));
    return { suggestions: judge.suggestions };
  });
}

/** What happens, as server-sent events. */
function addEvents(app: FastifyInstance, { events, trainings }: StudioParts): void {
  app.get("/api/v1/events", async (request, reply) => {
    request.isLong = true;
    const stream = new PassThrough();
    events.add(stream);
    request.raw.socket.once("close", () => events.remove(stream));
    events.tellOne(stream, { event: "runs", runs: await trainings.list() });
    const { progress } = trainings;
    if (progress) events.tellOne(stream, progress);
    return reply.type("text/event-stream").header("connection", "close").send(stream);
  });
}
