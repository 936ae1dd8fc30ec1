import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { Admission } from '../../../src/rendezvous/admission.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { Introducer, type Moment } from '../../../src/rendezvous/introducer.ts';
import { type DeskEffect, PeerDesk } from '../../../src/rendezvous/peer-desk.ts';
import type { Candidate } from '../../../src/path/index.ts';
import type { Endpoint } from '../../../src/rendezvous/record.ts';
import { endpointFromWire, endpointToWire } from '../../../src/rendezvous/record-codec.ts';
import { RelayServers } from '../../../src/rendezvous/relay-servers.ts';
import { ReplicatedTable } from '../../../src/rendezvous/replicated-table.ts';
import { sessionToWire } from '../../../src/rendezvous/session-order.ts';
import {
  type MatchFound,
  type PeerHello,
  PeerToServer,
  ServerToPeer,
} from '../../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL } from '../../../src/rpc/protocol.ts';
import { key, record, session } from './records.ts';

const SOURCE: Address = { host: '203.0.113.1', port: 4000 };
const PROVEN: Address = { host: '198.51.100.1', port: 5000 };
const COOKIE = Buffer.from('the cookie of PROVEN');

function at(ms: number): Moment {
  return { now: ms, wallClock: 1_000_000 + ms };
}

function makeDesk(): {
  desk: PeerDesk;
  table: ReplicatedTable;
} {
  const table = new ReplicatedTable();
  const desk = new PeerDesk({
    serverId: 'here',
    introducer: new Introducer('here', table),
    checkCookie: (cookie) => (COOKIE.equals(cookie) ? PROVEN : undefined),
    admission: new Admission({ maxPeers: 100, peersPerSource: 100, registrationsPerMinute: 1e6 }),
  });
  desk.serve();
  return { desk, table };
}

function encode(kind: NonNullable<PeerToServer['kind']>): Uint8Array {
  return PeerToServer.encode({ kind }).finish();
}

function hello(name: string, friends: string[], more: Partial<PeerHello> = {}): Uint8Array {
  return encode({
    $case: 'hello',
    value: {
      protocol: OWN_PROTOCOL,
      name,
      session: sessionToWire(session(1)),
      endpoint: endpointOf([]),
      wishes: friends.map((friend) => ({ friend, friendKey: Buffer.alloc(0) })),
      stunCookies: [],
      firstFlights: [],
      ...more,
    },
  });
}

function endpointOf(candidates: readonly Candidate[], more: Partial<Endpoint> = {}) {
  return endpointToWire({ ...record().endpoint, candidates, ...more });
}

/** What is sent to the connection, and whether it is closed. */
function told(effects: readonly DeskEffect[], connection: number): string[] {
  return effects.flatMap((effect) => {
    if (effect.type === 'send' && effect.connection === connection) {
      const { kind } = effect.frame;
      return [kind?.$case === 'error' ? kind.value.code : (kind?.$case ?? '')];
    }
    return effect.type === 'close' && effect.connection === connection ? ['close'] : [];
  });
}

/** The last match that the connection was told. */
function matchTold(effects: readonly DeskEffect[], connection: number): MatchFound | undefined {
  const last = effects.findLast(
    (effect) =>
      effect.type === 'send' &&
      effect.connection === connection &&
      effect.frame.kind?.$case === 'match',
  );
  return last?.type === 'send' && last.frame.kind?.$case === 'match'
    ? last.frame.kind.value
    : undefined;
}

/** The friend's candidates in it. */
function candidatesTold(effects: readonly DeskEffect[], connection: number): string[] {
  const candidates = matchTold(effects, connection)?.friendEndpoint?.candidates ?? [];
  return candidates.map(({ kind, address }) => `${kind} ${address?.ip.join('.') ?? ''}`).sort();
}

/** Alice (1) and bob (2) registered, and what bob's hello brought about. */
function pairOf(bobHello: Uint8Array) {
  const { desk, table } = makeDesk();
  desk.opened(1, { key: key('a'), source: SOURCE }, at(0));
  desk.opened(2, { key: key('b'), source: { ...SOURCE, port: 4001 } }, at(0));
  desk.frame(1, hello('alice', ['bob']), at(1));
  return { desk, table, effects: desk.frame(2, bobHello, at(2)) };
}

