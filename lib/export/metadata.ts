import type { ModelConfig } from "../models/config.js";
import { packageVersion } from "../native/locate.js";
import type { GraphForm } from "./network.js";
import type { Property } from "./onnx_format.js";
import type { Parity } from "./parity.js";

/** What a file says of itself, as metadata_props: docs/guides/export.md, Metadata. */
const prefix = "supersimplenet.";

export interface Form extends GraphForm {
  opset: number;
}

/** Of the model's heads, and of the graph's constants. */
export interface Checksums {
  heads: string;
  graph: string;
}

export function metadataOf(config: ModelConfig, form: Form, sha256: Checksums): Property[] {
  return properties({ version: packageVersion, config, form, sha256 });
}

/** Comes last: it is known when the rest of the file has been run. */
export const parityProperty = (parity: Parity | null): Property => properties({ parity: parity ?? "unverified" })[0]!;

const properties = (values: Record<string, unknown>): Property[] =>
  Object.entries(values).map(([name, value]) => ({
    key: prefix + name,
    value: typeof value === "string" ? value : JSON.stringify(value),
  }));

/** The metadata of a file, by its names without the prefix. */
export const metadataIn = (found: readonly Property[]): Record<string, string | undefined> =>
  Object.fromEntries(
    found.filter(({ key }) => key.startsWith(prefix)).map(({ key, value }) => [key.slice(prefix.length), value]),
  );
