import { describe, expect, it } from 'vitest';
import { member, RegistryBench } from './registry-bench.ts';

const check = (checks: Map<string, number>, id: string): number => checks.get(id) ?? Number.NaN;

/** The number after a word, of the first effect that begins with it. */
function numberOf(effects: readonly string[], word: string): number {
  const line = effects.find((each) => each.startsWith(`${word} `));
  return Number(line?.split(' ')[1]);
}

/** Who is asked to probe, in order. */
function probesIn(effects: readonly string[]) {
  return effects.flatMap((line) => {
    const match = /^probe (\d+) \S+ via (\S+)$/.exec(line);
    return match === null ? [] : [{ number: Number(match[1]), via: String(match[2]) }];
  });
}

describe('a round of health checks', () => {
  it('asks every listed server at once, every 5 s', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    bench.register(member('c'));
    const first = bench.round();
    expect(bench.now).toBe(5_000);
    expect([...first.keys()]).toEqual(['a', 'b']);
    for (const number of first.values()) expect(bench.checked(number, 'serving')).toEqual([]);
    bench.round();
    expect(bench.now).toBe(10_000);
  });

  it('ends when the last server is gone, and begins again with the next', () => {
    const bench = new RegistryBench();
    bench.list('a');
    bench.step({ kind: 'deregister', id: 'a', incarnation: 1n });
    expect(bench.tick()).toEqual([]);
    expect(bench.registry.nextDeadline()).toBeUndefined();
    bench.list('b');
    expect(bench.registry.nextDeadline()).toBe(10_000);
  });
});

