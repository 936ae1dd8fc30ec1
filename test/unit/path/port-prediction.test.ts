import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import {
  attemptOf,
  type GuessPlan,
  guessPlan,
  type GuessTarget,
  type NatReport,
} from '../../../src/path/port-prediction.ts';

const FRIEND = '203.0.113.7';

function target(port: number, step = 1): GuessTarget {
  const lastObserved = { host: FRIEND, port };
  return {
    nat: { mapping: 'sequential', step, lastObserved },
    reflexive: { host: FRIEND, port: 9 },
  };
}

function portsOf(plan: GuessPlan, port: number, step = 1): number[] {
  return (
    attemptOf(plan, target(port, step), seededRandom(1), 0)?.probes.map(
      ({ remote }) => remote.port,
    ) ?? []
  );
}

describe('what one side does', () => {
  it.each<[own: NatReport['mapping'], friend: NatReport['mapping'], plan: GuessPlan, why: string]>([
    ['endpoint-independent', 'endpoint-independent', 'none', 'both ports are known'],
    ['endpoint-independent', 'sequential', 'aim', 'the port can be foreseen'],
    ['sequential', 'endpoint-independent', 'be-aimed', 'the friend foresees ours'],
    ['sequential', 'sequential', 'meet', 'both can be foreseen'],
    ['endpoint-independent', 'random', 'spray', 'the friend opens many ports to our one'],
    ['random', 'endpoint-independent', 'open-many', 'the friend’s one port is known'],
    ['random', 'sequential', 'hopeless', 'each guess of the friend’s has another port'],
    ['sequential', 'random', 'hopeless', 'each guess of ours has another port'],
    ['random', 'random', 'hopeless', 'neither port is known'],
  ])('%s towards %s: %s, since %s', (own, friend, plan) => {
    expect(guessPlan(own, friend)).toBe(plan);
  });

  it('is nothing as long as one of the NATs is not known', () => {
    expect([guessPlan(undefined, 'random'), guessPlan('random', undefined)]).toEqual([
      'none',
      'none',
    ]);
  });
});

describe('an attempt at sequential ports', () => {
  it('tries the next ones first, then those and more, then those before', () => {
    const ports = portsOf('aim', 6000);
    const from = (first: number, step: number, count: number): number[] =>
      Array.from({ length: count }, (_, index) => first + index * step);
    expect(ports).toEqual([...from(6001, 1, 8), ...from(6001, 1, 50), ...from(6000, -1, 50)]);
  });

  it('goes by the step, downwards too, and around at the ends of the port range', () => {
    expect(portsOf('aim', 6000, 2).slice(0, 3)).toEqual([6002, 6004, 6006]);
    expect(portsOf('aim', 6000, -1).slice(0, 3)).toEqual([5999, 5998, 5997]);
    expect(portsOf('aim', 65_535).slice(0, 3)).toEqual([1024, 1025, 1026]);
    expect(portsOf('aim', 1024, -2).slice(0, 2)).toEqual([65_534, 65_532]);
  });

  it('sends from six sockets to the friend’s own port where the friend aims', () => {
    const attempt = attemptOf('be-aimed', target(6000), seededRandom(1), 0);
    expect(attempt?.sockets).toBe(6);
    // None arrives: the friend's router would give what the friend sends there another port.
    expect(attempt?.probes.map(({ short }) => short)).toEqual(Array<boolean>(18).fill(true));
    expect(new Set(attempt?.probes.map(({ remote }) => remote.port))).toEqual(new Set([9]));
  });

  it('sends from ten sockets to one port where both are', () => {
    const attempt = attemptOf('meet', target(6000), seededRandom(1), 0);
    expect(attempt?.sockets).toBe(10);
    expect(new Set(attempt?.probes.map(({ remote }) => remote.port))).toEqual(new Set([6008]));
    expect(new Set(attempt?.probes.slice(0, 10).map(({ socket }) => socket)).size).toBe(10);
  });
});

describe('an attempt at random ports', () => {
  it('opens 256 sockets to one port, five times, and then no more', () => {
    const attempts = [0, 1, 2, 3, 4, 5].map((before) =>
      attemptOf('open-many', target(6000), seededRandom(1), before),
    );
    expect(attempts[5]).toBeUndefined();
    for (const [before, attempt] of attempts.slice(0, 5).entries()) {
      expect(attempt?.sockets).toBe(256);
      expect(new Set(attempt?.probes.map(({ remote }) => remote.port))).toEqual(new Set([9]));
      expect(new Set(attempt?.probes.map(({ socket }) => socket)).size).toBe(256);
      // Such as only open our ports; those that arrive are the very last.
      expect(attempt?.probes.map(({ short }) => short)).toEqual([
        ...Array<boolean>(256).fill(true),
        ...Array<boolean>(before < 4 ? 0 : 256).fill(false),
      ]);
    }
    const lasts = attempts.slice(0, 5).map((attempt) => attempt?.endsAtMs ?? 0);
    expect(lasts.reduce((sum, ms) => sum + ms)).toBeLessThanOrEqual(35_000);
  });

  it('sprays 2,048 ports of one address without repeats, none below 1024, 10 ms apart', () => {
    const attempt = attemptOf('spray', target(6000), seededRandom(1), 0);
    const ports = attempt?.probes.map(({ remote }) => remote.port) ?? [];
    expect(new Set(ports).size).toBe(2048);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(1024);
    expect(new Set(attempt?.probes.map(({ remote }) => remote.host))).toEqual(new Set([FRIEND]));
    expect(attempt?.probes.map(({ atMs }) => atMs).slice(0, 3)).toEqual([0, 10, 20]);
    expect(attempt?.endsAtMs).toBe(35_000);
  });
});

it.each<GuessPlan>(['aim', 'be-aimed', 'meet'])('%s is given up after three attempts', (plan) => {
  expect(attemptOf(plan, target(6000), seededRandom(1), 2)).toBeDefined();
  expect(attemptOf(plan, target(6000), seededRandom(1), 3)).toBeUndefined();
});

it.each<GuessPlan>(['none', 'hopeless'])('%s sends nothing', (plan) => {
  expect(attemptOf(plan, target(6000), seededRandom(1), 0)).toBeUndefined();
});
