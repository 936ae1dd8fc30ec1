import { describe, expect, it } from 'vitest';
import {
  Introducer,
  type IntroducerEffect,
  type Moment,
} from '../../../src/rendezvous/introducer.ts';
import type { Match } from '../../../src/rendezvous/matching.ts';
import { ReplicatedTable } from '../../../src/rendezvous/replicated-table.ts';
import { claim, key, record, type RecordParts, session } from './records.ts';

const BOB = { name: 'bob', key: key('b'), for: ['alice'] } as const;

function at(ms: number): Moment {
  return { now: ms, wallClock: 1_000_000 + ms };
}

function server(): Introducer {
  return new Introducer('here', new ReplicatedTable());
}

/** Registers, or fails the test. */
function join(
  introducer: Introducer,
  parts: RecordParts,
  ms = 0,
): { id: number; effects: readonly IntroducerEffect[] } {
  const result = introducer.register(claim(parts), at(ms));
  if ('refused' in result) throw new Error(`refused: ${result.refused}`);
  return { id: result.registration, effects: result.effects };
}

/** Who was told of whom, by registration. */
function pushes(effects: readonly IntroducerEffect[]): (readonly [number, string, string])[] {
  return effects
    .filter((effect) => effect.type === 'push')
    .map(({ registration, match }) => [registration, match.friend, match.friendKey[0] ?? '']);
}

function matches(effects: readonly IntroducerEffect[]): Match[] {
  return effects.filter((effect) => effect.type === 'push').map(({ match }) => match);
}

function dismissals(effects: readonly IntroducerEffect[]): (readonly [number, string])[] {
  return effects
    .filter((effect) => effect.type === 'dismiss')
    .map(({ registration, reason }) => [registration, reason]);
}