describe('a missed check', () => {
  it('is rechecked at once, while the only other healthy server probes', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    const checks = bench.round();
    expect(bench.checked(check(checks, 'a'), 'silent')).toEqual([
      expect.stringMatching(/^check \d+ a within 1500$/),
      expect.stringMatching(/^probe \d+ a via b$/),
    ]);
    expect(bench.handedOut()).toBe('a b');
  });

  it('removes when recheck and probe both fail, and one random server is told', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    const effects = bench.checked(check(bench.round(), 'a'), 'refused');
    expect(bench.checked(numberOf(effects, 'check'), 'refused')).toEqual([]);
    const probe = numberOf(effects, 'probe');
    expect(bench.step({ kind: 'probed', probe, found: 'unhealthy' })).toEqual([
      'forget a',
      'report a removed: refused',
      expect.stringMatching(/^notify \d+ b: a removed$/),
    ]);
    expect(bench.handedOut()).toBe('b');
  });

  it.each([
    ['the recheck', 'serving', 'unhealthy'],
    ['the probe', 'silent', 'healthy'],
  ] as const)('removes nobody where %s succeeds', (_who, recheck, found) => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    const effects = bench.checked(check(bench.round(), 'a'), 'silent');
    expect(bench.checked(numberOf(effects, 'check'), recheck)).toEqual([]);
    expect(bench.step({ kind: 'probed', probe: numberOf(effects, 'probe'), found })).toEqual([]);
    expect(bench.handedOut()).toBe('a b');
  });

  it('of the only server is decided by the recheck alone', () => {
    const bench = new RegistryBench();
    bench.list('a');
    const effects = bench.checked(check(bench.round(), 'a'), 'refused');
    expect(effects).toEqual([expect.stringMatching(/^check \d+ a within 1500$/)]);
    expect(bench.checked(numberOf(effects, 'check'), 'refused')).toEqual([
      'forget a',
      'report a removed: refused',
    ]);
    expect(bench.handedOut()).toBe('nobody');
  });

  it('of a server that served before counts, also when it says NOT_SERVING', () => {
    const bench = new RegistryBench();
    bench.list('a');
    const effects = bench.checked(check(bench.round(), 'a'), 'not-serving');
    expect(effects).toEqual([expect.stringMatching(/^check \d+ a within 1500$/)]);
  });

  /** Of several servers, `a` has missed a check. */
  function suspect(letters: readonly string[], seed = 1) {
    const bench = new RegistryBench({}, seed);
    bench.list(...letters);
    const effects = bench.checked(check(bench.round(), 'a'), 'refused');
    const probed = (found: 'healthy' | 'unhealthy' | 'no-answer', probe: number): string[] =>
      bench.step({ kind: 'probed', probe, found });
    return { bench, effects, probes: probesIn(effects), probed };
  }

  it('is probed by two others, picked at random', () => {
    const pairs = new Set<string>();
    for (let seed = 1; seed <= 40; seed += 1) {
      const { probes } = suspect(['a', 'b', 'c', 'd'], seed);
      pairs.add(
        probes
          .map(({ via }) => via)
          .sort()
          .join(''),
      );
    }
    expect([...pairs].sort()).toEqual(['bc', 'bd', 'cd']);
  });

  it.each([0, 1])('removes at once, though the other prober says nothing (%i)', (place) => {
    // A server that is paused or cut off must not keep a dead one on the list.
    const { bench, effects, probes, probed } = suspect(['a', 'b', 'c']);
    expect(bench.checked(numberOf(effects, 'check'), 'refused')).toEqual([]);
    expect(probed('unhealthy', probes[place]?.number ?? 0)).toContain('report a removed: refused');
    expect(probed('no-answer', probes[1 - place]?.number ?? 0)).toEqual([]);
  });

  it('removes nobody where the second prober finds it well', () => {
    const { bench, effects, probes, probed } = suspect(['a', 'b', 'c']);
    expect(probed('unhealthy', probes[0]?.number ?? 0)).toEqual([]);
    expect(probed('healthy', probes[1]?.number ?? 0)).toEqual([]);
    expect(bench.checked(numberOf(effects, 'check'), 'refused')).toEqual([]);
    expect(bench.handedOut()).toBe('a b c');
  });

  it('asks another prober where one cannot be asked, never one under suspicion itself', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b', 'c', 'd', 'e');
    const checks = bench.round();
    bench.checked(check(checks, 'b'), 'refused');
    const effects = bench.checked(check(checks, 'a'), 'refused');
    const probes = probesIn(effects);
    const last = ['c', 'd', 'e'].find((letter) => !probes.some(({ via }) => via === letter));
    expect(probes).toHaveLength(2);
    const probed = (probe: number | undefined): string[] =>
      bench.step({ kind: 'probed', probe: probe ?? 0, found: 'no-answer' });
    const next = probed(probes[0]?.number);
    expect(next).toEqual([expect.stringMatching(new RegExp(`^probe \\d+ a via ${last}$`))]);
    bench.checked(numberOf(effects, 'check'), 'refused');
    expect(probed(probes[1]?.number)).toEqual([]);
    expect(probed(numberOf(next, 'probe'))).toContain('report a removed: refused');
  });

  it('asks nobody anew once a prober has failed too', () => {
    const { probes, probed } = suspect(['a', 'b', 'c', 'd']);
    expect(probed('unhealthy', probes[0]?.number ?? 0)).toEqual([]);
    expect(probed('no-answer', probes[1]?.number ?? 0)).toEqual([]);
  });

  it('does not wait for a third prober when the time for the recheck is over', () => {
    const { bench, effects, probes, probed } = suspect(['a', 'b', 'c', 'd']);
    bench.now += 1_500;
    bench.checked(numberOf(effects, 'check'), 'silent');
    expect(probed('no-answer', probes[0]?.number ?? 0)).toEqual([]);
    expect(probed('no-answer', probes[1]?.number ?? 0)).toContain('report a removed: silent');
  });

  it('takes a refused server out within 6 s and a silent one within 8 s of its death', () => {
    // The worst case: it dies just after a round's check; the interval, the check and the recheck.
    for (const [outcome, limit] of [
      ['refused', 6_000],
      ['silent', 8_000],
    ] as const) {
      const bench = new RegistryBench();
      bench.list('a', 'b');
      const diedAt = bench.now;
      const checks = bench.round();
      if (outcome === 'silent') bench.now += 500;
      const effects = bench.checked(check(checks, 'a'), outcome);
      if (outcome === 'silent') bench.now += 1_500;
      bench.step({ kind: 'probed', probe: numberOf(effects, 'probe'), found: 'unhealthy' });
      expect(bench.checked(numberOf(effects, 'check'), outcome).join()).toContain('a removed');
      expect(bench.now - diedAt).toBeLessThanOrEqual(limit);
    }
  });
});

