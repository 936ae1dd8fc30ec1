import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { RestartPolicy } from '../../../src/cli/restart-policy.ts';

const SEED = 7;

/** Ends a worker at these times after its starts. @returns the delays before it is started again. */
function delays(lives: readonly number[]): number[] {
  const policy = new RestartPolicy(seededRandom(SEED));
  let now = 0;
  return lives.map((life) => {
    policy.started(now);
    policy.ready();
    now += life;
    const verdict = policy.ended(null, now);
    if (verdict.kind !== 'restart') throw new Error('it was given up');
    now += verdict.afterMs;
    return verdict.afterMs;
  });
}

describe('a worker that has ended', () => {
  it('is started again soon the first time, later each time it fails again, 30 s at most', () => {
    const longest = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    const found = delays(longest.map(() => 100));
    for (const [index, delay] of found.entries()) {
      const most = longest[index] ?? 0;
      expect(delay, `delay ${index}, seed ${SEED}`).toBeGreaterThanOrEqual(most / 2);
      expect(delay, `delay ${index}, seed ${SEED}`).toBeLessThanOrEqual(most);
    }
  });

  it('is started again soon where it had run for a minute', () => {
    expect(delays([100, 100, 100, 100, 60_000]).at(-1)).toBeLessThanOrEqual(250);
    expect(delays([100, 100, 100, 100, 59_999]).at(-1)).toBeGreaterThan(250);
  });

  it.each([
    ['wrong usage', 64, false, 'give-up'],
    ['a wrong configuration, like a port in use', 78, false, 'give-up'],
    ['the same, after it had served: the port may still be held', 78, true, 'restart'],
    ['a crash', 1, false, 'restart'],
    ['a signal, like that of its watchdog', null, false, 'restart'],
    ['a goodbye that an operator asked it for', 0, true, 'restart'],
  ])('over %s (%s)', (_why, code, wasReady, kind) => {
    const policy = new RestartPolicy(seededRandom(SEED));
    policy.started(0);
    if (wasReady) policy.ready();
    expect(policy.ended(code, 10).kind).toBe(kind);
  });
});