describe('matching', () => {
  it('tells nobody anything when only one of two has named the other', () => {
    const here = server();
    join(here, {});
    expect(pushes(join(here, { ...BOB, for: ['carol'] }).effects)).toEqual([]);
  });

  it('tells both as soon as the second has named the first', () => {
    const here = server();
    const alice = join(here, {});
    const bob = join(here, BOB, 5);
    expect(pushes(bob.effects)).toEqual([
      [alice.id, 'bob', 'b'],
      [bob.id, 'alice', 'a'],
    ]);
  });

  it('is dated from the later of the two wishes, and only when it is their first', () => {
    const here = server();
    join(here, {});
    const { id, effects } = join(here, BOB, 5);
    const dates = (of: readonly IntroducerEffect[]) =>
      of.filter((effect) => effect.type === 'push').map(({ namedAt }) => namedAt);
    expect(dates(effects)).toEqual([1_000_005, 1_000_005]);
    const moved = { ...record().endpoint, candidates: [], ufrag: 'other' };
    expect(dates(here.move(id, moved, false, at(50)))).toEqual([undefined]);
    const asked = here.wish(id, { friend: 'alice', friendKey: undefined }, at(60));
    expect(dates(asked)).toEqual([undefined]);
  });

  it('has the one dial whose wish came second', () => {
    const here = server();
    join(here, {});
    const [toAlice, toBob] = matches(join(here, BOB, 5).effects);
    expect(toAlice).toMatchObject({ friend: 'bob', friendWasWaiting: false });
    expect(toBob).toMatchObject({ friend: 'alice', friendWasWaiting: true });
  });

  it.each([
    ['the same millisecond on one server', 'here', 1_000_000],
    ['200 ms apart on two servers', 'there', 1_000_200],
    ['200 ms apart on two servers, the other way round', 'there', 999_800],
  ])('has exactly one dial, the one with the lower key, for wishes that came in %s', (...row) => {
    const [, owner, wishedAt] = row;
    const mine = server();
    join(mine, {});
    const [toAlice] =
      owner === 'here'
        ? matches(join(mine, BOB).effects)
        : matches(mine.upsertRemote(record({ ...BOB, owner, wishedAt }), at(0)));
    expect(toAlice?.friendWasWaiting).toBe(true);
    const theirs = server();
    join(theirs, BOB);
    const [toBob] = matches(theirs.upsertRemote(record({ wishedAt: wishedAt }), at(0)));
    expect(toBob?.friendWasWaiting).toBe(false);
  });

  it('tells a peer here of a friend whose record arrives from another server', () => {
    const here = server();
    const alice = join(here, {});
    expect(pushes(here.upsertRemote(record(BOB), at(1)))).toEqual([[alice.id, 'bob', 'b']]);
  });

  it('tells a peer here at once of a friend who has been waiting elsewhere', () => {
    const here = server();
    here.upsertRemote(record(BOB), at(0));
    const alice = join(here, {}, 5_000);
    expect(matches(alice.effects)).toEqual([
      {
        friend: 'bob',
        friendKey: key('b'),
        friendSession: session(1),
        friendEndpoint: record().endpoint,
        friendWasWaiting: true,
        relays: [],
        ownSession: session(1),
      },
    ]);
  });

  it('tells both sides anew who relays, when either registers elsewhere too or no more', () => {
    const here = new Introducer('here', new ReplicatedTable(), { canRelay: () => true });
    const alice = join(here, {}, 5_000);
    const bob = join(here, BOB, 6_000);
    const relays = (effects: readonly IntroducerEffect[]) =>
      effects.flatMap((effect) =>
        effect.type === 'push' ? [[effect.registration, ...effect.match.relays]] : [],
      );
    expect(relays(bob.effects)).toEqual([
      [alice.id, 'here'],
      [bob.id, 'here'],
    ]);
    // By the calendar of the other server, bob came there first.
    const elsewhere = record({ ...BOB, owner: 'there', wishedAt: 1_005_999 });
    expect(relays(here.upsertRemote(elsewhere, at(6_001)))).toEqual([
      [alice.id, 'there', 'here'],
      [bob.id, 'there', 'here'],
    ]);
    expect(relays(here.removeRemote('there', elsewhere, at(6_002)))).toEqual([
      [alice.id, 'here'],
      [bob.id, 'here'],
    ]);
  });

  it('matches by key only where a wish names one', () => {
    const here = server();
    const alice = join(here, { for: ['bob=c'] });
    const conflicts = join(here, BOB).effects.filter(({ type }) => type !== 'update');
    expect(conflicts).toEqual([
      {
        type: 'conflict',
        registration: alice.id,
        wish: { friend: 'bob', friendKey: key('c') },
        heldBy: key('b'),
      },
    ]);
  });

  it('tells of a conflicting holder once', () => {
    const here = server();
    join(here, { for: ['bob=c'] });
    const bob = join(here, BOB);
    const moved = here.move(bob.id, { ...record().endpoint, ufrag: 'other' }, false, at(1));
    expect(moved.map(({ type }) => type)).toEqual(['update']);
  });

  it('does not tell twice what has not changed, and tells what has', () => {
    const here = server();
    const alice = join(here, {});
    here.upsertRemote(record(BOB), at(0));
    expect(pushes(here.upsertRemote(record({ ...BOB, seq: 2 }), at(1)))).toEqual([]);
    const endpoint = { ...record().endpoint, ufrag: 'new0' };
    const moved = here.upsertRemote(record({ ...BOB, seq: 3, endpoint }), at(2));
    expect(pushes(moved)).toEqual([[alice.id, 'bob', 'b']]);
  });

  it('tells again of a friend who comes in a newer session', () => {
    const here = server();
    join(here, {});
    here.upsertRemote(record(BOB), at(0));
    const [match] = matches(here.upsertRemote(record({ ...BOB, session: session(2) }), at(1)));
    expect(match?.friendSession).toBe(session(2));
  });

  it('keeps to who dials while the two sessions last', () => {
    const here = server();
    join(here, {});
    const [first] = matches(here.upsertRemote(record({ ...BOB, wishedAt: 0 }), at(0)));
    const endpoint = { ...record().endpoint, ufrag: 'new0' };
    const later = record({ ...BOB, wishedAt: 9e9, endpoint, seq: 2 });
    const [second] = matches(here.upsertRemote(later, at(1)));
    expect(second?.friendWasWaiting).toBe(first?.friendWasWaiting);
  });

  it('merges what two servers know of one session', () => {
    const here = server();
    join(here, {});
    const other = { kind: 'srflx' as const, address: { host: '198.51.100.1', port: 5000 } };
    const endpoint = { ...record().endpoint, candidates: [other] };
    here.upsertRemote(record(BOB), at(0));
    const [match] = matches(here.upsertRemote(record({ ...BOB, owner: 'third', endpoint }), at(1)));
    expect(match?.friendEndpoint.candidates).toEqual([...record().endpoint.candidates, other]);
  });

  it('tells loopback addresses only to peers that are seen on loopback themselves', () => {
    const loopback = { kind: 'host' as const, address: { host: '127.0.0.1', port: 5000 } };
    const endpoint = { ...record().endpoint, candidates: [loopback] };
    const bob = record({ ...BOB, endpoint, loopback: true });
    for (const [seen, count] of [
      [true, 1],
      [false, 0],
    ] as const) {
      const here = server();
      join(here, { loopback: seen });
      const [match] = matches(here.upsertRemote(bob, at(0)));
      expect(match?.friendEndpoint.candidates).toHaveLength(count);
    }
  });

  it('introduces a peer to each of two others who want it', () => {
    const here = server();
    const alice = join(here, { for: ['bob', 'carol'] });
    const bob = join(here, BOB);
    const carol = join(here, { name: 'carol', key: key('c'), for: ['alice'] });
    expect(pushes(bob.effects)).toContainEqual([alice.id, 'bob', 'b']);
    expect(pushes(carol.effects)).toEqual([
      [alice.id, 'carol', 'c'],
      [carol.id, 'alice', 'a'],
    ]);
  });

  it('matches on a wish made later, and again after one withdrawn', () => {
    const here = server();
    const alice = join(here, { for: [] });
    const bob = join(here, BOB);
    const wish = { friend: 'bob', friendKey: undefined };
    const both = [
      [bob.id, 'alice', 'a'],
      [alice.id, 'bob', 'b'],
    ];
    expect(pushes(here.wish(alice.id, wish, at(1)))).toEqual(both);
    expect(pushes(here.withdraw(alice.id, 'bob', at(3)))).toEqual([]);
    expect(pushes(here.wish(alice.id, wish, at(4)))).toEqual(both);
  });

  it('answers a wish that stands already with the match again, and changes nothing', () => {
    const here = server();
    const alice = join(here, {});
    join(here, BOB);
    const again = here.wish(alice.id, { friend: 'bob', friendKey: undefined }, at(1));
    expect(again.map(({ type }) => type)).toEqual(['push']);
    expect(pushes(again)).toEqual([[alice.id, 'bob', 'b']]);
    expect(here.wish(alice.id, { friend: 'carol', friendKey: undefined }, at(2))).toHaveLength(1);
    expect(here.wish(alice.id, { friend: 'carol', friendKey: undefined }, at(3))).toEqual([]);
  });
});