describe('a removed server', () => {
  it('comes back by registering again', () => {
    const bench = new RegistryBench();
    bench.list('a');
    const effects = bench.checked(check(bench.round(), 'a'), 'refused');
    bench.checked(numberOf(effects, 'check'), 'refused');
    expect(bench.handedOut()).toBe('nobody');
    bench.list('a');
    expect(bench.handedOut()).toBe('a');
  });
});

describe('self-distrust', () => {
  const silence = (bench: RegistryBench): string[] =>
    [...bench.round().values()].flatMap((number) => bench.checked(number, 'silent'));

  it('begins when all of three servers go silent in one round, and removes nobody', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b', 'c');
    const effects = silence(bench);
    expect(effects.at(-1)).toBe('report self self-distrust: every server went silent in one round');
    for (const line of effects) {
      const [kind, number] = line.split(' ');
      if (kind === 'check') expect(bench.checked(Number(number), 'silent')).toEqual([]);
      const probe = { kind: 'probed', probe: Number(number), found: 'no-answer' } as const;
      if (kind === 'probe') expect(bench.step(probe)).toEqual([]);
    }
    expect(bench.handedOut()).toBe('a b c');
  });

  it.each([
    ['two servers are too few', ['a', 'b'], ['silent', 'silent']],
    ['a refusal is an answer', ['a', 'b', 'c'], ['silent', 'refused', 'silent']],
    ['one server serves', ['a', 'b', 'c'], ['silent', 'silent', 'serving']],
  ] as const)('does not begin: %s', (_reason, letters, outcomes) => {
    const bench = new RegistryBench();
    bench.list(...letters);
    const checks = bench.round();
    const effects = letters.flatMap((letter, index) =>
      bench.checked(check(checks, letter), outcomes[index] ?? 'silent'),
    );
    expect(effects.join()).not.toContain('self-distrust');
    expect(effects.filter((line) => line.startsWith('check'))).not.toEqual([]);
  });

  it('keeps the leases of servers that cannot be heard', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b', 'c');
    for (let round = 0; round < 6; round += 1) silence(bench);
    expect(bench.now).toBe(30_000);
    expect(bench.handedOut()).toBe('a b c');
  });

  it('ends with the first answer, which gives every server a new lease', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b', 'c');
    for (let round = 0; round < 5; round += 1) silence(bench);
    const checks = bench.round();
    expect(bench.checked(check(checks, 'a'), 'serving')).toEqual([
      'report self self-trust: a server was heard again',
    ]);
    expect(bench.checked(check(checks, 'b'), 'silent')).not.toEqual([]);
    expect(bench.registry.nextDeadline()).toBe(bench.now + 5_000);
    expect(bench.handedOut()).toBe('a b c');
  });

  it('ends after 60 s; then servers that stay silent are removed', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b', 'c');
    silence(bench);
    const beganAt = bench.now;
    const reports: string[] = [];
    while (bench.handedOut() !== 'nobody' && bench.now < beganAt + 120_000) {
      for (const todo = bench.tick(); todo.length > 0;) {
        const [kind, text, event] = (todo.shift() ?? '').split(' ');
        const number = Number(text);
        if (kind === 'report') reports.push(`${bench.now - beganAt} ${text ?? ''} ${event ?? ''}`);
        if (kind === 'check') todo.push(...bench.checked(number, 'silent'));
        if (kind === 'probe') {
          todo.push(...bench.step({ kind: 'probed', probe: number, found: 'no-answer' }));
        }
      }
    }
    expect(reports).toEqual([
      '60000 self self-trust:',
      '60000 a removed:',
      '60000 b removed:',
      '60000 c removed:',
    ]);
  });
});
