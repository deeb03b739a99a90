/** Bijective 32-bit mixer with full avalanche (MurmurHash3's finaliser, Appleby). */
function mix32(value: number): number {
  let k = value >>> 0;
  k = Math.imul(k ^ (k >>> 16), 0x85ebca6b);
  k = Math.imul(k ^ (k >>> 13), 0xc2b2ae35);
  return (k ^ (k >>> 16)) >>> 0;
}

/** 32-bit FNV-1a of a string's UTF-16 code units, finished by mix32. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix32(hash);
}

/** A copy in the order of the hashes of the items' keys: a shuffle that depends on the keys alone. */
export function byHash<T>(items: readonly T[], key: (item: T) => string): T[] {
  const keyed = items.map((item) => ({ item, text: key(item), hash: hash32(key(item)) }));
  return keyed.sort((a, b) => a.hash - b.hash || (a.text < b.text ? -1 : 1)).map(({ item }) => item);
}

const rotl = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

/**
 * Seeded random numbers for everything that JavaScript draws: xoshiro128** (Blackman and Vigna, "Scrambled linear
 * pseudorandom number generators", 2021; period 2^128 - 1), its state hashed from a seed and any number of keys.
 * Streams with different keys are independent, so one draw more in one place changes nothing in another. The numbers are
 * part of the package's reproducibility: the same on every platform.
 */
export class Random {
  private readonly state: Uint32Array;

  constructor(seed: number, ...keys: (string | number)[]) {
    this.state = new Uint32Array(4);
    const text = [seed, ...keys].map((key) => `${typeof key === "string" ? "s" : "n"}${key}`).join("\u0000");
    for (let i = 0; i < 4; i++) this.state[i] = hash32(`${i}\u0000${text}`);
    if (this.state.every((word) => word === 0)) this.state[0] = 1; // the one state that xoshiro never leaves
  }

  /** Uniform integer in [0, 2^32). */
  uint32(): number {
    const s = this.state;
    const result = Math.imul(rotl(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotl(s[3]!, 11);
    return result;
  }

  /** Uniform in [from, to), 32 bits of resolution. */
  uniform(from = 0, to = 1): number {
    return from + (to - from) * (this.uint32() / 2 ** 32);
  }

  /** Uniform integer in [0, count), without bias: the uneven remainder of the range is drawn again. */
  integer(count: number): number {
    const limit = 2 ** 32 - (2 ** 32 % count);
    let value = this.uint32();
    while (value >= limit) value = this.uint32();
    return value % count;
  }

  /** Standard normal (Box and Muller 1958; the second value is not kept). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.integer(choices.length)]!;
  }

  /** A shuffled copy (Fisher and Yates). */
  shuffled<T>(items: Iterable<T>): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [result[i], result[j]] = [result[j]!, result[i]!];
    }
    return result;
  }
}