describe('names', () => {
  it('refuses a stranger a name that another key holds', () => {
    const here = server();
    here.upsertRemote(record(), at(0));
    expect(here.register(claim({ key: key('b') }), at(1))).toEqual({ refused: 'name-taken' });
    expect(here.registered).toBe(0);
    expect(here.seq).toBe(0);
  });

  it('accepts the key that is wished for under a name that a squatter holds, by key only', () => {
    const here = server();
    const squatter = join(here, { key: key('f'), for: ['bob', 'carol'] });
    const bob = join(here, { ...BOB, for: ['alice=a'] });
    const carol = join(here, { name: 'carol', key: key('c'), for: ['alice'] });
    expect(pushes(carol.effects)).toEqual([
      [squatter.id, 'carol', 'c'],
      [carol.id, 'alice', 'f'],
    ]);
    const alice = join(here, { for: ['bob', 'carol'] });
    expect(pushes(alice.effects)).toEqual([
      [bob.id, 'alice', 'a'],
      [alice.id, 'bob', 'b'],
    ]);
  });

  it('gives the name to who waits under it when the holder leaves', () => {
    const here = server();
    const squatter = join(here, { key: key('f'), for: ['bob'] });
    join(here, { ...BOB, for: ['alice=a'] });
    const carol = join(here, { name: 'carol', key: key('c'), for: ['alice'] });
    const alice = join(here, { for: ['carol'] });
    expect(pushes(alice.effects)).toEqual([]);
    const freed = pushes(here.leave(squatter.id, at(1)));
    expect(freed).toContainEqual([alice.id, 'carol', 'c']);
    expect(freed).toContainEqual([carol.id, 'alice', 'a']);
  });

  it.each([
    ['came earlier', 999_999, 'f', true],
    ['came at the same time with the lower key', 1_000_000, '0', true],
    ['came at the same time with the higher key', 1_000_000, 'f', false],
    ['came later', 1_000_001, '0', false],
  ])('settles crossed registrations: the other one %s', (_why, since, digit, loses) => {
    const here = server();
    const alice = join(here, {});
    const effects = here.upsertRemote(record({ key: key(digit), since }), at(100));
    expect(dismissals(effects)).toEqual(loses ? [[alice.id, 'name-taken']] : []);
    expect(here.registered).toBe(loses ? 0 : 1);
  });

  it('never displaces a holder of ten seconds', () => {
    const earlier = record({ key: key('0'), since: 5 });
    const young = server();
    join(young, {});
    expect(dismissals(young.upsertRemote(earlier, at(9_999)))).toHaveLength(1);
    const settled = server();
    join(settled, {});
    expect(settled.upsertRemote(earlier, at(10_000))).toEqual([]);
    expect(settled.registered).toBe(1);
  });

  it('declares itself second when it knowingly accepts a second key for a name', () => {
    const here = server();
    here.upsertRemote(record({ key: key('f'), since: 9e12 }), at(0));
    here.upsertRemote(record({ ...BOB, for: ['alice=a'] }), at(0));
    const alice = join(here, {});
    expect(here.recordOf(alice.id)?.since).toBe(9e12 + 1);
  });
});

