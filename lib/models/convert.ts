import { backboneFrom, detectArchitecture, pickTensors, weightsInvalid } from "../backbones/check.js";
import { readTensors } from "../files/tensors.js";
import type { Architecture, TensorMap } from "../native/binding.js";
import { engine } from "../native/engine.js";
import { check } from "../schema/check.js";
import { type ConvertOptions, convertOptions, layouts } from "../schema/models.js";
import { inTurns } from "../turns.js";

export type CheckpointLayout = (typeof layouts)[number];

export interface ConvertedCheckpoint {
  /** By the authors' names, float32; `headTensors` of the binding gives the shapes. */
  heads: TensorMap;
  layout: CheckpointLayout;
  /** anomalib stores its backbone too; present only when it is complete up to layer3. */
  backbone?: { architecture: Architecture; tensors: TensorMap };
}

/** The authors' name in each layout (docs/method.md, Checkpoints and file formats). */
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
  const { path, layout: asked, channels } = check("convertCheckpoint", convertOptions, options);
  const wanted = engine().headTensors(channels);
  const { tensors } = await readTensors(path);
  const { layout, prefix } = detectLayout(tensors, Object.keys(wanted), asked, path);

  const problems: string[] = [];
  const heads = await inTurns(pickTensors(tensors, wanted, (name) => prefix + nameIn[layout](name), problems));
  if (problems.length > 0)
    throw weightsInvalid(
      path,
      `does not hold the heads for ${channels} feature channels in the ${layout} layout`,
      problems,
    );

  const extractor = `${prefix}feature_extractor.`;
  const inside = Object.fromEntries(Object.entries(tensors).filter(([name]) => name.startsWith(extractor)));
  const architecture = layout === "anomalib" ? detectArchitecture(inside) : undefined;
  return architecture
    ? { heads, layout, backbone: { architecture, tensors: await backboneFrom(inside, architecture, path) } }
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
  for (const layout of layouts) {
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
      `expected names such as ${(asked === "auto" ? layouts : [asked]).map((layout) => nameIn[layout]("feature_adaptor.projection.weight")).join(" or ")}, found ${sample}`,
    ],
  );
}
