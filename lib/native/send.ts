import { turns } from "../turns.js";
import type { SentTensors, TensorMap } from "./binding.js";
import { engine } from "./engine.js";

/**
 * Copies tensors to the engine one by one, so that 100 MB do not hold the event loop. Their owner should leave them as
 * they are meanwhile. Throws WEIGHTS_INVALID for data that do not fit dtype and shape.
 */
export async function sendTensors(tensors: TensorMap): Promise<SentTensors> {
  const sent = engine().createTensors();
  const breathe = turns();
  for (const [name, tensor] of Object.entries(tensors)) {
    engine().addTensor(sent, name, tensor);
    await breathe(tensor.data.byteLength);
  }
  return sent;
}
