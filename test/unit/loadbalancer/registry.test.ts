import { describe, expect, it } from 'vitest';
import { member, RegistryBench } from './registry-bench.ts';

describe('registration', () => {
  it('is answered after a health check that finds the server serving', () => {
    const bench = new RegistryBench();
    expect(bench.register(member('a'))).toEqual(['check 1 a within 1500']);
    expect(bench.checked(1, 'serving')).toEqual([
      'report a listed: it serves',
      'answer 1: listed [a]',
    ]);
  });

  it('is answered at once where the server is listed already: a heartbeat', () => {
    const bench = new RegistryBench();
    bench.list('a');
    expect(bench.register(member('a'))).toEqual(['answer 2: listed [a]']);
  });

  it('leaves a server that starts unlisted, and misses nobody, until it serves', () => {
    const bench = new RegistryBench();
    bench.register(member('a'));
    expect(bench.checked(1, 'not-serving')).toEqual(['answer 1: it does not serve yet []']);
    expect(bench.handedOut()).toBe('nobody');
    bench.register(member('a'));
    expect(bench.checked(2, 'serving')).toContain('answer 2: listed [a]');
  });

  it('says why a server that cannot be reached is not listed', () => {
    const bench = new RegistryBench();
    bench.register(member('a'));
    const detail = 'connection refused';
    expect(bench.step({ kind: 'checked', check: 1, outcome: 'refused', detail })).toEqual([
      'answer 1: its health check failed: connection refused []',
    ]);
  });

  it('checks again for a registration that arrives during the check of the one before', () => {
    // The server may have begun to serve between the two.
    const bench = new RegistryBench();
    expect(bench.register(member('a'))).toEqual(['check 1 a within 1500']);
    expect(bench.register(member('a'))).toEqual(['check 2 a within 1500']);
    expect(bench.register(member('a'))).toEqual([]);
    expect(bench.checked(1, 'not-serving')).toEqual(['answer 1: it does not serve yet []']);
    expect(bench.checked(2, 'serving')).toEqual([
      'report a listed: it serves',
      'answer 2: listed [a]',
      'answer 3: listed [a]',
    ]);
  });

  it('of an older incarnation is refused, of a newer one replaces', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    expect(bench.register(member('a', 0))).toEqual(['refuse 3: outdated']);
    expect(bench.register(member('a', 2))).toEqual(['forget a', 'check 3 a within 1500']);
    expect(bench.checked(3, 'serving')).toEqual([
      'report a listed: it has changed',
      expect.stringMatching(/^notify \d+ b: a alive$/),
      'answer 4: listed [a b]',
    ]);
    expect(bench.register(member('a', 1))).toEqual(['refuse 5: outdated']);
  });

  it('is valid for exactly its lease', () => {
    const bench = new RegistryBench({ checkIntervalMs: 60_000 });
    bench.list('a', 'b');
    bench.now = 14_999;
    bench.renew('b');
    expect(bench.step({ kind: 'tick' })).toEqual([]);
    expect(bench.handedOut()).toBe('a b');
    bench.now = 15_000;
    expect(bench.step({ kind: 'tick' })).toEqual([
      'forget a',
      'report a removed: its lease ended',
      'notify 2 b: a removed',
    ]);
  });

  it('is not lost because the balancer itself stood still', () => {
    const bench = new RegistryBench();
    bench.list('a');
    bench.now = 40_000;
    expect(bench.step({ kind: 'tick' })).toEqual([expect.stringMatching(/^check \d+ a within/)]);
    expect(bench.handedOut()).toBe('a');
  });

  it('at the address of another server takes its place if it began later', () => {
    // A server that was killed and started again on the same port has a new id.
    const bench = new RegistryBench();
    bench.list('a', 'b');
    const reborn = { ...member('a', 2), id: 'c' };
    expect(bench.register(reborn)).toEqual([
      'forget a',
      'report a removed: another server has its address now',
      'notify 2 b: a removed',
      expect.stringMatching(/^check \d+ c within 1500$/),
    ]);
    expect(bench.register(member('a', 1))).toEqual(['refuse 4: address-taken']);
  });

  it('at the address of one that seems newer is taken once that renews no more', () => {
    // The computer's calendar was set back between the two.
    const bench = new RegistryBench({ checkIntervalMs: 60_000 });
    bench.list('b');
    bench.register(member('a', 2));
    bench.checked(2, 'serving');
    const reborn = { ...member('a', 1), id: 'c' };
    bench.now = 5_000;
    bench.renew('b');
    expect(bench.register(reborn)).toEqual(['refuse 4: address-taken']);
    bench.now = 5_999;
    expect(bench.register(reborn)).toEqual(['refuse 5: address-taken']);
    bench.now = 6_000;
    expect(bench.register(reborn)).toContain(
      'report a removed: another server has its address now',
    );
  });

  it('is refused beyond the limit of servers', () => {
    const bench = new RegistryBench({ maxMembers: 2 });
    bench.list('a', 'b');
    expect(bench.register(member('c'))).toEqual(['refuse 3: full']);
    expect(bench.register(member('b'))).toEqual(['answer 4: listed [a b]']);
  });
});

