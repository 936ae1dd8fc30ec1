import { describe, expect, it } from 'vitest';
import { type Random, seededRandom, systemRandom } from '../../../src/base/random.ts';

const SOURCES: [string, () => Random][] = [
  ['the operating system', () => systemRandom],
  ['a seed', () => seededRandom(1)],
];

describe.each(SOURCES)('randomness from %s', (_, create) => {
  it('gives as many bytes as asked for', () => {
    const random = create();
    for (const length of [0, 1, 16, 1_000]) expect(random.bytes(length)).toHaveLength(length);
  });

  it('stays within its bounds', () => {
    const random = create();
    for (let round = 0; round < 1_000; round++) {
      const fraction = random.fraction();
      expect(fraction >= 0 && fraction < 1).toBe(true);
      const number = random.below(3);
      expect([0, 1, 2]).toContain(number);
    }
    expect(random.below(1)).toBe(0);
    expect(random.below(2 ** 32)).toBeLessThan(2 ** 32);
  });
});

describe('randomness from a seed', () => {
  it('is the same for the same seed, and another for another', () => {
    const take = (seed: number): number[] => {
      const random = seededRandom(seed);
      return [...random.bytes(8), random.fraction(), random.below(1_000)];
    };
    expect(take(7)).toEqual(take(7));
    expect(take(7)).not.toEqual(take(8));
  });

  it('stays what it has always been, so that a seed noted down means the same', () => {
    expect([...seededRandom(42).bytes(4)]).toEqual([124, 138, 192, 173]);
    const random = seededRandom(42);
    expect([random.below(1_000), random.below(1_000), random.below(1_000)]).toEqual([
      601, 448, 852,
    ]);
  });

  // With 16 cells, chi-square is above 37.7 once in a thousand; these seeds are fixed.
  it.each([1, 2, 3, 1_000_000])('is spread evenly, seed %i', (seed) => {
    const cells = Array<number>(16).fill(0);
    const random = seededRandom(seed);
    const draws = 16_000;
    for (let draw = 0; draw < draws; draw++) {
      const cell = random.below(16);
      cells[cell] = (cells[cell] ?? 0) + 1;
    }
    const expected = draws / 16;
    const chiSquare = cells.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(37.7);
  });

  it('is spread evenly over first numbers of seeds that follow each other', () => {
    const heads = Array.from({ length: 10_000 }, (_, seed) => seededRandom(seed).below(2));
    const ones = heads.filter((head) => head === 1).length;
    expect(Math.abs(ones - 5_000)).toBeLessThan(200);
  });
});
