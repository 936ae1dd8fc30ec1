import { describe, expect, it } from 'vitest';
import { type Address, formatAddress, parseAddress } from '../../../src/base/address.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { CookieMint } from '../../../src/path/index.ts';
import {
  encodeRelayFrame,
  MAX_RELAYED_BYTES,
  readRelayFrame,
  relayProof,
  type RelayFrame,
} from '../../../src/path/relay-frame.ts';
import type { PeerRecord } from '../../../src/rendezvous/record.ts';
import type { RelayLimits } from '../../../src/rendezvous/relay-budget.ts';
import { pairOf, type RelayGrant, relayGrants } from '../../../src/rendezvous/relay-grants.ts';
import type { RelayLink } from '../../../src/rendezvous/relay-link.ts';
import { type RelaySend, RelayTable } from '../../../src/rendezvous/relay-table.ts';
import { ReplicatedTable } from '../../../src/rendezvous/replicated-table.ts';
import { key, record, session } from './records.ts';

const SECRET = Buffer.alloc(32, 7);
const LOCAL: Address = { host: '192.0.2.1', port: 4433 };
const LIMITS: RelayLimits = {
  pairBytesPerSecond: 10_000,
  pairBytes: 50_000,
  pairTimeMs: 60_000,
  bytesPerSecond: 1_000_000,
  pairs: 100,
};
const ALICE_AT = '203.0.113.1:4000';
const BOB_AT = '203.0.113.2:4000';
const ELSEWHERE = '198.51.100.9:9999';

const ALICE = record({ owner: 'here' });
const BOB = record({
  ...{ name: 'bob', key: key('b'), for: ['alice'], owner: 'there' },
  endpoint: {
    ...record().endpoint,
    candidates: [{ kind: 'srflx', address: addressOf(BOB_AT) }],
  },
});

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

function udp(text: string, local = LOCAL): RelayLink {
  return { type: 'udp', remote: addressOf(text), local };
}

/** Alice is registered here (connection 1), bob is not; both were told of each other. */
class Relay {
  readonly records = new ReplicatedTable();
  readonly links = new Map<number, RelayLink>([[1, udp(ALICE_AT)]]);
  readonly mint = new CookieMint(Buffer.alloc(32, 9));
  readonly table: RelayTable;
  readonly grants: { readonly alice: RelayGrant; readonly bob: RelayGrant };
  now = 1_000;

  constructor(limits: Partial<RelayLimits> = {}) {
    this.records.upsert(ALICE);
    this.records.upsert(BOB);
    this.table = new RelayTable(
      {
        limits: { ...LIMITS, ...limits },
        secret: SECRET,
        table: this.records,
        linkOf: (connection) => this.links.get(connection),
        mintCookie: (source, now) => this.mint.mint(source, now),
        checkCookie: (cookie, now) => this.mint.check(cookie, now),
      },
      this.now,
    );
    this.table.open(ALICE, BOB, 1, this.now);
    const [first, second] = relayGrants(SECRET, pairOf(ALICE, BOB));
    this.grants = { alice: first, bob: second };
  }

  /** What is sent, as `where: what`. */
  frame(frame: RelayFrame, from: RelayLink): string[] {
    return this.datagram(encodeRelayFrame(frame), from).map((send) => this.#told(send));
  }

  datagram(datagram: Uint8Array, from: RelayLink): readonly RelaySend[] {
    return this.table.receive(datagram, from, this.now);
  }

  bind(who: 'alice' | 'bob', from: RelayLink, cookie?: Uint8Array): string[] {
    return this.frame(bindFrame(this.grants[who], cookie), from);
  }

  /** Binds by the cookie of `address`. */
  bindAt(who: 'alice' | 'bob', address: string): string[] {
    return this.bind(who, udp(address), this.mint.mint(addressOf(address), this.now));
  }

  data(who: 'alice' | 'bob', from: RelayLink, bytes = 100): string[] {
    const payload = Buffer.alloc(bytes, 0x40);
    return this.frame({ type: 'data', channel: this.grants[who].channel, payload }, from);
  }

  #told({ link, datagram }: RelaySend): string {
    const where = link.type === 'udp' ? formatAddress(link.remote) : `tunnel ${link.tunnel}`;
    const frame = readRelayFrame(datagram);
    const whose = frame?.channel === this.grants.alice.channel ? 'alice' : 'bob';
    const what = frame?.type === 'bound' && frame.friendBound ? 'bound both' : frame?.type;
    return `${where}: ${what ?? 'junk'} ${frame?.type === 'limited' ? frame.limit : whose}`;
  }
}

