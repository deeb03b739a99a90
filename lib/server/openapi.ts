import { z } from "zod";

import { packageVersion } from "../native/locate.js";
import { detectQuery } from "../schema/server.js";
import { errorAnswer, failedImage, imageAnswer } from "./answers.js";
import { rawType } from "./images.js";

type Json = Record<string, unknown>;

/** A schema of zod's as OpenAPI 3.1 takes it: JSON Schema 2020-12. */
function jsonSchema(schema: z.ZodType, io: "input" | "output" = "output"): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io }) as Json;
  return rest;
}

const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const json = (description: string, schema: Json): Json => ({
  description,
  content: { "application/json": { schema } },
});
const failure = (description: string): Json => json(description, reference("Error"));

const card: Json = {
  type: "object",
  required: ["name", "state", "checksum", "loadedAt", "device", "model", "drift", "failure"],
  properties: {
    name: { type: "string" },
    state: { enum: ["ready", "unloaded", "failed"] },
    checksum: { type: ["string", "null"], description: "SHA-256 of the model file." },
    loadedAt: { type: ["string", "null"], format: "date-time" },
    device: { type: ["string", "null"] },
    model: { type: ["object", "null"], description: "Configuration and thresholds, with how they were found." },
    drift: { type: ["object", "null"], description: "Scores since loading beside those of the calibration." },
    failure: {
      type: ["object", "null"],
      description: "Why the file that lies there now was not loaded; the model before, if any, goes on serving.",
    },
  },
};

const { properties: queryProperties } = jsonSchema(detectQuery, "input") as { properties: Record<string, Json> };
const query = Object.entries(queryProperties).map(([name, { description, ...schema }]) => ({
  name,
  in: "query",
  description,
  schema,
}));

const nameParameter: Json = { name: "name", in: "path", required: true, schema: { type: "string" } };
const timeoutParameter: Json = {
  name: "Request-Timeout-Ms",
  in: "header",
  description: "Time to the answer, at most; the request leaves the queue then.",
  schema: { type: "integer", minimum: 1 },
};

const detect: Json = {
  operationId: "detect",
  summary: "Find defects on an image, or on several.",
  parameters: [nameParameter, ...query, timeoutParameter],
  requestBody: {
    required: true,
    content: {
      "image/*": { schema: { type: "string", format: "binary" } },
      [`${rawType}; width=640; height=480; channels=3`]: {
        schema: {
          type: "string",
          format: "binary",
          description: "uint8, row by row, channels (1, 3 or 4) interleaved.",
        },
      },
      "multipart/form-data": {
        schema: { type: "object", additionalProperties: { type: "string", format: "binary" } },
      },
    },
  },
  responses: {
    200: {
      description: "The answer. For multipart requests one of each image, as a document or as lines (Accept).",
      content: {
        "application/json": { schema: { oneOf: [reference("Image"), reference("Images")] } },
        "application/x-ndjson": { schema: { oneOf: [reference("Image"), reference("FailedImage")] } },
      },
    },
    400: failure("The request is wrong."),
    401: failure("The token is missing or wrong."),
    403: failure("The Host or the Origin is refused."),
    404: failure("There is no such model."),
    408: failure("The request did not arrive in time."),
    413: failure("The image is too large, or there are too many."),
    422: failure("The image cannot be read."),
    429: {
      ...failure("The queue is full."),
      headers: { "Retry-After": { description: "Seconds.", schema: { type: "integer" } } },
    },
    503: failure("The server is stopping, or has no memory for this image now."),
    504: failure("The deadline passed."),
  },
};

/** GET /openapi.json: what the server takes and answers, made of the same schemas that check it. */
export const openApi: Json = {
  openapi: "3.1.0",
  info: {
    title: "supersimplenet",
    version: packageVersion,
    description: "Surface defect detection.",
    license: { name: "MIT AND BSD-3-Clause" },
  },
  security: [{}, { token: [] }],
  paths: {
    "/api/v1/models/{name}/detect": { post: detect },
    "/api/v1/models": {
      get: {
        operationId: "listModels",
        summary: "Every model's card.",
        responses: {
          200: json("The cards.", {
            type: "object",
            required: ["models"],
            properties: { models: { type: "array", items: reference("ModelCard") } },
          }),
          401: failure("The token is missing or wrong."),
        },
      },
    },
    "/api/v1/models/{name}": {
      get: {
        operationId: "getModel",
        summary: "One model's card.",
        parameters: [nameParameter],
        responses: { 200: json("The card.", reference("ModelCard")), 404: failure("There is no such model.") },
      },
      put: {
        operationId: "putModel",
        summary: "Load a model: the file that is sent, or without a body its own again.",
        security: [{ token: [] }],
        parameters: [nameParameter],
        requestBody: { content: { "application/octet-stream": { schema: { type: "string", format: "binary" } } } },
        responses: {
          200: json("The card.", reference("ModelCard")),
          403: failure("This server has no token, so models cannot be changed."),
          404: failure("There is no such model, and no file was sent."),
          409: failure("This server takes no files for that model."),
          422: failure("This is no usable model file; the model before goes on serving."),
        },
      },
      delete: {
        operationId: "unloadModel",
        summary: "Take a model out of service. Its file stays.",
        security: [{ token: [] }],
        parameters: [nameParameter],
        responses: { 204: { description: "It is out of service." }, 404: failure("There is no such model.") },
      },
    },
    "/healthz": { get: { summary: "The process lives.", security: [], responses: { 200: { description: "Yes." } } } },
    "/readyz": {
      get: {
        summary: "It takes requests.",
        security: [],
        responses: { 200: { description: "Yes." }, 503: { description: "It is stopping." } },
      },
    },
    "/metrics": {
      get: { summary: "Metrics in Prometheus' text format.", responses: { 200: { description: "The metrics." } } },
    },
  },
  components: {
    securitySchemes: { token: { type: "http", scheme: "bearer" } },
    schemas: {
      Image: jsonSchema(imageAnswer),
      FailedImage: jsonSchema(failedImage),
      Images: {
        type: "object",
        required: ["images"],
        properties: { images: { type: "array", items: { oneOf: [reference("Image"), reference("FailedImage")] } } },
      },
      ModelCard: card,
      Error: jsonSchema(z.strictObject({ error: errorAnswer })),
    },
  },
};