describe('sessions', () => {
  it('replaces an older session of the same name and key on this server', () => {
    const here = server();
    const older = join(here, {});
    const newer = join(here, { session: session(2) });
    expect(dismissals(newer.effects)).toEqual([[older.id, 'replaced']]);
    expect(newer.effects.filter(({ type }) => type === 'update')).toHaveLength(2);
    expect(here.registered).toBe(1);
    expect(here.snapshot()).toEqual([here.recordOf(newer.id)]);
  });

  it('replaces an older session here when a newer one registers elsewhere', () => {
    const here = server();
    const older = join(here, {});
    const effects = here.upsertRemote(record({ session: session(2) }), at(1));
    expect(dismissals(effects)).toEqual([[older.id, 'replaced']]);
    expect(here.snapshot()).toEqual([]);
  });

  it('refuses an older session while a newer one waits', () => {
    const here = server();
    here.upsertRemote(record({ session: session(2) }), at(0));
    expect(here.register(claim(), at(1))).toEqual({ refused: 'replaced' });
  });

  it('lets the same session connect again, and tells it its matches anew', () => {
    const here = server();
    const first = join(here, {});
    here.upsertRemote(record(BOB), at(1));
    const again = join(here, {}, 9_000);
    expect(dismissals(again.effects)).toEqual([[first.id, 'superseded']]);
    expect(pushes(again.effects)).toEqual([[again.id, 'bob', 'b']]);
    expect(here.recordOf(again.id)?.since).toBe(1_000_000);
    expect(here.recordOf(again.id)?.wishes.get('bob')?.since).toBe(1_000_000);
    expect(here.leave(first.id, at(9_001))).toEqual([]);
    expect(here.registered).toBe(1);
  });
});

describe('replication', () => {
  it('numbers its changes without gaps', () => {
    const here = server();
    const alice = join(here, {});
    const effects = [
      ...alice.effects,
      ...here.wish(alice.id, { friend: 'carol', friendKey: undefined }, at(1)),
      ...join(here, { session: session(2) }, 2).effects,
      ...join(here, BOB, 3).effects,
      ...here.leave(alice.id, at(4)),
    ];
    const seqs = effects.filter(({ type }) => type === 'update');
    expect(seqs.map((effect) => effect.type === 'update' && effect.update.seq)).toEqual([
      1, 2, 3, 4, 5,
    ]);
    expect(here.seq).toBe(5);
  });

  it('forgets what a purged server owned, and keeps its own', () => {
    const here = server();
    join(here, {});
    here.upsertRemote(record(BOB), at(0));
    here.purge('there', at(1));
    here.purge('here', at(1));
    expect(here.snapshot()).toHaveLength(1);
    expect(pushes(here.upsertRemote(record(BOB), at(2)))).toHaveLength(1);
  });

  it('takes no word of another server about its own records', () => {
    const here = server();
    join(here, {});
    expect(here.upsertRemote(record({ owner: 'here', name: 'eve' }), at(0))).toEqual([]);
    expect(here.removeRemote('here', claim(), at(0))).toEqual([]);
    expect(here.snapshot()).toHaveLength(1);
  });
});

describe('names a key', () => {
  it('may wait under are limited; each that leaves makes room', () => {
    const here = new Introducer('here', new ReplicatedTable(), { namesPerKey: 2 });
    const { id } = join(here, { name: 'first' });
    join(here, { name: 'second' });
    expect(here.register(claim({ name: 'third' }), at(1))).toEqual({ refused: 'key-full' });
    join(here, { name: 'third', key: key('b') });
    here.leave(id, at(2));
    here.leave(id, at(2));
    join(here, { name: 'fourth' }, 3);
    expect(here.register(claim({ name: 'fifth' }), at(4))).toEqual({ refused: 'key-full' });
  });

  it('may wait under are not used up by coming back', () => {
    const here = new Introducer('here', new ReplicatedTable(), { namesPerKey: 1 });
    join(here, {});
    join(here, {}, 1);
    join(here, { session: session(2) }, 2);
    expect(here.registered).toBe(1);
  });
});
