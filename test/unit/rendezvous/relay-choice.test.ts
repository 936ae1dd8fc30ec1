import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Match, outcomeOf } from '../../../src/rendezvous/matching.ts';
import { NameHolders } from '../../../src/rendezvous/name-holders.ts';
import type { PeerRecord } from '../../../src/rendezvous/record.ts';
import { ReplicatedTable } from '../../../src/rendezvous/replicated-table.ts';
import { RelayServers } from '../../../src/rendezvous/relay-servers.ts';
import { addressFromWire } from '../../../src/rpc/wire-address.ts';
import { key, record } from './records.ts';

const SERVERS = ['s1', 's2', 's3', 's4'];

/** What the server of `own` makes of it, holding all of these records. */
function matchOf(
  records: readonly PeerRecord[],
  own: PeerRecord,
  canRelay: (server: string) => boolean = () => true,
): Match | undefined {
  const table = new ReplicatedTable();
  const holders = new NameHolders(table);
  for (const each of records) {
    table.upsert(each);
    holders.entered(each, 0);
  }
  const friend = own.name === 'alice' ? 'bob' : 'alice';
  const outcome = outcomeOf(table, holders, own, friend, canRelay);
  return outcome.kind === 'match' ? outcome.match : undefined;
}

function alice(owner: string, wishedAt: number, relayRefused = false): PeerRecord {
  const endpoint = { ...record().endpoint, relayRefused };
  return record({ owner, wishedAt, endpoint });
}

function bob(owner: string, wishedAt: number): PeerRecord {
  return record({ ...{ name: 'bob', key: key('b'), for: ['alice'] }, owner, wishedAt });
}

describe('the relays of a match', () => {
  it('are the first server of who came second, then the first one of who waited', () => {
    const records = [
      ...[alice('s1', 1_000), alice('s2', 1_100)],
      ...[bob('s4', 9_100), bob('s3', 9_000)],
    ];
    expect(matchOf(records, alice('s2', 1_100))?.relays).toEqual(['s3', 's1']);
  });

  it('are one where both have the same', () => {
    const records = [alice('s1', 1_000), bob('s2', 9_100), bob('s1', 9_000)];
    expect(matchOf(records, alice('s1', 1_000))?.relays).toEqual(['s1']);
  });

  it('pass over servers that do not relay', () => {
    const records = [alice('s1', 1_000), bob('s3', 9_000), bob('s4', 9_100)];
    const relays = (off: string): readonly string[] | undefined =>
      matchOf(records, alice('s1', 1_000), (server) => server !== off)?.relays;
    expect(relays('s3')).toEqual(['s4', 's1']);
    expect(relays('s1')).toEqual(['s3']);
  });

  it('are none where one side refuses, on any of its servers', () => {
    const records = [alice('s1', 1_000), alice('s2', 1_000, true), bob('s3', 9_000)];
    expect(matchOf(records, alice('s1', 1_000))?.relays).toEqual([]);
    expect(matchOf(records, bob('s3', 9_000))?.relays).toEqual([]);
  });

  it('are where they say, or else where a load balancer sends peers', () => {
    const servers = new RelayServers();
    const place = { host: '203.0.113.9', port: 4433 };
    servers.know('s1', Buffer.alloc(32), [{ host: '0.0.0.0', port: 4433 }]);
    servers.know('s2', Buffer.alloc(32), [{ host: '203.0.113.2', port: 4433 }]);
    servers.know('s3', Buffer.alloc(31), [place]);
    servers.locate([
      { id: 's1', peerAddresses: [place] },
      { id: 's2', peerAddresses: [place] },
      { id: 's3', peerAddresses: [place] },
    ]);
    const offers = servers.offers(SERVERS, alice('s1', 0), bob('s2', 0));
    const told = offers.map(({ serverId, addresses }) => [
      serverId,
      addresses.map(addressFromWire),
    ]);
    expect(told).toEqual([
      ['s1', [place]],
      ['s2', [{ host: '203.0.113.2', port: 4433 }]],
    ]);
  });

  it('and the channels there are the same for both sides, on whatever servers they are', () => {
    const registrations = fc.uniqueArray(
      fc.record({ owner: fc.constantFrom(...SERVERS), at: fc.integer({ min: 0, max: 600 }) }),
      { minLength: 1, maxLength: 3, selector: ({ owner }) => owner },
    );
    const off = fc.subarray(SERVERS);
    const world = fc.record({ ofAlice: registrations, ofBob: registrations, off });
    const servers = new RelayServers();
    for (const [index, id] of SERVERS.entries()) servers.know(id, Buffer.alloc(32, index), []);
    let offered = 0;
    fc.assert(
      fc.property(world, fc.boolean(), ({ ofAlice, ofBob, off: deaf }, turned) => {
        const aliceRecords = ofAlice.map(({ owner, at }) => alice(owner, at));
        const bobRecords = ofBob.map(({ owner, at }) => bob(owner, at));
        const records = [...aliceRecords, ...bobRecords];
        // Records reach servers in any order.
        const others = turned ? records.toReversed() : records;
        const canRelay = (server: string): boolean => !deaf.includes(server);
        for (const a of aliceRecords) {
          for (const b of bobRecords) {
            const [one, other] = [matchOf(records, a, canRelay), matchOf(others, b, canRelay)];
            expect(one?.relays).toEqual(other?.relays);
            expect(one?.friendWasWaiting).not.toBe(other?.friendWasWaiting);
            const toAlice = servers.offers(one?.relays ?? [], a, b);
            const toBob = servers.offers(other?.relays ?? [], b, a);
            expect(toAlice.map(({ serverId }) => serverId)).toEqual(one?.relays);
            for (const [index, offer] of toAlice.entries()) {
              offered += 1;
              expect(offer.channel).not.toEqual(toBob[index]?.channel);
              expect(offer.proof).not.toEqual(toBob[index]?.proof);
            }
          }
        }
      }),
      { numRuns: 500 },
    );
    expect(offered).toBeGreaterThan(500);
  });
});
