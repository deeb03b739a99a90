import { z } from "zod";

import { pathType } from "./common.js";
import { detectorOptions } from "./detection.js";
import { option } from "./option.js";
import { serverOptions } from "./server.js";

const { device, threads } = detectorOptions.shape;

/** Options of the studio. */
export const studioOptions = z.strictObject({
  data: option(pathType.optional(), {
    help: "The project's data set, where it is not the folder data in the project.",
    placeholder: "DIR",
    expected: "a value that is not empty",
    defaultText: "data in the project's folder",
  }),
  port: option(z.int().min(0).max(65535).default(8090), {
    help: "Port to listen at; 0: any free one. Other machines never reach it.",
  }),
  withoutBrowser: option(z.boolean().default(false), {
    help: "Print the page's address and open no browser.",
    flag: "no-open",
    switch: true,
  }),
  logLevel: option(serverOptions.shape.logLevel.unwrap().default("warn"), {
    help: "What is logged; info has a line for each request.",
  }),
  device,
  threads,
});

export type StudioSettings = z.output<typeof studioOptions>;
