import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import type { Member } from '../../../src/rendezvous/member.ts';
import {
  Membership,
  type MembershipEffect,
  type MembershipInput,
} from '../../../src/rendezvous/membership.ts';

const SELF = '5'.repeat(32);

/** A member whose id is this digit over and over. */
function member(digit: string, incarnation = 1): Member {
  return {
    id: digit.repeat(32),
    incarnation,
    peerAddresses: [],
    clusterAddresses: [{ host: '192.0.2.1', port: 50051 }],
    certificate: new Uint8Array(),
  };
}

const HIGHER = member('9');
const LOWER = member('1');
const THIRD = member('7');

/** A membership, told one thing after another; ticks of its own deadlines come in between. */
class Told {
  readonly membership = new Membership(SELF, seededRandom(1));
  #now = 0;

  /** What happens from now until `at`, where `input` comes in. */
  at(at: number, input: MembershipInput = { type: 'tick' }): string[] {
    const effects: MembershipEffect[] = [];
    for (;;) {
      const due = this.membership.nextDeadline(this.#now);
      if (due === undefined || due > at) break;
      this.#now = due;
      effects.push(...this.membership.step({ type: 'tick' }, due));
    }
    this.#now = at;
    effects.push(...this.membership.step(input, at));
    return effects.map((effect) => {
      if (effect.type === 'serve') return 'serve';
      const id = effect.type === 'purge' ? effect.id : effect.member.id;
      return `${effect.type} ${id[0] ?? ''}`;
    });
  }

  /** Serving beside members that have all given their snapshots. */
  static among(...members: Member[]): Told {
    const told = new Told();
    told.at(0, { type: 'balancers', balancers: ['lb'] });
    told.at(0, { type: 'registered', balancer: 'lb', members });
    for (const other of members) {
      told.at(0, { type: 'linked', member: other });
      told.at(0, { type: 'snapshot', id: other.id });
    }
    expect(told.membership.serving).toBe(true);
    return told;
  }
}

/** Whether one of the effects, calls left aside, is a purge of the higher one. */
const purges = (effects: readonly string[]): boolean => effects.includes('purge 9');

describe('calling members', () => {
  it('calls the member with the higher id, and has the one with the lower id call', () => {
    const told = new Told();
    const members = [LOWER, HIGHER];
    expect(told.at(0, { type: 'registered', balancer: 'lb', members })).toEqual([
      'nudge 1',
      'dial 9',
    ]);
  });

  it('never calls itself, nor a member that has left', () => {
    const told = new Told();
    const facts = [{ member: THIRD, standing: 'left' as const }];
    expect(told.at(0, { type: 'notified', facts })).toEqual([]);
    const members = [{ ...HIGHER, id: SELF }];
    expect(told.at(0, { type: 'registered', balancer: 'lb', members })).toEqual([]);
  });

  it('calls again and again, less and less often, while a member does not answer', () => {
    const told = new Told();
    told.at(0, { type: 'hearsay', facts: [{ member: HIGHER, standing: 'alive' }] });
    let calls = 1;
    for (let at = 100; at < 10_000; at += 100) {
      const effects = told.at(at, { type: 'unlinked', id: HIGHER.id });
      calls += effects.filter((effect) => effect === 'dial 9').length;
    }
    expect(calls).toBeGreaterThanOrEqual(6);
    expect(calls).toBeLessThanOrEqual(12);
  });

  it('asks the lower id again and again to call, until it does', () => {
    const told = new Told();
    told.at(0, { type: 'hearsay', facts: [{ member: LOWER, standing: 'alive' }] });
    expect(told.at(10_000).filter((effect) => effect === 'nudge 1').length).toBeGreaterThan(4);
    told.at(10_000, { type: 'linked', member: LOWER });
    expect(told.at(60_000)).toEqual([]);
  });

  /** How often a member is called from `from` to `until` if no call reaches it. */
  function callsBetween(told: Told, from: number, until: number): number {
    let calls = 0;
    for (let at = from; at < until; at += 100) {
      const effects = told.at(at, { type: 'unlinked', id: HIGHER.id });
      calls += effects.filter((effect) => effect === 'dial 9').length;
    }
    return calls;
  }

  it('calls one that is lost every ten to twenty seconds', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'notified', facts: [{ member: HIGHER, standing: 'removed' }] });
    told.at(0, { type: 'registered', balancer: 'lb', members: [] });
    expect(callsBetween(told, 0, 30_000)).toBeGreaterThan(5);
    const calls = callsBetween(told, 30_000, 330_000);
    expect(calls).toBeGreaterThanOrEqual(15);
    expect(calls).toBeLessThanOrEqual(30);
  });

  it.each([
    ['a balancer lists it', { type: 'registered', balancer: 'lb', members: [HIGHER] }],
    ['it is told of', { type: 'notified', facts: [{ member: HIGHER, standing: 'alive' }] }],
  ] as const)('calls one that was lost at once when %s again', (_when, input) => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'notified', facts: [{ member: HIGHER, standing: 'removed' }] });
    told.at(0, { type: 'registered', balancer: 'lb', members: [] });
    callsBetween(told, 0, 60_000);
    told.at(60_000, { type: 'unlinked', id: HIGHER.id });
    let at = 60_000;
    // Right after a call has failed: the next one is ten seconds away at least.
    while (!told.at((at += 100)).includes('dial 9')) expect(at).toBeLessThan(90_000);
    told.at(at, { type: 'unlinked', id: HIGHER.id });
    expect(told.at(at + 1_000)).toEqual([]);
    expect(told.at(at + 1_000, input)).toEqual(['dial 9']);
  });

  it('goes on calling one that it does not reach but a balancer lists every second or two', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    expect(callsBetween(told, 100, 120_000)).toBeGreaterThan(59);
  });

  it('forgets a member that has not answered for a quarter of an hour', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    told.at(15 * 60_000);
    expect(told.membership.others()).toEqual([]);
  });
});