function bindFrame({ channel, proofKey }: RelayGrant, cookie?: Uint8Array): RelayFrame {
  return { type: 'bind', channel, proof: relayProof(proofKey, channel, cookie), cookie };
}

describe('a relay', () => {
  it('is ready at once for the side that is registered here, and tells it when the other binds', () => {
    const relay = new Relay();
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([]);
    expect(relay.bindAt('bob', ELSEWHERE)).toEqual([
      `${ELSEWHERE}: bound both bob`,
      `${ALICE_AT}: bound both alice`,
    ]);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${ELSEWHERE}: data bob`]);
    expect(relay.data('bob', udp(ELSEWHERE))).toEqual([`${ALICE_AT}: data alice`]);
  });

  it('passes the payload on as it is', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    const payload = Buffer.from([0x40, 1, 2, 3]);
    const datagram = encodeRelayFrame({
      ...{ type: 'data', channel: relay.grants.alice.channel, payload },
    });
    const [send] = relay.datagram(datagram, udp(ALICE_AT));
    const { channel } = relay.grants.bob;
    expect(readRelayFrame(send?.datagram ?? Buffer.alloc(0))).toEqual({
      ...{ type: 'data', channel, payload },
    });
    expect(relay.table.stats).toMatchObject({ pairs: 1, relayedDatagrams: 1, relayedBytes: 14 });
  });

  it('follows the registration of a side wherever it moves', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    relay.links.set(1, udp('203.0.113.1:5000'));
    expect(relay.data('bob', udp(BOB_AT))).toEqual(['203.0.113.1:5000: data alice']);
    expect(relay.data('alice', udp('203.0.113.1:5000'))).toEqual([`${BOB_AT}: data bob`]);
    relay.links.delete(1);
    expect(relay.data('bob', udp(BOB_AT))).toEqual([]);
  });

  it('reaches a side by the tunnel of its registration, or the one that it binds', () => {
    const relay = new Relay();
    relay.links.set(1, { type: 'tunnel', tunnel: 5 });
    expect(relay.bind('bob', { type: 'tunnel', tunnel: 6 })).toEqual([
      'tunnel 6: bound both bob',
      'tunnel 5: bound both alice',
    ]);
    expect(relay.data('bob', { type: 'tunnel', tunnel: 6 })).toEqual(['tunnel 5: data alice']);
    expect(relay.data('bob', { type: 'tunnel', tunnel: 7 })).toEqual([]);
  });

  it('asks a side that binds from an address nobody has proven to prove it', () => {
    const relay = new Relay();
    expect(relay.bind('bob', udp(ELSEWHERE))).toEqual([`${ELSEWHERE}: challenge bob`]);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([]);
    const [send] = relay.datagram(encodeRelayFrame(bindFrame(relay.grants.bob)), udp(ELSEWHERE));
    const challenge = readRelayFrame(send?.datagram ?? Buffer.alloc(0));
    if (challenge?.type !== 'challenge') throw new Error('it was no challenge');
    expect(relay.bind('bob', udp(ELSEWHERE), challenge.cookie)[0]).toBe(
      `${ELSEWHERE}: bound both bob`,
    );
  });

  it('takes the address where a server once saw a side, for five seconds', () => {
    const relay = new Relay();
    const answer = [
      `${BOB_AT}: bound both bob`,
      `${BOB_AT}: challenge bob`,
      `${ALICE_AT}: bound both alice`,
    ];
    expect(relay.bind('bob', udp(BOB_AT))).toEqual(answer);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${BOB_AT}: data bob`]);
    relay.now += 4_999;
    expect(relay.data('bob', udp(BOB_AT))).toEqual([`${ALICE_AT}: data alice`]);
    relay.now += 1;
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([]);
    expect(relay.bind('bob', udp(BOB_AT))).toEqual([`${BOB_AT}: challenge bob`]);
    relay.now += 60_000;
    expect(relay.bind('bob', udp(BOB_AT))).toEqual(answer);
    expect(relay.bindAt('bob', BOB_AT)).toEqual([`${BOB_AT}: bound both bob`]);
    relay.now += 59_999;
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${BOB_AT}: data bob`]);
  });

  it('forgets a bound address from which nothing has come for a minute', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    relay.now += 59_999;
    expect(relay.data('bob', udp(BOB_AT))).toEqual([`${ALICE_AT}: data alice`]);
    relay.now += 59_999;
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${BOB_AT}: data bob`]);
    relay.now += 1;
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([]);
  });

  it('sends to the one of several addresses that was heard from last', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    relay.bindAt('bob', ELSEWHERE);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${ELSEWHERE}: data bob`]);
    relay.data('bob', udp(BOB_AT));
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${BOB_AT}: data bob`]);
  });

  it('asks a side whose NAT has given it another address to bind again', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    const moved = udp('203.0.113.2:4001');
    expect(relay.data('bob', moved)).toEqual(['203.0.113.2:4001: challenge bob']);
    expect(relay.data('bob', moved)).toEqual([]);
    relay.now += 250;
    expect(relay.data('bob', moved, 10)).toEqual([]);
    expect(relay.data('bob', moved)).toEqual(['203.0.113.2:4001: challenge bob']);
    expect(relay.bindAt('bob', '203.0.113.2:4001')).toEqual(['203.0.113.2:4001: bound both bob']);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual(['203.0.113.2:4001: data bob']);
  });

  it('ends a minute after the two no longer wait for each other', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    const pass = (ms: number): void => {
      for (const end = relay.now + ms; relay.now < end;) {
        relay.now += 1_000;
        relay.table.tick(relay.now);
        relay.bindAt('bob', BOB_AT);
      }
    };
    pass(600_000);
    expect(relay.table.stats.pairs).toBe(1);
    relay.records.remove('there', BOB);
    pass(30_000);
    relay.records.upsert(BOB);
    pass(2_000);
    relay.records.upsert({ ...BOB, wishes: new Map() });
    pass(59_000);
    expect(relay.table.stats.pairs).toBe(1);
    pass(4_000);
    expect(relay.table.stats.pairs).toBe(0);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([]);
    expect(relay.table.nextDeadline()).toBeUndefined();
  });
});

