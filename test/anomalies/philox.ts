/**
 * Philox4x32-10 written from the paper (Salmon et al., SC 2011), as the oracle of the native generator. Words are the
 * counter from low to high; the key is the 64-bit seed.
 */
export function philox(counter: [number, number, number, number], seed: bigint): [number, number, number, number] {
  const low = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let k0 = seed & low;
  let k1 = (seed >> 32n) & low;
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * c0;
    const b = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & low, (a >> 32n) ^ c3 ^ k1, a & low];
    k0 = (k0 + 0x9e3779b9n) & low;
    k1 = (k1 + 0xbb67ae85n) & low;
  }
  return [Number(c0), Number(c1), Number(c2), Number(c3)];
}

/** The counter word that holds purpose and sample (native/anomalies/philox.h). */
export const tag = (purpose: number, sample: number): number => purpose * 2 ** 24 + sample;
