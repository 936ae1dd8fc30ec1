import { describe, expect, it } from 'vitest';
import { type GuessWorld, guessWorld, introduce, type NatName } from './guess-world.ts';

const SEEDS = Array.from({ length: 16 }, (_, index) => index + 1);
const LINUX = 'masquerade, early';
const EIM = 'endpoint-independent';

/** When both sides answer each other directly, since the match. */
function directAfterMs(world: GuessWorld, lateMs: number): number {
  const start = world.network.now;
  introduce(world, lateMs);
  world.network.runUntil(start + 30_000);
  return Math.max(world.waiting.directAt, world.later.directAt) - start;
}

describe.each<readonly [NatName, NatName]>([
  [LINUX, LINUX],
  [EIM, LINUX],
  [LINUX, EIM],
])('%s and %s, in 16 worlds each', (waiting, later) => {
  it.each([
    ['together', 0, 0, 130],
    ['100 ms late', 100, 0, 800],
    ['300 ms late', 300, 0, 1_000],
    ['300 ms late, where every tenth packet is lost', 300, 0.1, 1_500],
    ['a second late', 1_000, 0, 1_600],
    ['ten seconds late', 10_000, 0, 10_600],
  ])('meet when one comes %s', (_when, lateMs, loss, medianMs) => {
    const worlds = SEEDS.map((seed) => guessWorld(waiting, later, seed, { loss }));
    const times = worlds.map((world) => directAfterMs(world, lateMs)).sort((a, b) => a - b);
    expect(times.at(-1), `of ${times.join(' ')}`).toBeLessThan(Infinity);
    expect(times[times.length >> 1], `of ${times.join(' ')}`).toBeLessThanOrEqual(medianMs);
    for (const { waiting: one, later: other } of worlds) {
      expect(Math.max(one.reopenings, other.reopenings)).toBeLessThanOrEqual(3);
      for (const { agent, reopened } of [one, other]) {
        // Nothing is left open that is not in use.
        expect(agent?.selected()).toBeDefined();
        expect(reopened?.socket).toBe(agent?.selected()?.local);
      }
    }
  });
});
