import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  factsFromWire,
  factToWire,
  type Member,
  memberFromWire,
  memberToWire,
} from '../../../src/rendezvous/member.ts';
import type { PeerRecord } from '../../../src/rendezvous/record.ts';
import {
  endpointFromWire,
  endpointToWire,
  recordFromWire,
  recordToWire,
} from '../../../src/rendezvous/record-codec.ts';
import { sessionFromWire, sessionToWire } from '../../../src/rendezvous/session-order.ts';
import { SessionId } from '../../../src/rpc/generated/chatty/v1/common.ts';
import { Record as WireRecord } from '../../../src/rpc/generated/chatty/v1/replication.ts';
import { compareSessions } from '../../../src/rpc/session-id.ts';
import { key, record } from './records.ts';

const hex = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((raw) => Buffer.from(raw).toString('hex'));
const time = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const address = fc.record({
  host: fc.oneof(fc.constantFrom('192.0.2.1', '2001:db8::1', '10.0.0.1'), fc.constant('fd00::2')),
  port: fc.integer({ min: 1, max: 65535 }),
});
const wish = fc.record({
  friend: fc.constantFrom('bob', 'cléo', '名前'),
  friendKey: fc.option(hex(32), { nil: undefined }),
  since: time,
});
const records: fc.Arbitrary<PeerRecord> = fc.record({
  name: fc.constantFrom('alice', 'Zoë'),
  key: hex(32),
  session: hex(24),
  owner: fc.constant('there'),
  seq: time,
  since: time,
  loopback: fc.boolean(),
  endpoint: fc.record({
    candidates: fc.array(fc.record({ kind: fc.constantFrom('host', 'srflx', 'mapped'), address }), {
      maxLength: 16,
    }),
    ufrag: fc.constant('ab+/'),
    password: fc.constant('x'.repeat(22)),
    nat: fc.option(
      fc.record({
        mapping: fc.constantFrom('endpoint-independent', 'sequential', 'random'),
        step: fc.integer({ min: -65_535, max: 65_535 }),
        lastObserved: fc.option(address, { nil: undefined }),
        only443: fc.boolean(),
      }),
      { nil: undefined },
    ),
    relayRefused: fc.boolean(),
  }),
  wishes: fc
    .array(wish, { maxLength: 3 })
    .map((wishes) => new Map(wishes.map((each) => [each.friend, each]))),
});

describe('a record on the wire', () => {
  it('comes out as it went in', () => {
    fc.assert(
      fc.property(records, (each) => {
        const bytes = WireRecord.encode(recordToWire(each)).finish();
        expect(recordFromWire(WireRecord.decode(bytes), 'there')).toEqual(each);
      }),
      { numRuns: 300 },
    );
  });

  it('is whose it came from, whatever it says', () => {
    expect(recordFromWire(recordToWire(record({ owner: 'elsewhere' })), 'there')?.owner).toBe(
      'there',
    );
  });
});

describe('a session as text', () => {
  it('has the order of sessions', () => {
    fc.assert(
      fc.property(hex(24), hex(24), (a, b) => {
        const [one, other] = [sessionToWire(a), sessionToWire(b)];
        expect(Math.sign(compareSessions(one, other))).toBe(a === b ? 0 : a > b ? 1 : -1);
        const bytes = SessionId.encode(one).finish();
        expect(sessionFromWire(SessionId.decode(bytes))).toBe(a);
      }),
      { numRuns: 300 },
    );
  });
});

describe('an endpoint from the wire', () => {
  const good = endpointToWire(record().endpoint);

  it.each([
    ['a short name fragment', { ufrag: 'abc' }],
    ['a long name fragment', { ufrag: 'a'.repeat(33) }],
    ['a short password', { password: 'p'.repeat(21) }],
    ['a long password', { password: 'p'.repeat(65) }],
    ['characters that are none of ICE', { ufrag: 'ab:cd' }],
  ])('is none with %s', (_what, fault) => {
    expect(endpointFromWire({ ...good, ...fault })).toBeUndefined();
  });

  it('keeps sixteen candidates, and leaves out what is none', () => {
    const [candidate] = good.candidates;
    if (candidate === undefined) throw new Error('the example has a candidate');
    const none = { ...candidate, address: { ip: Buffer.alloc(5), port: 1 } };
    const unknown = { ...candidate, kind: 9 as unknown as typeof candidate.kind };
    const many = Array.from({ length: 40 }, () => candidate);
    const read = endpointFromWire({ ...good, candidates: [none, unknown, ...many] });
    expect(read?.candidates).toHaveLength(14);
  });
});

describe('a member on the wire', () => {
  const member: Member = {
    id: key('a').slice(0, 32),
    incarnation: 1_700_000_000_000,
    peerAddresses: [{ host: '192.0.2.1', port: 4433 }],
    clusterAddresses: [{ host: '2001:db8::1', port: 50051 }],
    certificate: Buffer.from([1, 2, 3]),
  };

  it('comes out as it went in, with its standing', () => {
    expect(memberFromWire(memberToWire(member))).toEqual(member);
    for (const standing of ['alive', 'removed', 'left'] as const) {
      expect(factsFromWire([factToWire({ member, standing })], 9)).toEqual([{ member, standing }]);
    }
  });

  it.each([
    ['an id that is none', { id: 'server' }],
    ['an id in capitals', { id: 'A'.repeat(32) }],
    ['a certificate without end', { certificate: Buffer.alloc(5_000) }],
    ['an incarnation beyond counting', { incarnation: 2n ** 63n }],
  ])('is none with %s', (_what, fault) => {
    expect(memberFromWire({ ...memberToWire(member), ...fault })).toBeUndefined();
  });

  it('loses the addresses that nobody can be reached at', () => {
    const clusterAddresses = [...member.clusterAddresses, { host: '0.0.0.0', port: 1 }];
    expect(memberFromWire(memberToWire({ ...member, clusterAddresses }))).toEqual(member);
  });

  it('counts only with a standing that is known, and up to a limit', () => {
    const facts = Array.from({ length: 5 }, () => factToWire({ member, standing: 'alive' }));
    expect(factsFromWire(facts, 3)).toHaveLength(3);
    const unknown = { member: memberToWire(member), state: 0 as const };
    expect(factsFromWire([unknown], 3)).toEqual([]);
  });
});
