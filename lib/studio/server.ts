import path from "node:path";
import type { AddressInfo } from "node:net";

import { SuperSimpleNetError } from "../errors.js";
import { isFolder } from "../files/input.js";
import { tryLockFolder } from "../files/lock.js";
import { openEngine } from "../native/engine.js";
import { isMaskFolder } from "../datasets/masks.js";
import { listFolder } from "../datasets/listing.js";
import type { StudioSettings } from "../schema/studio.js";
import { Connections } from "../server/connections.js";
import { listen } from "../server/listen.js";
import { probeFolder, removeTemporaries } from "../write.js";
import { makeStudio } from "./app.js";
import { Detectors } from "./detectors.js";
import { Events } from "./events.js";
import { Judge } from "./judge.js";
import { Labels } from "./labels.js";
import { lastResults, stateOf } from "./line.js";
import { Thumbnails } from "./pictures.js";
import { type Places, placesOf, Project } from "./project.js";
import { Trainings } from "./trainings.js";

export interface Studio {
  /** Such as "http://127.0.0.1:8090". */
  readonly url: string;
  /** Ends the running training after its step, which goes on at the next start, and answers nobody any more. */
  close(): Promise<void>;
}

/** Answers that are on their way when the studio is closed have so long to end. */
const patienceMs = 5000;
/** How often the results of a line are looked at. */
const lineMs = 1000;

type Settings = StudioSettings & { onLog?: (line: string) => void };

/**
 * Starts the studio on a folder, on this machine alone. Errors: FILE_ERROR (the folder is a data set itself, or no folder, or
 * another studio has it), NO_PERMISSION, INVALID_OPTION for a port that is taken.
 */
export async function startStudio(folder: string, settings: Settings): Promise<Studio> {
  const places = placesOf(path.resolve(folder), settings.data);
  await refuseDataset(places.folder, settings.data);
  await probeFolder(places.own);
  await openEngine(settings.device);
  const unlock = await tryLockFolder(places.own);
  if (!unlock)
    throw new SuperSimpleNetError("FILE_ERROR", `Another studio is at work in ${places.folder}.`, {
      path: places.folder,
      fix: "Use its page, or stop it with Ctrl-C and start this one again.",
    });
  try {
    const studio = await start(places, settings);
    return { url: studio.url, close: () => studio.close().finally(unlock) };
  } catch (error) {
    await unlock();
    throw error;
  }
}

/** The studio of a folder that nobody else has. */
async function start(places: Places, settings: Settings): Promise<Studio> {
  await removeTemporaries(places.own);
  const events = new Events();
  const tell = events.tell.bind(events);
  const project = await Project.open(places);
  const thumbnails = new Thumbnails(path.join(places.own, "thumbnails"));
  const { device, threads } = settings;
  const detectors = new Detectors({ device, threads });
  const labels = new Labels(project);
  const trainings = await Trainings.open(project, labels, { device, threads }, tell);
  const judge = new Judge(project, trainings, detectors, tell);
  let stopping = false;
  const parts = { project, labels, thumbnails, trainings, judge, detectors, events, isStopping: () => stopping };
  const app = makeStudio(settings, parts);
  const connections = new Connections(app.server);
  await listen("studio", app, { host: "127.0.0.1", port: settings.port });
  // Not before: nobody could stop what it trains.
  trainings.begin();
  thumbnails.removeOld(project.images);

  let seen = "";
  const timer = setInterval(() => void lookAtLine().catch(() => undefined), lineMs).unref();
  const lookAtLine = async (): Promise<void> => {
    const now = await stateOf(places.results);
    if (now === seen) return;
    seen = now;
    tell({ event: "line", results: await lastResults(places.results) });
  };

  const { port } = app.server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      stopping = true;
      clearInterval(timer);
      events.close();
      await Promise.all([trainings.close(), judge.stop()]);
      const patience = setTimeout(() => connections.endAll(), patienceMs);
      await app.close();
      await connections.ended();
      clearTimeout(patience);
      await detectors.close();
    },
  };
}

/** Runs and labels of a project would lie among the images of the data set. */
async function refuseDataset(folder: string, data: string | undefined): Promise<void> {
  if (data !== undefined || !(await isFolder(folder))) return;
  const { folders } = await listFolder(folder);
  const isDataset = folders.some((name) => /^(train|test)$/i.test(name) && !isMaskFolder(name));
  if (!isDataset) return;
  throw new SuperSimpleNetError("FILE_ERROR", `${folder} is a data set itself: the studio keeps runs beside one.`, {
    path: folder,
    fix: `Give another folder for the project, and this one with --data: supersimplenet studio PROJECT --data ${folder}`,
  });
}