describe('a conversation', () => {
  it('begins with a hello, answered by a welcome before any match', () => {
    const { effects } = pairOf(hello('bob', ['alice']));
    expect(told(effects, 2)).toEqual(['welcome', 'match']);
    expect(told(effects, 1)).toEqual(['match']);
  });

  it('is over if no hello comes within five seconds', () => {
    const { desk } = makeDesk();
    desk.opened(1, { key: key('a'), source: SOURCE }, at(0));
    desk.opened(2, { key: key('b'), source: SOURCE }, at(10));
    expect(desk.nextDeadline()).toBe(5_000);
    desk.frame(2, hello('bob', []), at(20));
    expect(told(desk.tick(at(4_999)), 1)).toEqual([]);
    expect(told(desk.tick(at(5_000)), 1)).toEqual(['CHATTY_PROTOCOL', 'close']);
    expect(desk.nextDeadline()).toBeUndefined();
    expect(desk.registered).toBe(1);
  });

  it.each([
    ['begins with something else', [encode({ $case: 'leave', value: {} })]],
    ['has a second hello', [hello('alice', []), hello('alice', [])]],
    ['has a frame that is none', [hello('alice', []), Buffer.from([0x0a, 0x7f])]],
  ])('is over if it %s', (_what, frames) => {
    const { desk, table } = makeDesk();
    desk.opened(1, { key: key('a'), source: SOURCE }, at(0));
    const effects = frames.flatMap((frame) => desk.frame(1, frame, at(1)));
    expect(told(effects, 1).slice(-2)).toEqual(['CHATTY_PROTOCOL', 'close']);
    expect(table.size).toBe(0);
    expect(desk.frame(1, hello('alice', []), at(2))).toEqual([]);
  });

  it('is over if it has too many frames at once, but not if they come slowly', () => {
    const { desk } = makeDesk();
    desk.opened(1, { key: key('a'), source: SOURCE }, at(0));
    const frames = (from: number, everyMs: number, count: number): DeskEffect[] =>
      Array.from({ length: count }, (_, index) => index).flatMap((index) => {
        const wish = { friend: `friend ${index % 9}`, friendKey: Buffer.alloc(0) };
        const frame = encode({ $case: 'wish', value: { wish, withdraw: index % 2 === 0 } });
        return [...desk.frame(1, frame, at(from + index * everyMs))];
      });
    desk.frame(1, hello('alice', []), at(0));
    expect(told(frames(0, 250, 1_000), 1)).not.toContain('close');
    expect(told(frames(250_000, 0, 400), 1).slice(-2)).toEqual(['CHATTY_OVERLOADED', 'close']);
  });

  it('has so many wishes and no more', () => {
    const { desk } = makeDesk();
    desk.opened(1, { key: key('a'), source: SOURCE }, at(0));
    const friends = Array.from({ length: 256 }, (_, index) => `friend ${index}`);
    expect(told(desk.frame(1, hello('alice', friends), at(0)), 1)).toEqual(['welcome']);
    const wish = { friend: 'one more', friendKey: Buffer.alloc(0) };
    const more = encode({ $case: 'wish', value: { wish, withdraw: false } });
    expect(told(desk.frame(1, more, at(1)), 1)).toEqual(['CHATTY_OVERLOADED', 'close']);
    desk.opened(2, { key: key('b'), source: SOURCE }, at(2));
    const tooMany = hello('bob', [...friends, 'one more']);
    expect(told(desk.frame(2, tooMany, at(2)), 2)).toEqual(['CHATTY_OVERLOADED', 'close']);
  });

  it('ends with a goodbye, or with its connection', () => {
    const { desk, table } = pairOf(hello('bob', ['alice']));
    expect(told(desk.frame(1, encode({ $case: 'leave', value: {} }), at(3)), 1)).toEqual(['close']);
    expect(table.size).toBe(1);
    desk.closed(2, at(4));
    expect(table.size).toBe(0);
    expect(desk.registered).toBe(0);
  });

  it.each([
    ['its server is full', { maxPeers: 1 }, 'b', 'many peers as it can'],
    ['its network has too many peers', { peersPerSource: 1 }, 'b', 'from your network as it may'],
    ['its network registers too often', { registrationsPerMinute: 1 }, 'b', 'registrations a min'],
    ['its key has too many names', {}, 'a', 'as many names here as one key may'],
  ])('is refused, with a time to come back, while %s', (_what, limits, digit, sentence) => {
    const desk = new PeerDesk({
      serverId: 'here',
      introducer: new Introducer('here', new ReplicatedTable(), { namesPerKey: 1 }),
      checkCookie: () => undefined,
      admission: new Admission({
        ...{ maxPeers: 9, peersPerSource: 9, registrationsPerMinute: 9, ...limits },
      }),
    });
    desk.serve();
    desk.opened(1, { key: key('a'), source: SOURCE }, at(0));
    expect(told(desk.frame(1, hello('alice', []), at(0)), 1)).toEqual(['welcome']);
    desk.opened(2, { key: key(digit), source: SOURCE }, at(1));
    const [refusal] = desk.frame(2, hello('bob', []), at(1));
    const fault = refusal?.type === 'send' ? refusal.frame.kind : undefined;
    expect(fault).toMatchObject({ $case: 'error', value: { code: 'CHATTY_OVERLOADED' } });
    if (fault?.$case !== 'error') throw new Error('it was no error');
    expect(fault.value.message).toContain(sentence);
    expect(fault.value.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    desk.closed(1, at(2));
    desk.opened(3, { key: key(digit), source: SOURCE }, at(60_001));
    expect(told(desk.frame(3, hello('bob', []), at(60_001)), 3)).toEqual(['welcome']);
  });

  it('is refused while the server starts, when it is full, and when it stops', () => {
    const starting = new PeerDesk({
      serverId: 'here',
      introducer: new Introducer('here', new ReplicatedTable()),
      checkCookie: () => undefined,
      admission: new Admission({ maxPeers: 1, peersPerSource: 9, registrationsPerMinute: 9 }),
    });
    const refusal = (connection: number): string[] => {
      starting.opened(connection, { key: key('a'), source: SOURCE }, at(0));
      return told(starting.frame(connection, hello(`peer ${connection}`, []), at(0)), connection);
    };
    expect(refusal(1)).toEqual(['CHATTY_NO_SERVER', 'close']);
    starting.serve();
    expect(refusal(2)).toEqual(['welcome']);
    expect(refusal(3)).toEqual(['CHATTY_OVERLOADED', 'close']);
    expect(told(starting.drain(10_000), 2)).toEqual(['move']);
    expect(refusal(4)).toEqual(['CHATTY_NO_SERVER', 'close']);
  });
});

describe('another server that may be gone', () => {
  it('is looked after by those who are registered there too, one after the other', () => {
    const { desk, table } = pairOf(hello('bob', ['alice']));
    for (const [number, name] of ['alice', 'cleo', 'dora'].entries()) {
      desk.opened(3 + number, { key: key('a'), source: SOURCE }, at(2));
      desk.frame(3 + number, hello(name, []), at(2));
      table.upsert(record({ name, key: key('a'), session: session(1), owner: 'there' }));
    }
    desk.closed(5, at(3));
    // Bob was there before his program began anew, and a stranger is there alone.
    table.upsert(record({ name: 'bob', key: key('b'), session: session(0), owner: 'there' }));
    table.upsert(record({ name: 'emil', key: key('e'), owner: 'there' }));
    const frame = {
      kind: { $case: 'serverDoubt', value: { serverId: 'there', withinMs: 4 } },
    };
    expect(desk.doubt('there', at(10))).toEqual([
      { type: 'send', connection: 3, frame },
      { type: 'send', connection: 4, frame },
    ]);
    expect(desk.doubt('elsewhere', at(10))).toEqual([]);
  });

  it('is looked after once in five seconds, however often the stream to it breaks', () => {
    const { desk, table } = pairOf(hello('bob', ['alice']));
    table.upsert(record({ name: 'alice', key: key('a'), session: session(1), owner: 'there' }));
    const times = [0, 1, 4_999, 5_000, 5_001, 10_000];
    expect(times.map((ms) => desk.doubt('there', at(ms)).length)).toEqual([1, 0, 0, 1, 0, 1]);
  });
});

describe('what is told of addresses', () => {
  it('is where the peer was seen, whatever it says of itself', () => {
    const candidates: Candidate[] = [
      { kind: 'srflx', address: { host: '8.8.8.8', port: 5353 } },
      { kind: 'host', address: { host: '8.8.4.4', port: 5353 } },
      { kind: 'host', address: { host: '10.0.0.7', port: 4001 } },
      { kind: 'host', address: { host: '127.0.0.1', port: 4001 } },
      { kind: 'host', address: { host: '10.0.0.8', port: 22 } },
      { kind: 'host', address: { host: '224.0.0.1', port: 4001 } },
    ];
    const { effects } = pairOf(hello('bob', ['alice'], { endpoint: endpointOf(candidates) }));
    expect(candidatesTold(effects, 1)).toEqual(['1 10.0.0.7', '2 203.0.113.1']);
  });

  it('includes what STUN cookies of this server prove, and no others', () => {
    const stunCookies = [COOKIE, Buffer.from('made up')];
    const { effects } = pairOf(hello('bob', ['alice'], { stunCookies }));
    expect(candidatesTold(effects, 1)).toEqual(['2 198.51.100.1', '2 203.0.113.1']);
  });

  it('changes when the peer says so', () => {
    const { desk } = pairOf(hello('bob', ['alice']));
    const value = { endpoint: endpointOf([]), stunCookies: [COOKIE] };
    const effects = desk.frame(2, encode({ $case: 'endpoint', value }), at(3));
    expect(candidatesTold(effects, 1)).toEqual(['2 198.51.100.1', '2 203.0.113.1']);
  });

  it('changes when the peer is seen elsewhere', () => {
    const { desk } = pairOf(hello('bob', ['alice']));
    const effects = desk.sighted(2, { host: '192.0.2.9', port: 4001 }, at(3));
    expect(candidatesTold(effects, 1)).toEqual(['2 192.0.2.9']);
    expect(desk.sighted(2, { host: '192.0.2.9', port: 4001 }, at(4))).toEqual([]);
  });

  it('is nothing observed for a peer that came by a tunnel', () => {
    const { desk } = makeDesk();
    desk.opened(1, { key: key('a'), source: undefined }, at(0));
    const effects = desk.frame(1, hello('alice', []), at(1));
    const [welcome] = effects;
    expect(welcome?.type === 'send' && welcome.frame.kind).toMatchObject({
      $case: 'welcome',
      value: { observed: undefined },
    });
  });
});

describe('what is told of a NAT', () => {
  const told = (host: string): Endpoint | undefined => {
    const lastObserved = { host, port: 4007 };
    const nat = { mapping: 'sequential', step: 2, lastObserved, only443: true } as const;
    const endpoint = endpointOf([], { nat, relayRefused: true });
    const { effects } = pairOf(hello('bob', ['alice'], { endpoint }));
    return endpointFromWire(matchTold(effects, 1)?.friendEndpoint);
  };

  it('is what the peer says of it', () => {
    const { nat, relayRefused } = told(SOURCE.host) ?? {};
    const lastObserved = { host: SOURCE.host, port: 4007 };
    expect(nat).toEqual({ mapping: 'sequential', step: 2, lastObserved, only443: true });
    expect(relayRefused).toBe(true);
  });

  it('never names an address where no server has seen the peer', () => {
    const { nat } = told('198.51.100.77') ?? {};
    expect(nat).toMatchObject({ mapping: 'sequential', step: 2, lastObserved: undefined });
  });
});

describe('a first flight', () => {
  const DATAGRAMS = [Buffer.alloc(1200, 0xc0), Buffer.alloc(40, 0xe0)];
  const RELAYED = { secret: Buffer.alloc(32, 1), id: 'here' };

  /** Servers, by their ids, that relay. */
  function relaysOf(...ids: string[]): RelayServers {
    const relays = new RelayServers();
    for (const id of ids) relays.know(id, RELAYED.secret, []);
    return relays;
  }

  function deskWith(relays: RelayServers) {
    const table = new ReplicatedTable();
    const introducer = new Introducer('here', table, {
      canRelay: (server) => relays.canRelay(server),
    });
    const desk = new PeerDesk({
      ...{ serverId: 'here', introducer, relays, checkCookie: () => undefined },
      admission: new Admission({ maxPeers: 100, peersPerSource: 100, registrationsPerMinute: 1e6 }),
    });
    desk.serve();
    desk.opened(1, { key: key('a'), source: SOURCE }, at(0));
    desk.opened(2, { key: key('b'), source: SOURCE }, at(0));
    return { desk, introducer };
  }

  const ahead = (effects: readonly DeskEffect[], connection: number): (readonly Buffer[])[] =>
    effects.flatMap((effect) =>
      effect.type === 'send' &&
      effect.connection === connection &&
      effect.frame.kind?.$case === 'match'
        ? [effect.frame.kind.value.friendFirstFlight]
        : [],
    );
  const passes = (effects: readonly DeskEffect[]) =>
    effects.filter((effect) => effect.type === 'pass');
  const withFlight = (datagrams: Buffer[] = DATAGRAMS, more: Partial<PeerHello> = {}): Uint8Array =>
    hello('alice', ['bob'], { firstFlights: [{ friend: 'bob', datagrams }], ...more });
  const elsewhere = record({ name: 'bob', key: key('b'), for: ['alice'], owner: 'there' });

  it('comes with the match to a friend who waits here', () => {
    const { desk } = deskWith(relaysOf('here'));
    desk.frame(2, hello('bob', ['alice']), at(0));
    const effects = desk.frame(1, withFlight(), at(1));
    expect(ahead(effects, 2)).toEqual([DATAGRAMS]);
    expect(ahead(effects, 1)).toEqual([[]]);
    // Once.
    const again = { wish: { friend: 'bob', friendKey: Buffer.alloc(0) }, withdraw: false };
    expect(ahead(desk.frame(1, encode({ $case: 'wish', value: again }), at(2)), 1)).toEqual([[]]);
  });

  it('comes with a later wish, also where the friend knows of the peer already', () => {
    const { desk } = deskWith(relaysOf('here'));
    desk.frame(2, hello('bob', ['alice']), at(0));
    desk.frame(1, hello('alice', ['bob']), at(1));
    const value = {
      wish: { friend: 'bob', friendKey: Buffer.alloc(0) },
      ...{ withdraw: false, firstFlight: { friend: 'bob', datagrams: DATAGRAMS } },
    };
    expect(ahead(desk.frame(1, encode({ $case: 'wish', value }), at(2)), 2)).toEqual([DATAGRAMS]);
  });

  it('waits a second for a friend who is not there yet', () => {
    for (const [late, expected] of [
      [1_000, [DATAGRAMS]],
      [1_001, [[]]],
    ] as const) {
      const { desk } = deskWith(relaysOf('here'));
      desk.frame(1, withFlight(), at(1));
      expect(ahead(desk.frame(2, hello('bob', ['alice']), at(late)), 2)).toEqual(expected);
    }
  });

  it('is passed to the servers of a friend who waits there, or comes there within a second', () => {
    const { desk, introducer } = deskWith(relaysOf('here', 'there'));
    introducer.upsertRemote(elsewhere, at(0));
    const [pass] = passes(desk.frame(1, withFlight(), at(1)));
    const flight = { friend: 'bob', datagrams: DATAGRAMS };
    const from = { name: 'alice', key: key('a'), session: session(1) };
    expect(pass).toEqual({ type: 'pass', servers: ['there'], from, flight });

    const { desk: early, introducer: other } = deskWith(relaysOf('here', 'there'));
    early.frame(1, withFlight(), at(1));
    const effects = early.introduced(other.upsertRemote(elsewhere, at(900)), at(900));
    expect(passes(effects)).toEqual([pass]);
    expect(passes(early.introduced(other.upsertRemote(elsewhere, at(901)), at(901)))).toEqual([]);
  });

  it('from another server comes with the match, or after it', () => {
    const flight = { friend: 'alice', datagrams: DATAGRAMS };
    const { desk, introducer } = deskWith(relaysOf('here', 'there'));
    introducer.upsertRemote(elsewhere, at(0));
    expect(desk.passed('there', elsewhere, flight, at(1))).toEqual([]);
    expect(ahead(desk.frame(1, hello('alice', ['bob']), at(2)), 1)).toEqual([DATAGRAMS]);
    expect(ahead(desk.passed('there', elsewhere, flight, at(3)), 1)).toEqual([DATAGRAMS]);
  });

  it('is not taken from a server on whose word nobody is there', () => {
    const flight = { friend: 'alice', datagrams: DATAGRAMS };
    const { desk, introducer } = deskWith(relaysOf('here', 'there'));
    introducer.upsertRemote(elsewhere, at(0));
    desk.frame(1, hello('alice', ['bob']), at(1));
    expect(desk.passed('third', elsewhere, flight, at(2))).toEqual([]);
    const other = { ...elsewhere, session: session(2) };
    expect(desk.passed('there', other, flight, at(2))).toEqual([]);
  });

  it('goes to nobody who has not named the peer', () => {
    const { desk } = deskWith(relaysOf('here'));
    desk.frame(2, hello('bob', ['carol']), at(0));
    const effects = desk.frame(1, withFlight(), at(1));
    expect(told(effects, 2)).toEqual([]);
    expect(passes(effects)).toEqual([]);
  });

  it.each([
    ['where the server does not relay', [], DATAGRAMS, {}],
    ['where the peer refuses relays', ['here'], DATAGRAMS, { relayRefused: true }],
    ['of too many datagrams', ['here'], Array<Buffer>(3).fill(Buffer.alloc(10, 0xc0)), {}],
    ['of a datagram that is too long', ['here'], [Buffer.alloc(1_201, 0xc0)], {}],
    ['of what begins no conversation', ['here'], [Buffer.alloc(100, 0x40)], {}],
    ['of nothing', ['here'], [Buffer.alloc(0)], {}],
  ])('is discarded %s', (_what, servers, datagrams, endpoint) => {
    const { desk } = deskWith(relaysOf(...servers));
    desk.frame(2, hello('bob', ['alice']), at(0));
    const flight = withFlight(datagrams, { endpoint: endpointOf([], endpoint) });
    expect(ahead(desk.frame(1, flight, at(1)), 2)).toEqual([[]]);
  });
});

describe('hostile frames', () => {
  it('of 30,000 mutations of real ones none throws, nor leaves anything behind', () => {
    const seed = 20_301;
    const random = seededRandom(seed);
    const { desk, table } = makeDesk();
    const originals = [
      hello('alice', ['bob', 'carol'], { stunCookies: [COOKIE] }),
      encode({
        $case: 'wish',
        value: { wish: { friend: 'bob', friendKey: Buffer.alloc(32, 7) }, withdraw: false },
      }),
      encode({ $case: 'endpoint', value: { endpoint: endpointOf([]), stunCookies: [COOKIE] } }),
      encode({ $case: 'leave', value: {} }),
    ];
    let sent = 0;
    for (let connection = 1; connection <= 30_000; connection++) {
      desk.opened(connection, { key: key((connection % 9).toString()), source: SOURCE }, at(0));
      const effects: DeskEffect[] = [];
      for (let count = 1 + random.below(3); count > 0; count--) {
        const frame = Uint8Array.from(originals[random.below(originals.length)] ?? []);
        for (let flips = random.below(4); flips > 0; flips--) {
          if (frame.length > 0) frame[random.below(frame.length)] = random.below(256);
        }
        const cut = frame.subarray(
          0,
          random.below(8) === 0 ? random.below(frame.length + 1) : undefined,
        );
        effects.push(...desk.frame(connection, cut, at(connection)));
      }
      for (const effect of effects) {
        if (effect.type !== 'send') continue;
        sent += 1;
        ServerToPeer.decode(ServerToPeer.encode(effect.frame).finish());
      }
      desk.closed(connection, at(connection));
    }
    expect(sent, `seed ${seed}`).toBeGreaterThan(10_000);
    expect(table.size).toBe(0);
    expect(desk.registered).toBe(0);
    expect(desk.nextDeadline()).toBeUndefined();
  });
});
