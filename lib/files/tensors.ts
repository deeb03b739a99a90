import { fileError, SuperSimpleNetError } from "../errors.js";
import type { TensorMap } from "../native/binding.js";
import { openEngine } from "../native/engine.js";
import { replaceFile } from "../write.js";
import { checkNul, InputFile, isFolder } from "./input.js";
import { encodeSafetensors, readSafetensors, readSafetensorsMetadata, sealSafetensors } from "./safetensors.js";

export interface TensorFile {
  tensors: TensorMap;
  /** Of safetensors only. */
  metadata: Record<string, string>;
  format: TensorFormat;
}

export type TensorFormat = "safetensors" | "pytorch-zip" | "pytorch-legacy";

/**
 * Reads a file of any of the formats; its content tells which, never its name. With `names`, only tensors whose name
 * starts with one of them. Tensors keep the file's element type; toFloat32 (lib/backbones/float32.ts) converts. Of a
 * PyTorch file: the top-level dictionary, or its `state_dict`, `model_state_dict` or `model` when it holds no tensor.
 * Throws FILE_CORRUPT, PICKLE_REFUSED, WEIGHTS_INVALID (element type without a form here), OUT_OF_MEMORY and the codes
 * of InputFile. `onRead` gets the tensors of a safetensors file before its checksum is compared: for work that is thrown
 * away when this fails. `device`: for openEngine.
 */
export function readTensors(
  path: string,
  names?: readonly string[],
  onRead?: (tensors: TensorMap) => void,
  device?: string,
): Promise<TensorFile> {
  return InputFile.with(path, async (file) => {
    const format = await formatOf(file);
    if (format === "safetensors") return { ...(await readSafetensors(file, names, onRead, device)), format };
    return { tensors: await (await openEngine(device)).readPytorch(path, format, names), metadata: {}, format };
  });
}

/** Reads the metadata alone; that of a PyTorch file is empty. Throws what readTensors throws. */
export function readMetadata(path: string): Promise<Record<string, string>> {
  return InputFile.with(path, async (file) =>
    (await formatOf(file)) === "safetensors" ? readSafetensorsMetadata(file) : {},
  );
}

/**
 * Writes safetensors with a checksum, to a temporary name first. The tensors are copied, in some turns of the event loop.
 * The same input gives the same bytes. Errors: WEIGHTS_INVALID, FILE_NOT_FOUND (no such folder), NO_PERMISSION, NO_SPACE,
 * FILE_ERROR, INVALID_OPTION.
 */
export async function writeTensors(path: string, tensors: TensorMap, metadata: Record<string, string>): Promise<void> {
  const encoded = await encodeSafetensors(path, tensors, metadata);
  checkNul(path);
  if (await isFolder(path))
    throw new SuperSimpleNetError("FILE_ERROR", `Cannot write ${path}: it is a folder.`, { path });
  await sealSafetensors(encoded);
  await replaceFile(path, encoded.file, { flush: true }).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw fileError(cause, "write", path);
    const message = `Cannot write ${path}: its folder does not exist. Create it first.`;
    throw new SuperSimpleNetError("FILE_NOT_FOUND", message, { cause, path });
  });
}

async function formatOf(file: InputFile): Promise<TensorFormat> {
  const head = (await file.read(0, Math.min(file.size, 32))).toString("latin1");
  if (/^PK(\x03\x04|\x05\x06)/.test(head)) return "pytorch-zip";
  // torch.save's magic number 0x1950a86a20f9469cfc6c, as the LONG1 of a pickle.
  if (head.startsWith("\x80") && head.includes("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."))
    return "pytorch-legacy";
  if (head[8] === "{") return "safetensors";
  throw file.corrupt(guess(head));
}

/** What a file seems to be, for people who saved the wrong thing. */
function guess(head: string): string {
  if (head === "") return "it is empty";
  if (head.startsWith("version https://git-lfs"))
    return "it is a Git LFS pointer, not the file itself; run 'git lfs pull'";
  if (head.startsWith("<")) return "it is a web page; the download went wrong";
  if (head.startsWith("\x1f\x8b")) return "it is compressed with gzip; unpack it first";
  if (head.startsWith("\x89HDF")) return "it is an HDF5 (Keras) file; only safetensors and PyTorch files are read";
  if (head.startsWith("\x80")) return "it is a Python pickle, but not one that torch.save wrote";
  return "it is neither a safetensors file nor a PyTorch file (zip or legacy)";
}