describe('beginning to serve', () => {
  it('serves at once where there is no load balancer', () => {
    expect(new Told().at(0, { type: 'balancers', balancers: [] })).toEqual(['serve']);
  });

  it('serves as soon as a balancer has accepted it and there is nobody else', () => {
    const told = new Told();
    expect(told.at(0, { type: 'balancers', balancers: ['lb'] })).toEqual([]);
    expect(told.at(9, { type: 'registration-failed', balancer: 'lb' })).toEqual([]);
    expect(told.at(60_000)).toEqual([]);
    const members: Member[] = [];
    expect(told.at(60_001, { type: 'registered', balancer: 'lb', members })).toEqual(['serve']);
    expect(told.at(60_002, { type: 'registered', balancer: 'lb', members })).toEqual([]);
  });

  it('waits for the snapshot of each listed member', () => {
    const told = new Told();
    told.at(0, { type: 'balancers', balancers: ['lb'] });
    told.at(0, { type: 'registered', balancer: 'lb', members: [LOWER, HIGHER] });
    told.at(10, { type: 'linked', member: LOWER });
    expect(told.at(20, { type: 'snapshot', id: LOWER.id })).toEqual([]);
    told.at(30, { type: 'linked', member: HIGHER });
    expect(told.at(40, { type: 'snapshot', id: HIGHER.id })).toEqual(['serve']);
  });

  it('waits for two seconds at most', () => {
    const told = new Told();
    told.at(0, { type: 'balancers', balancers: ['lb'] });
    told.at(0, { type: 'registered', balancer: 'lb', members: [HIGHER] });
    expect(told.at(1_999)).not.toContain('serve');
    expect(told.at(2_000)).toContain('serve');
  });
});

