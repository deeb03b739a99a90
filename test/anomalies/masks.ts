/** A small deterministic generator for test inputs: numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = (seed * 2654435761 + 1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomMask(height: number, width: number, density: number, seed: number): Uint8Array {
  const next = random(seed);
  return Uint8Array.from({ length: height * width }, () => Number(next() < density));
}

/** 8-connected components by flood fill: 0 outside, else numbered from 1 in raster order. */
export function components(mask: Uint8Array, height: number, width: number): Int32Array {
  const labels = new Int32Array(mask.length);
  let count = 0;
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || labels[start]) continue;
    labels[start] = ++count;
    const stack = [start];
    while (stack.length > 0) {
      const i = stack.pop()!;
      for (let y = Math.max(0, Math.floor(i / width) - 1); y <= Math.min(height - 1, Math.floor(i / width) + 1); y++) {
        for (let x = Math.max(0, (i % width) - 1); x <= Math.min(width - 1, (i % width) + 1); x++) {
          const j = y * width + x;
          if (mask[j] && !labels[j]) {
            labels[j] = count;
            stack.push(j);
          }
        }
      }
    }
  }
  return labels;
}
