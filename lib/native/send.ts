import { pieceEnds, turns } from "../turns.js";
import type { SentTensors, TensorMap } from "./binding.js";
import { engine } from "./engine.js";

/**
 * Copies tensors to the engine piece by piece, so that 100 MB do not hold the event loop. Their owner should leave them as
 * they are meanwhile. Throws WEIGHTS_INVALID for data that do not fit dtype and shape.
 */
export async function sendTensors(tensors: TensorMap): Promise<SentTensors> {
  const sent = engine().createTensors();
  const breathe = turns();
  for (const [name, tensor] of Object.entries(tensors))
    for (const [begin, end] of pieceEnds(tensor.data.byteLength)) {
      engine().copyToTensor(sent, name, tensor, begin, end);
      await breathe(end - begin);
    }
  return sent;
}

/** What the engine is reading. Kept here because perhaps nothing else refers to it any more. */
const lent = new Set<readonly TensorMap[]>();

/**
 * Lends tensors to the engine, without a copy, until `use` has ended; what it calls may keep nothing of them. Only tensors
 * that no user has yet: the engine reads their memory, so they must not be changed, nor transferred to another thread.
 */
export async function lendTensors<T>(
  tensors: readonly TensorMap[],
  use: (...lent: SentTensors[]) => Promise<T>,
): Promise<T> {
  lent.add(tensors);
  try {
    return await use(
      ...tensors.map((each) => {
        const out = engine().createTensors();
        for (const [name, tensor] of Object.entries(each)) engine().lendTensor(out, name, tensor);
        return out;
      }),
    );
  } finally {
    lent.delete(tensors);
  }
}
