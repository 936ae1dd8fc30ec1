import { randomFillSync } from 'node:crypto';

/** Where every part of Chatty gets its randomness from, so that simulations can be replayed. */
export interface Random {
  /** `length` unpredictable bytes. */
  bytes(length: number): Uint8Array;
  /** A whole number, uniform in `[0, exclusiveMax)`; `exclusiveMax` in `[1, 2^32]`. */
  below(exclusiveMax: number): number;
  /** A real number, uniform in `[0, 1)`. */
  fraction(): number;
}

/** Unpredictable randomness from the operating system. */
export const systemRandom: Random = {
  bytes: (length) => randomFillSync(new Uint8Array(length)),
  below: (exclusiveMax) => Math.floor(systemRandom.fraction() * exclusiveMax),
  fraction: () => new DataView(systemRandom.bytes(4).buffer).getUint32(0) / 2 ** 32,
};

/**
 * A repeatable stream of numbers (mulberry32) for tests, simulations and fuzzers: never for
 * anything that has to be unpredictable.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const random: Random = {
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
    below: (exclusiveMax) => Math.floor(random.fraction() * exclusiveMax),
    fraction: () => next() / 2 ** 32,
  };
  return random;
}