describe('a relay that either side has left', () => {
  it.each([
    ['here', ALICE],
    ['there', BOB],
  ])('ends: registered %s', (owner, left) => {
    const relay = new Relay();
    relay.records.remove(owner, left);
    for (let second = 0; second < 65; second++) {
      relay.now += 1_000;
      relay.table.tick(relay.now);
    }
    expect(relay.table.stats.pairs).toBe(0);
  });
});

describe('the limits of a relay', () => {
  it('are bytes a second, and whoever is over them is told once a second', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    const outcomes = Array.from({ length: 12 }, () => relay.data('alice', udp(ALICE_AT), 990));
    expect(outcomes.slice(0, 10).flat()).toEqual(Array(10).fill(`${BOB_AT}: data bob`));
    expect(outcomes.slice(10)).toEqual([[`${ALICE_AT}: limited rate`], []]);
    relay.now += 100;
    expect(relay.data('bob', udp(BOB_AT), 990)).toEqual([`${ALICE_AT}: data alice`]);
    expect(relay.data('bob', udp(BOB_AT), 990)).toEqual([`${BOB_AT}: limited rate`]);
    expect(relay.table.stats.dropped.rate).toBe(3);
  });

  it('are bytes in all, until the pair has rested for five minutes', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    let relayed = 0;
    const send = (): string[] => {
      relay.now += 1_000;
      return relay.data('alice', udp(ALICE_AT), 990);
    };
    while (relayed < 1e6 && send()[0] === `${BOB_AT}: data bob`) relayed += 1_000;
    expect(relayed).toBe(50_000);
    expect(send()).toEqual([`${ALICE_AT}: limited bytes`]);
    relay.now += 300_000;
    relay.bindAt('bob', BOB_AT);
    expect(send()).toEqual([`${BOB_AT}: data bob`]);
  });

  it('are the time that a pair is relayed', () => {
    const relay = new Relay({ pairBytes: 1e9 });
    const start = relay.now;
    do {
      relay.now += 5_000;
      relay.bindAt('bob', BOB_AT);
    } while (relay.now < 1e6 && relay.data('alice', udp(ALICE_AT))[0] === `${BOB_AT}: data bob`);
    expect(relay.now - start).toBe(65_000);
    expect(relay.table.stats.dropped.time).toBe(1);
  });

  it('are the bytes a second of the server', () => {
    const relay = new Relay({ bytesPerSecond: 2_000 });
    relay.bindAt('bob', BOB_AT);
    const outcomes = Array.from({ length: 3 }, () => relay.data('alice', udp(ALICE_AT), 990));
    expect(outcomes.at(-1)).toEqual([`${ALICE_AT}: limited server`]);
  });

  it('let a datagram pass, however low the rate', () => {
    const relay = new Relay({ pairBytesPerSecond: 100 });
    relay.bindAt('bob', BOB_AT);
    expect(relay.data('alice', udp(ALICE_AT), MAX_RELAYED_BYTES)).toHaveLength(1);
  });

  it('are so many pairs: the one that was used longest ago makes room, but none in use does', () => {
    const relay = new Relay({ pairs: 3 });
    const strangers = (index: number): readonly [PeerRecord, PeerRecord] => [
      record({ name: 'carol', key: key('c'), session: session(index), for: ['dave'] }),
      record({ name: 'dave', key: key('d'), session: session(index), for: ['carol'] }),
    ];
    const open = (index: number): void => relay.table.open(...strangers(index), 9, relay.now);
    relay.bindAt('bob', BOB_AT);
    open(1);
    open(2);
    open(3);
    expect(relay.table.stats.pairs).toBe(3);
    relay.now += 9_999;
    open(4);
    relay.data('alice', udp(ALICE_AT));
    relay.now += 1;
    open(5);
    open(6);
    expect(relay.table.stats.pairs).toBe(3);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${BOB_AT}: data bob`]);
  });

  it('are 64 pairs of one session', () => {
    const relay = new Relay();
    for (let index = 0; index < 100; index++) {
      relay.now += 10_000;
      const friend = record({ name: `friend ${index}`, key: key('f'), for: ['alice'] });
      relay.table.open(ALICE, friend, 1, relay.now);
    }
    expect(relay.table.stats.pairs).toBe(64);
  });
});

describe('a relay in hostile hands', () => {
  it('answers nobody who cannot prove a side', () => {
    const relay = new Relay();
    const stranger = { ...relay.grants.bob, proofKey: Buffer.alloc(16) };
    expect(relay.frame(bindFrame(stranger), udp(ELSEWHERE))).toEqual([]);
    const unknown = { ...relay.grants.bob, channel: '0000000000000000' };
    expect(relay.frame(bindFrame(unknown), udp(ELSEWHERE))).toEqual([]);
    // Each side has its own proof.
    const crossed = { ...relay.grants.bob, proofKey: relay.grants.alice.proofKey };
    expect(relay.frame(bindFrame(crossed), udp(ELSEWHERE))).toEqual([]);
    expect(relay.table.stats.dropped).toMatchObject({ forged: 2, unknown: 1 });
  });

  it('binds nothing for whoever repeats an overheard BIND from elsewhere', () => {
    const relay = new Relay();
    const cookie = relay.mint.mint(addressOf(BOB_AT), relay.now);
    const overheard = bindFrame(relay.grants.bob, cookie);
    relay.frame(overheard, udp(BOB_AT));
    expect(relay.frame(overheard, udp(ELSEWHERE))).toEqual([`${ELSEWHERE}: challenge bob`]);
    // The cookie of the eavesdropper's own address, with a proof made for another.
    const own = relay.mint.mint(addressOf(ELSEWHERE), relay.now);
    expect(relay.frame({ ...overheard, cookie: own } as RelayFrame, udp(ELSEWHERE))).toEqual([]);
    expect(relay.data('alice', udp(ALICE_AT))).toEqual([`${BOB_AT}: data bob`]);
  });

  it('takes no data from a third party, and sends none to one', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    expect(relay.data('alice', udp(ELSEWHERE), 20)).toEqual([]);
    expect(relay.data('bob', udp(ALICE_AT), 20)).toEqual([]);
    expect(relay.data('alice', udp(ALICE_AT, { ...LOCAL, port: 443 }), 20)).toEqual([]);
    expect(relay.table.stats).toMatchObject({ relayedDatagrams: 0, dropped: { unbound: 3 } });
  });

  it('relays a flood no further than its limits, and is not made to answer it', () => {
    const relay = new Relay();
    relay.bindAt('bob', BOB_AT);
    const sends = Array.from({ length: 5_000 }, () => relay.data('alice', udp(ALICE_AT), 990));
    expect(sends.flat()).toHaveLength(11);
  });

  it('never sends more to an unproven address than came from there, whatever comes', () => {
    const seed = 4_711;
    const random = seededRandom(seed);
    const relay = new Relay();
    const frames = [
      bindFrame(relay.grants.bob),
      bindFrame(relay.grants.alice),
      ...(['alice', 'bob'] as const).map((who) => ({
        ...{ type: 'data' as const, channel: relay.grants[who].channel },
        payload: Buffer.alloc(60, 0x40),
      })),
    ].map(encodeRelayFrame);
    let came = 0;
    let went = 0;
    for (let count = 0; count < 20_000; count++) {
      relay.now += random.below(100);
      const datagram = Buffer.from(frames[random.below(frames.length)] ?? []);
      for (let flips = random.below(3); flips > 0; flips--) {
        datagram[random.below(datagram.length)] = random.below(256);
      }
      const cut = datagram.subarray(0, 1 + random.below(datagram.length));
      const whole = random.below(2) === 0 ? datagram : cut;
      came += whole.length;
      for (const { link, datagram: sent } of relay.datagram(whole, udp(ELSEWHERE))) {
        if (link.type === 'udp' && formatAddress(link.remote) === ELSEWHERE) went += sent.length;
      }
      expect(went, `seed ${seed}`).toBeLessThanOrEqual(came);
    }
    expect(went).toBeGreaterThan(0);
  });
});

describe('the grants of a relay', () => {
  it('have pinned bytes, the same whoever asks', () => {
    const grants = relayGrants(SECRET, pairOf(ALICE, BOB));
    expect(grants.map(({ channel }) => channel)).toEqual(['3131b9b889fe1da9', '64b47921273486f5']);
    expect(grants.map(({ proofKey }) => Buffer.from(proofKey).toString('hex'))).toEqual([
      'c9189520f8cd97df40363113525497a2',
      'f543afffe0c3a951cabfcd507038a31b',
    ]);
    expect(relayGrants(SECRET, pairOf(BOB, ALICE))).toEqual(grants);
  });

  it.each([
    ['another server', Buffer.alloc(32, 8), BOB],
    ['another session', SECRET, { ...BOB, session: session(2) }],
    ['another key', SECRET, { ...BOB, key: key('c') }],
    ['another name of the same key', SECRET, { ...BOB, name: 'bobby' }],
  ])('are others for %s', (_what, secret, friend) => {
    const known = relayGrants(SECRET, pairOf(ALICE, BOB)).map(({ channel }) => channel);
    for (const { channel } of relayGrants(secret, pairOf(ALICE, friend))) {
      expect(known).not.toContain(channel);
    }
  });
});