describe('the records of a dead member', () => {
  it.each([
    [4_999, false],
    [5_000, true],
  ])('go %i ms after its stream broke, a balancer having removed it: %s', (at, gone) => {
    const told = Told.among(HIGHER, THIRD);
    told.at(100_000, { type: 'unlinked', id: HIGHER.id });
    const facts = [{ member: HIGHER, standing: 'removed' as const }];
    const early = told.at(102_000, { type: 'notified', facts });
    expect(purges([...early, ...told.at(100_000 + at)])).toBe(gone);
  });

  it('stay while the stream is up, whatever a balancer says', () => {
    const told = Told.among(HIGHER, THIRD);
    const facts = [{ member: HIGHER, standing: 'removed' as const }];
    told.at(0, { type: 'notified', facts });
    expect(told.at(600_000)).toEqual([]);
  });

  it('stay while the stream is broken but a balancer lists the member', () => {
    const told = Told.among(HIGHER, THIRD);
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    for (let at = 5_000; at <= 100_000; at += 5_000) {
      const members = [HIGHER, THIRD];
      expect(purges(told.at(at, { type: 'registered', balancer: 'lb', members }))).toBe(false);
    }
  });

  it('go after ten seconds if every balancer that answers has no such member', () => {
    const told = Told.among(HIGHER, THIRD);
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    const members = [THIRD];
    expect(purges(told.at(6_000, { type: 'registered', balancer: 'lb', members }))).toBe(false);
    expect(purges(told.at(9_999))).toBe(false);
    expect(purges(told.at(10_000))).toBe(true);
  });

  it('stay, with no balancer reachable, while nobody else misses the member', () => {
    const told = Told.among(HIGHER, THIRD);
    told.at(0, { type: 'registration-failed', balancer: 'lb' });
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    expect(purges(told.at(600_000))).toBe(false);
  });

  it('go, with no balancer reachable, when another server misses the member too', () => {
    const told = Told.among(HIGHER, THIRD);
    told.at(0, { type: 'registration-failed', balancer: 'lb' });
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    const unreachable = [HIGHER.id];
    expect(purges(told.at(9_000, { type: 'reach', from: THIRD.id, unreachable }))).toBe(false);
    expect(purges(told.at(10_000))).toBe(true);
  });

  it('stay when the other server has found the member again', () => {
    const told = Told.among(HIGHER, THIRD);
    told.at(0, { type: 'registration-failed', balancer: 'lb' });
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    told.at(8_000, { type: 'reach', from: THIRD.id, unreachable: [HIGHER.id] });
    told.at(9_000, { type: 'reach', from: THIRD.id, unreachable: [] });
    expect(purges(told.at(60_000))).toBe(false);
  });

  it('go, with no balancer reachable, when no other server is left', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'registration-failed', balancer: 'lb' });
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    expect(purges(told.at(9_999))).toBe(false);
    expect(purges(told.at(10_000))).toBe(true);
  });

  it('go a second after it said goodbye and closed its stream', () => {
    const told = Told.among(HIGHER, THIRD);
    told.at(0, { type: 'notified', facts: [{ member: HIGHER, standing: 'left' }] });
    expect(purges(told.at(5_000, { type: 'unlinked', id: HIGHER.id }))).toBe(false);
    const effects = told.at(6_000);
    expect(effects).toEqual(['purge 9']);
    expect(told.membership.others()).toEqual([THIRD]);
  });

  it('count from when the stream was last heard of', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'registration-failed', balancer: 'lb' });
    told.at(5_000, { type: 'unlinked', id: HIGHER.id, lastHeardAt: 0 });
    expect(purges(told.at(10_000))).toBe(true);
  });

  it('are not purged twice, and again if it comes back and dies again', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'registration-failed', balancer: 'lb' });
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    expect(told.at(60_000).filter((effect) => effect === 'purge 9')).toHaveLength(1);
    told.at(60_000, { type: 'linked', member: HIGHER });
    told.at(60_000, { type: 'unlinked', id: HIGHER.id });
    expect(told.at(120_000).filter((effect) => effect === 'purge 9')).toHaveLength(1);
  });
});

describe('facts', () => {
  const newer = { ...HIGHER, incarnation: 2, clusterAddresses: [{ host: '192.0.2.2', port: 1 }] };

  it('of a higher incarnation win, in whatever order they come', () => {
    for (const order of [
      [HIGHER, newer],
      [newer, HIGHER],
      [newer, HIGHER, newer],
    ]) {
      const told = new Told();
      for (const each of order) {
        told.at(0, { type: 'hearsay', facts: [{ member: each, standing: 'alive' }] });
      }
      expect(told.membership.others()).toEqual([newer]);
    }
  });

  it('from hearsay do not bring back one that has left', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'notified', facts: [{ member: HIGHER, standing: 'left' }] });
    told.at(0, { type: 'hearsay', facts: [{ member: HIGHER, standing: 'alive' }] });
    expect(told.membership.others()).toEqual([]);
  });

  it('do not take away an address that is known', () => {
    const told = Told.among(HIGHER);
    told.at(0, { type: 'linked', member: { ...HIGHER, clusterAddresses: [] } });
    expect(told.membership.others()).toEqual([HIGHER]);
  });

  it('tell others whom this server has not reached for long', () => {
    const told = Told.among(HIGHER, THIRD);
    told.at(0, { type: 'unlinked', id: HIGHER.id });
    expect(told.membership.unreachable(7_999)).toEqual([]);
    expect(told.membership.unreachable(8_000)).toEqual([HIGHER.id]);
  });

  it('about more members than there can be are not kept', () => {
    const told = new Told();
    const facts = Array.from({ length: 1_100 }, (_, index) => ({
      member: { ...HIGHER, id: index.toString(16).padStart(32, '0') },
      standing: 'alive' as const,
    }));
    told.at(0, { type: 'hearsay', facts });
    expect(told.membership.others()).toHaveLength(1_000);
  });
});