describe('a goodbye', () => {
  it('takes the server off at once and is told', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    expect(bench.step({ kind: 'deregister', id: 'a', incarnation: 1n })).toEqual([
      'forget a',
      'report a left: it said goodbye',
      'notify 2 b: a left',
    ]);
    expect(bench.handedOut()).toBe('b');
  });

  it('is not undone by a registration that was under way, but by a newer incarnation', () => {
    const bench = new RegistryBench();
    bench.register(member('a'));
    expect(bench.step({ kind: 'deregister', id: 'a', incarnation: 1n })).toEqual(['forget a']);
    expect(bench.checked(1, 'serving')).toEqual([
      expect.stringMatching(/^answer 1: its health check failed/),
    ]);
    expect(bench.register(member('a'))).toEqual(['refuse 2: outdated']);
    expect(bench.register(member('a', 2))).toEqual(['check 2 a within 1500']);
  });

  it('of an older incarnation changes nothing', () => {
    const bench = new RegistryBench();
    bench.register(member('a', 5));
    bench.checked(1, 'serving');
    expect(bench.step({ kind: 'deregister', id: 'a', incarnation: 4n })).toEqual([]);
    expect(bench.handedOut()).toBe('a');
  });
});

describe('an arrival', () => {
  it('is told to nobody where there is nobody', () => {
    const bench = new RegistryBench();
    bench.register(member('a'));
    expect(bench.checked(1, 'serving').join()).not.toContain('notify');
  });

  it('is told to one other server, picked at random', () => {
    const told = new Set<string>();
    for (let seed = 1; seed <= 40; seed += 1) {
      const bench = new RegistryBench({}, seed);
      bench.list('a', 'b', 'c');
      bench.register(member('d'));
      const notices = bench.checked(4, 'serving').filter((line) => line.startsWith('notify'));
      expect(notices).toHaveLength(1);
      told.add(/notify \d+ (.)/.exec(notices[0] ?? '')?.[1] ?? '');
    }
    expect([...told].sort()).toEqual(['a', 'b', 'c']);
  });

  it('is told to another server where the first cannot be told, and to nobody twice', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    bench.register(member('c'));
    const [first] = bench.checked(3, 'serving').filter((line) => line.startsWith('notify'));
    expect(first).toMatch(/^notify 2 [ab]: c alive$/);
    const other = first?.includes(' a:') === true ? 'b' : 'a';
    expect(bench.step({ kind: 'notified', notice: 2, delivered: false })).toEqual([
      `notify 3 ${other}: c alive`,
    ]);
    expect(bench.step({ kind: 'notified', notice: 3, delivered: false })).toEqual([]);
    expect(bench.step({ kind: 'notified', notice: 2, delivered: false })).toEqual([]);
  });
});

describe('handing out', () => {
  it('goes round, three at a time, the first in turn first', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b', 'c', 'd');
    const turns = Array.from({ length: 5 }, () => bench.handedOut());
    expect(turns).toEqual(['a b c', 'b c d', 'c d a', 'd a b', 'a b c']);
  });

  it('with one or two servers hands each out once', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b');
    expect([bench.handedOut(), bench.handedOut()]).toEqual(['a b', 'b a']);
  });

  it('names further servers for STUN, and the balancers that servers know of', () => {
    const bench = new RegistryBench();
    bench.list('a', 'b', 'c', 'd');
    bench.register(member('a'), [
      'lb.example:50050',
      '[2001:DB8::1]:50050',
      'nonsense',
      ':1',
      'x:0',
    ]);
    const handOut = bench.registry.handOut(bench.now);
    expect(handOut?.stunAddresses).toEqual(member('d').peerAddresses);
    expect(handOut?.balancers).toEqual(['lb.example:50050', '[2001:db8::1]:50050']);
    expect(bench.registry.handOut(bench.now + 59_999)?.balancers).toHaveLength(2);
    expect(bench.registry.handOut(bench.now + 60_000)?.balancers).toEqual([]);
  });
});

describe('what operators see', () => {
  it('is each server with its state, its last check and its lease', () => {
    const bench = new RegistryBench();
    const seen = () =>
      bench.registry.view(bench.now).map(({ member: { id }, ...rest }) => ({ id, ...rest }));
    bench.register(member('a'));
    const starting = { id: 'a', state: 'starting', renewedAgoMs: 0, leaseLeftMs: 15_000 };
    expect(seen()).toEqual([{ ...starting, lastCheck: undefined }]);
    bench.now += 10;
    bench.checked(1, 'not-serving');
    bench.now += 20;
    expect(seen()).toEqual([
      {
        ...starting,
        renewedAgoMs: 30,
        leaseLeftMs: 14_970,
        lastCheck: { outcome: 'not-serving', agoMs: 20 },
      },
    ]);
    bench.list('b');
    bench.register(member('a'));
    bench.checked(3, 'serving');
    expect(seen().map(({ id, state }) => `${id} ${state}`)).toEqual(['a listed', 'b listed']);
    const check = bench.round().get('a') ?? 0;
    bench.checked(check, 'refused');
    expect(seen()[0]).toMatchObject({
      state: 'suspect',
      lastCheck: { outcome: 'refused', agoMs: 0 },
    });
    expect(bench.registry.doubtsItself).toBe(false);
  });
});
