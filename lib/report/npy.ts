import { types } from "node:util";

import { invalid } from "../errors.js";

/** A NumPy .npy file (format 1.0) of float32, little-endian, row-major: `numpy.load` gives an array of that shape. Throws INVALID_OPTION for another number of values. */
export function npyFile(data: Float32Array, shape: readonly number[]): Buffer {
  if (!types.isFloat32Array(data)) throw invalid("npyFile", "data", "a Float32Array", data);
  const whole = Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!whole || shape.reduce((product, size) => product * size, 1) !== data.length)
    throw invalid("npyFile", "shape", `sizes whose product is the number of values, ${data.length},`, shape);
  const description = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  // Magic (6), version (2), header length (2), then the header, padded with spaces and a newline so that the data starts at a multiple of 64.
  const length = Math.ceil((10 + description.length + 1) / 64) * 64 - 10;
  const file = Buffer.alloc(10 + length + data.length * 4, " ");
  file.write("\x93NUMPY\x01\x00", 0, "latin1");
  file.writeUInt16LE(length, 8);
  file.write(description, 10, "latin1");
  file[10 + length - 1] = 0x0a;
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + length); // every platform of this package is little-endian
  return file;
}
