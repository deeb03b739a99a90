import type { AddressInfo, Server as NetServer } from "node:net";

import type { FastifyBaseLogger, FastifyInstance } from "fastify";

import { call, invalid, option, SuperSimpleNetError, text } from "../errors.js";
import { readText } from "../files/input.js";
import type { Keeper } from "../outputs/keep.js";
import type { Output } from "../outputs/output.js";
import { check } from "../schema/check.js";
import { servedDetectorOptions, serverOptions, type ServerSettings } from "../schema/server.js";
import { isLoopback } from "./access.js";
import { Admission } from "./admission.js";
import { type AppParts, makeApp } from "./app.js";
import { Connections } from "./connections.js";
import type { DetectionServer, ServerOptions } from "./create.js";
import { Keeping } from "./keeping.js";
import { listen } from "./listen.js";
import { Metrics } from "./metrics.js";
import { type Loaded, Models } from "./models.js";
import { DetectionQueue } from "./queue.js";
import { Service } from "./service.js";
import { readToken } from "./token.js";

const where = "createServer";
const MIB = 2 ** 20;

/** Loads the models and listens. */
export async function startServer(
  options: ServerOptions,
  output: Output | undefined,
  keeper: Keeper | undefined,
): Promise<DetectionServer> {
  const settings = check(where, serverOptions, options);
  const token = await tokenOf(settings);
  refuseUnsafe(settings, token);
  const tls = await tlsOf(settings);
  const detectorSettings = servedDetectorOptions.strip().parse(settings);

  const metrics = new Metrics();
  let app: FastifyInstance | undefined;
  /** Of models that are loaded before there is a log. */
  const early: (() => void)[] = [];
  const log = (tell: (log: FastifyBaseLogger) => void): void => {
    const act = (): void => tell(app!.log);
    if (app) act();
    else early.push(act);
  };
  const models = await Models.open(settings.models, settings.modelsDir, detectorSettings, {
    onLoad: ({ name, checksum, detector }, ms) => {
      metrics.modelLoaded(name, "loaded");
      const told = { model: name, checksum, device: detector.device, ms: Math.round(ms) };
      log((to) => to.info(told, "model loaded"));
    },
    onFailure: (name, error) => {
      metrics.modelLoaded(name, "refused");
      log((to) =>
        to.error({ model: name, err: error }, "a model file was not loaded; one that was before goes on serving"),
      );
    },
  });
  try {
    if (models.names.length === 0 && settings.modelsDir === undefined)
      throw invalid(where, "models", "at least one model, or a folder of models", settings.models);
    const admission = new Admission({ images: settings.queueSize, bytes: settings.queueMiB * MIB });
    const onBatch = (detector: Loaded["detector"], images: number): void => {
      const loaded = models.loaded().find((one) => one.detector === detector);
      if (loaded) metrics.batch(loaded, images);
    };
    const queue = new DetectionQueue({ batchSize: settings.batchSize, onBatch });
    const keeping =
      keeper &&
      new Keeping(keeper, (error) =>
        log((to) =>
          error === undefined ? to.info("images are kept again") : to.error(`an image was not kept: ${error}`),
        ),
      );
    metrics.watch(admission, models, output, keeping);
    const service = new Service(queue, metrics, output, keeping, Math.floor(settings.maxMegapixels * 1e6));
    let stopping = false;
    const hosts = [settings.host, ...settings.allowHosts].map((name) => name.toLowerCase());
    const parts: AppParts = { models, admission, metrics, service, token, tls, hosts, isStopping: () => stopping };
    app = makeApp(settings, parts);
    for (const tell of early) tell();
    const connections = new Connections(app.server);
    const more = await listen(where, app, settings);
    return new RunningServer(app, more, connections, settings, models, [output, keeper], () => (stopping = true));
  } catch (error) {
    models.close();
    throw error;
  }
}

async function tokenOf({ token, tokenFile }: ServerSettings): Promise<string | undefined> {
  if (tokenFile === undefined) return token;
  if (token !== undefined)
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call(where)}: ${option("token")} and ${option("tokenFile")} exclude each other.`,
      { option: "tokenFile" },
    );
  return readToken(where, tokenFile);
}

/** Throws INVALID_OPTION for a server that strangers could use without anybody having said so. */
function refuseUnsafe({ host, withoutToken }: ServerSettings, token: string | undefined): void {
  if (token !== undefined || withoutToken || isLoopback(host)) return;
  const what = text`${call(where)}: other machines reach ${host}, and no token is asked for.`;
  throw new SuperSimpleNetError("INVALID_OPTION", what, {
    option: "host",
    value: host,
    fix: text`Give ${option("tokenFile")}, or ${option("withoutToken")} where the network is trusted.`,
  });
}

async function tlsOf({ tlsCert, tlsKey }: ServerSettings): Promise<AppParts["tls"]> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new SuperSimpleNetError(
      "INVALID_OPTION",
      text`${call(where)}: ${option("tlsCert")} and ${option("tlsKey")} belong together.`,
      { option: tlsCert === undefined ? "tlsCert" : "tlsKey" },
    );
  return { cert: await readText(tlsCert), key: await readText(tlsKey) };
}

class RunningServer implements DetectionServer {
  readonly url: string;
  readonly port: number;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly app: FastifyInstance,
    private readonly more: readonly NetServer[],
    private readonly connections: Connections,
    private readonly settings: ServerSettings,
    private readonly models: Models,
    private readonly receivers: readonly (Output | Keeper | undefined)[],
    private readonly beginStop: () => void,
  ) {
    const { address, port, family } = app.server.address() as AddressInfo;
    this.port = port;
    this.url = `${settings.tlsCert ? "https" : "http"}://${family === "IPv6" ? `[${address}]` : address}:${port}`;
    if (settings.reloadSeconds > 0) this.#lookLater();
  }

  /** Looks at the files again and again, never twice at once. */
  #lookLater(): void {
    const look = async (): Promise<void> => {
      await this.models.reloadChanged();
      if (!this.#closing) this.#lookLater();
    };
    this.#timer = setTimeout(() => void look(), this.settings.reloadSeconds * 1000).unref();
  }

  get modelNames(): readonly string[] {
    return this.models
      .loaded()
      .map(({ name }) => name)
      .sort();
  }

  reload(): Promise<void> {
    return this.models.reloadChanged();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.beginStop();
    clearTimeout(this.#timer);
    this.app.log.info("stopping");
    for (const server of this.more) server.close();
    this.connections.endSilent();
    // Who does not take the answer, or never ends the request, is not waited for.
    const patience = setTimeout(() => this.connections.endAll(), this.settings.stopTimeoutMs);
    try {
      await this.app.close();
      await this.connections.ended();
    } finally {
      clearTimeout(patience);
    }
    await this.models.settled();
    this.models.close();
    await Promise.all(this.receivers.map((receiver) => receiver?.close()));
    this.app.log.info("stopped");
  }
}
