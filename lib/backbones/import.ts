import { copyFile, rename, rm } from "node:fs/promises";
import path from "node:path";

import { fileSha256 } from "../checksum.js";
import { SuperSimpleNetError, fileError } from "../errors.js";
import { readTensors } from "../files/tensors.js";
import type { Architecture } from "../native/binding.js";
import { prepareCache } from "../native/cache.js";
import { checkPath } from "../schema/check.js";
import { catalogue, catalogueEntry, importedName, weightsFolder } from "./catalogue.js";
import { backboneFrom, detectArchitecture, weightsInvalid } from "./check.js";

export interface Imported {
  architecture: Architecture;
  /** Where the copy lies. */
  path: string;
  /** Whether it is the official file of the catalogue, byte for byte. */
  official: boolean;
}

/**
 * Copies a weights file into the cache folder, where "auto" finds it, after checking every tensor. The official file is
 * recognised by its checksum; any other one replaces an earlier import of its architecture and goes before the official
 * file. `architecture` defaults to the one whose tensors the file holds. Throws CHECKSUM_MISMATCH when the name carries a
 * checksum (`NAME-0123abcd.pth`) that is not the file's, WEIGHTS_INVALID, FILE_NOT_FOUND, FILE_CORRUPT, PICKLE_REFUSED, ...
 */
export async function importWeights(file: string, architecture?: string): Promise<Imported> {
  checkPath("importWeights", "file", file);
  const named = architecture === undefined ? undefined : catalogueEntry(architecture, "importWeights").architecture;
  const { tensors, format } = await readTensors(file);
  const found = named ?? detectArchitecture(tensors);
  if (!found) {
    throw weightsInvalid(file, "holds the complete weights of no known backbone", [
      `expected exactly the tensors of ${catalogue.map((e) => e.architecture).join(", ")} up to layer3; name the architecture to see what is wrong`,
    ]);
  }
  await backboneFrom(tensors, found, file);

  const folder = weightsFolder();
  await prepareCache(folder);
  const temporary = path.join(folder, `import-${process.pid}-${Date.now()}.tmp`);
  try {
    await copyFile(file, temporary);
    const sha256 = await fileSha256(temporary);
    const claimed = checksumInName(file);
    if (claimed && !sha256.startsWith(claimed)) {
      throw new SuperSimpleNetError(
        "CHECKSUM_MISMATCH",
        `${file} was changed or cut off: its name promises a SHA-256 that begins with ${claimed}, its content has ${sha256.slice(0, claimed.length)}. ` +
          `Copy it again, or rename it if the name is wrong.`,
        { path: file },
      );
    }
    const entry = catalogueEntry(found);
    const official = sha256.startsWith(entry.sha256Prefix);
    const target = path.join(
      folder,
      official ? entry.file : importedName(found, format === "safetensors" ? "safetensors" : "pth"),
    );
    await rename(temporary, target);
    // The latest import is the one that counts.
    for (const extension of ["pth", "safetensors"] as const) {
      const earlier = path.join(folder, importedName(found, extension));
      if (earlier !== target) await rm(earlier, { force: true });
    }
    return { architecture: found, path: target, official };
  } catch (error) {
    await rm(temporary, { force: true });
    throw fileError(error, "import", file);
  }
}

/** The checksum digits in a name like PyTorch's. Digits alone are more likely a date. */
function checksumInName(file: string): string | undefined {
  const match = /-([0-9a-f]{8,64})\.[a-z]+$/.exec(path.basename(file));
  return match && /[a-f]/.test(match[1]!) ? match[1] : undefined;
}
