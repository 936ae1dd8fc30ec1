import { describe, expect, it } from 'vitest';
import { backoffDelayMs } from '../../../src/base/backoff.ts';
import { type Random, seededRandom } from '../../../src/base/random.ts';

const always = (fraction: number): Random => ({ ...seededRandom(0), fraction: () => fraction });
const options = { initialMs: 100, maxMs: 1_000 };

describe('backoff', () => {
  it('doubles up to its longest delay', () => {
    const delays = [1, 2, 3, 4, 5, 6].map((n) => backoffDelayMs(n, options, always(1)));
    expect(delays).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it('is spread over the upper half', () => {
    expect(backoffDelayMs(3, options, always(0))).toBe(200);
    expect(backoffDelayMs(3, options, always(0.5))).toBe(300);
  });

  it.each([0, -1])('takes attempt %i for the first', (attempt) => {
    expect(backoffDelayMs(attempt, options, always(1))).toBe(100);
  });

  it('stays finite however often it was tried', () => {
    expect(backoffDelayMs(1e9, options, always(1))).toBe(1_000);
  });

  it('grows by another factor where one is given', () => {
    expect(backoffDelayMs(3, { ...options, factor: 3 }, always(1))).toBe(900);
    expect(backoffDelayMs(9, { ...options, factor: 1 }, always(1))).toBe(100);
  });
});
