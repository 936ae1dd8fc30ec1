import { describe, expect, it } from 'vitest';
import { type GuessWorld, guessWorld, introduce, type NatName } from './guess-world.ts';

/** When both sides answer each other directly, since the match. */
function directAfterMs(world: GuessWorld, withinMs: number): number {
  const start = world.network.now;
  introduce(world);
  world.network.runUntil(start + withinMs);
  return Math.max(world.waiting.directAt, world.later.directAt) - start;
}

function probesOf({ waiting, later }: GuessWorld): number {
  return (waiting.guess?.probes ?? 0) + (later.guess?.probes ?? 0);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

const seedsTo = (most: number): number[] => Array.from({ length: most }, (_, index) => index + 1);

const SEQUENTIAL: readonly (readonly [NatName, NatName])[] = [
  ['endpoint-independent', 'sequential'],
  ['sequential', 'endpoint-independent'],
  ['masquerade', 'sequential'],
  ['sequential', 'masquerade, early'],
  ['masquerade, early', 'sequential'],
  ['sequential', 'sequential'],
];

describe.each(SEQUENTIAL)('%s and %s, in 24 worlds', (waiting, later) => {
  it.each([
    ['a quiet network', { loss: 0.02, mappingsPerSecond: 5 }, 24, 500],
    ['a busy network that loses packets', { loss: 0.1, mappingsPerSecond: 30 }, 22, 700],
  ] as const)('meet at predicted ports, on %s', (_why, conditions, atLeast, medianMs) => {
    const worlds = seedsTo(24).map((seed) => guessWorld(waiting, later, seed, conditions));
    const times = worlds.map((world) => directAfterMs(world, 10_000));
    expect(times.filter((ms) => ms < Infinity).length).toBeGreaterThanOrEqual(atLeast);
    expect(quantile(times, 0.5)).toBeLessThanOrEqual(medianMs);
    expect(quantile(worlds.map(probesOf), 0.5)).toBeLessThanOrEqual(60);
    const sockets = worlds.flatMap((world) => [world.waiting.mostSockets, world.later.mostSockets]);
    expect(Math.max(...sockets)).toBeLessThanOrEqual(10);
  });
});

const RANDOM: readonly (readonly [NatName, NatName])[] = [
  ['endpoint-independent', 'random'],
  ['random', 'endpoint-independent'],
  ['random', 'masquerade, early'],
  ['masquerade, early', 'random, early'],
];

describe.each(RANDOM)('%s and %s, in 12 worlds that lose 2 %%', (waiting, later) => {
  it('meet at one of 256 ports, and nothing of the attempt remains but the socket in use', () => {
    const worlds = seedsTo(12).map((seed) => guessWorld(waiting, later, seed, { loss: 0.02 }));
    const times = worlds.map((world) => directAfterMs(world, 36_000));
    expect(times.every((ms) => ms < Infinity)).toBe(true);
    // 12 worlds tell a median no better: 60 have one of 1.8 to 2.5 s, and a p95 of 4.5 to 7.5 s.
    expect(quantile(times, 0.5)).toBeLessThanOrEqual(4_000);
    expect(quantile(times, 0.95)).toBeLessThanOrEqual(12_000);
    for (const world of worlds) {
      const many = waiting.startsWith('random') ? world.waiting : world.later;
      const spraying = waiting.startsWith('random') ? world.later : world.waiting;
      expect(many.mostSockets).toBeLessThanOrEqual(256 + 8);
      expect(many.mostSockets).toBeGreaterThanOrEqual(256);
      expect(many.sockets.length).toBeLessThanOrEqual(8);
      const used = many.agent?.selected()?.local;
      expect(many.sockets).toContain(used);
      expect(spraying.mostSockets).toBe(0);
      // Without repeats, and no more than promised.
      expect(new Set(spraying.sprayed.map(({ port }) => port)).size).toBe(spraying.sprayed.length);
      expect(spraying.sprayed.length).toBeLessThanOrEqual(2048);
      expect(many.progress.at(-1)?.state).toBe('found');
    }
  });
});

describe.each<readonly [NatName, NatName]>([
  ['random', 'random'],
  ['random', 'sequential'],
  ['endpoint-independent', 'masquerade'],
])('%s and %s', (waiting, later) => {
  it('guess nothing', () => {
    const world = guessWorld(waiting, later, 1);
    directAfterMs(world, 36_000);
    expect(probesOf(world)).toBe(0);
    expect(world.waiting.mostSockets + world.later.mostSockets).toBe(0);
  });
});

it('an attempt at somebody who never answers ends, and leaves no socket', () => {
  const world = guessWorld('random', 'endpoint-independent', 1);
  const { network, waiting, later } = world;
  network.tap = (from) => from.host === '192.168.1.1';
  expect(directAfterMs(world, 60_000)).toBe(Infinity);
  expect([waiting.sockets.length, waiting.mostSockets]).toEqual([0, 256]);
  expect(waiting.progress.at(-1)).toMatchObject({ plan: 'open-many', state: 'given-up' });
  expect(later.progress.at(-1)).toMatchObject({ plan: 'spray', state: 'given-up', probes: 2048 });
});
