import { backboneFrom, detectArchitecture, pickTensors, weightsInvalid } from "../backbones/check.js";
import type { Architecture, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { checkChoice, checkNumber, rejectUnknown } from "../options.js";

export type CheckpointLayout = "authors" | "anomalib";

export interface ConvertOptions {
  /** A PyTorch (zip or legacy, Lightning too) or safetensors file. */
  path: string;
  /** Whose tensor names the file uses. Default "auto". */
  layout?: "auto" | CheckpointLayout;
  /** Feature channels C: the sum over the layers, 1536 for layer2 and layer3 of a bottleneck net. */
  channels: number;
}

export interface ConvertedCheckpoint {
  /** By the authors' names, float32; `headTensors` of the binding gives the shapes. */
  heads: TensorMap;
  layout: CheckpointLayout;
  /** anomalib stores its backbone too; present only when it is complete up to layer3. */
  backbone?: { architecture: Architecture; tensors: TensorMap };
}

/** The authors' name in each layout (spec section 7). */
const nameIn: Record<CheckpointLayout, (name: string) => string> = {
  authors: (name) => name,
  anomalib: (name) =>
    name
      .replace("feature_adaptor.", "adaptor.")
      .replace("discriminator.seg.", "segdec.seg_head.")
      .replace("discriminator.dec_head.", "segdec.cls_conv.")
      .replace("discriminator.fc_score.", "segdec.cls_fc."),
};

/**
 * Reads the heads (and anomalib's backbone) out of a checkpoint of the authors' code or of anomalib. A prefix before all
 * names (Lightning's `model.`, `module.`, ..) is found by itself. Throws WEIGHTS_INVALID with every missing, misshapen,
 * non-floating or non-finite tensor, and the file errors of readTensors.
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertedCheckpoint> {
  const where = "convertCheckpoint";
  rejectUnknown(options, ["path", "layout", "channels"], where);
  const wanted = engine().headTensors(
    checkNumber(where, "channels", options.channels, { integer: true, min: 1, max: 65536 }),
  );
  const asked = checkChoice(where, "layout", options.layout ?? "auto", ["auto", "authors", "anomalib"] as const);
  const { tensors } = await engine().readTensors(options.path);
  const { layout, prefix } = detectLayout(tensors, Object.keys(wanted), asked, options.path);

  const problems: string[] = [];
  const heads = pickTensors(tensors, wanted, (name) => prefix + nameIn[layout](name), problems);
  if (problems.length > 0)
    throw weightsInvalid(
      options.path,
      `does not hold the heads for ${options.channels} feature channels in the ${layout} layout`,
      problems,
    );

  const extractor = `${prefix}feature_extractor.`;
  const inside = Object.fromEntries(Object.entries(tensors).filter(([name]) => name.startsWith(extractor)));
  const architecture = layout === "anomalib" ? detectArchitecture(inside) : undefined;
  return architecture
    ? { heads, layout, backbone: { architecture, tensors: backboneFrom(inside, architecture, options.path) } }
    : { heads, layout };
}

/** The layout and prefix under which most of the heads' tensors are found. */
function detectLayout(
  tensors: TensorMap,
  wanted: string[],
  asked: "auto" | CheckpointLayout,
  file: string,
): { layout: CheckpointLayout; prefix: string } {
  const names = Object.keys(tensors);
  let best: { layout: CheckpointLayout; prefix: string; found: number } | undefined;
  for (const layout of ["authors", "anomalib"] as const) {
    if (asked !== "auto" && asked !== layout) continue;
    const found = new Map<string, number>();
    for (const head of wanted.map(nameIn[layout])) {
      for (const name of names) {
        if (name !== head && !name.endsWith(`.${head}`)) continue;
        const prefix = name.slice(0, name.length - head.length);
        found.set(prefix, (found.get(prefix) ?? 0) + 1);
      }
    }
    for (const [prefix, count] of found) if (!best || count > best.found) best = { layout, prefix, found: count };
  }
  if (best) return best;
  const sample = names.slice(0, 5).join(", ") || "no tensors at all";
  throw weightsInvalid(
    file,
    asked === "auto" ? "holds no SuperSimpleNet heads" : `holds no heads in the ${asked} layout`,
    [
      `expected names such as ${(asked === "auto" ? (["authors", "anomalib"] as const) : [asked]).map((layout) => nameIn[layout]("feature_adaptor.projection.weight")).join(" or ")}, found ${sample}`,
    ],
  );
}
