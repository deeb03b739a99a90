/** A NumPy .npy file (format 1.0) of float32, little-endian, row-major: `numpy.load` gives an array of that shape. */
export function npyFile(data: Float32Array, shape: readonly number[]): Buffer {
  const description = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  // Magic (6), version (2), header length (2), then the header, padded with spaces and a newline so that the data starts at a multiple of 64.
  const length = Math.ceil((10 + description.length + 1) / 64) * 64 - 10;
  const file = Buffer.alloc(10 + length + data.length * 4, " ");
  file.write("\x93NUMPY\x01\x00", 0, "latin1");
  file.writeUInt16LE(length, 8);
  file.write(description, 10, "latin1");
  file[10 + length - 1] = 0x0a;
  data.forEach((value, i) => file.writeFloatLE(value, 10 + length + 4 * i));
  return file;
}
