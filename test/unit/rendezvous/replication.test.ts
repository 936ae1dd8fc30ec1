import { describe, expect, it } from 'vitest';
import { type Member, memberToWire } from '../../../src/rendezvous/member.ts';
import type { PeerRecord, RecordUpdate } from '../../../src/rendezvous/record.ts';
import { recordToWire, updateToWire } from '../../../src/rendezvous/record-codec.ts';
import { ReplicatedTable } from '../../../src/rendezvous/replicated-table.ts';
import { type ReplicationEffect, ReplicationSession } from '../../../src/rendezvous/replication.ts';
import { ReplicationFrame } from '../../../src/rpc/generated/chatty/v1/replication.ts';
import { OWN_PROTOCOL } from '../../../src/rpc/protocol.ts';
import { record } from './records.ts';

const ID = 'a'.repeat(32);
const THERE: Member = {
  id: ID,
  incarnation: 1,
  peerAddresses: [],
  clusterAddresses: [{ host: '192.0.2.1', port: 50051 }],
  certificate: Buffer.from([1]),
};

/** A server that owns `own`, and one end of its stream to another. */
class Side {
  readonly held = new ReplicatedTable();
  own: PeerRecord[];
  seq: number;
  readonly session: ReplicationSession;

  constructor(own: PeerRecord[] = []) {
    this.own = own;
    this.seq = own.length;
    this.session = new ReplicationSession(
      {
        hello: () => ({
          protocol: OWN_PROTOCOL,
          member: memberToWire(THERE),
          members: [],
          relaySecret: Buffer.alloc(0),
        }),
        snapshot: () => this.own,
        seq: () => this.seq,
        ownDigest: () => {
          const table = new ReplicatedTable();
          for (const each of this.own) table.upsert(each);
          return table.digestOf(ID);
        },
        digestOf: (owner) => this.held.digestOf(owner),
        unreachable: () => ['b'.repeat(32)],
      },
      0,
    );
  }

  /** Changes what it owns, by one more record. */
  add(name: string): RecordUpdate {
    this.seq += 1;
    const added = record({ owner: ID, name, seq: this.seq });
    this.own = [...this.own, added];
    const update: RecordUpdate = { type: 'upsert', seq: this.seq, record: added };
    this.session.changed(update);
    return update;
  }

  /** All there is to send now, as it arrives at the other end. */
  says(now = 0): ReplicationFrame[] {
    const frames: ReplicationFrame[] = [];
    for (;;) {
      const frame = this.session.next(now);
      if (frame === undefined) return frames;
      frames.push(ReplicationFrame.decode(ReplicationFrame.encode(frame).finish()));
    }
  }

  /** Takes what the other side says. @returns what that meant. */
  hears(frames: readonly ReplicationFrame[], now = 0): ReplicationEffect[] {
    return frames.flatMap((frame) => {
      const effects = this.session.receive(frame, now);
      for (const effect of effects) {
        if (effect.type === 'upsert') this.held.upsert(effect.record);
        if (effect.type === 'remove') this.held.remove(ID, effect.key);
      }
      return [...effects];
    });
  }
}

function kinds(frames: readonly ReplicationFrame[]): (string | undefined)[] {
  return frames.map(({ kind }) => kind?.$case);
}

function owned(count: number): PeerRecord[] {
  return Array.from({ length: count }, (_, index) =>
    record({ owner: ID, name: `peer ${index}`, seq: index + 1 }),
  );
}

describe('what a server says', () => {
  it('is a hello and everything it owns', () => {
    expect(kinds(new Side(owned(1)).says())).toEqual(['hello', 'snapshot']);
    expect(kinds(new Side().says())).toEqual(['hello', 'snapshot']);
  });

  it('comes in parts, of which the last says so', () => {
    const [, ...parts] = new Side(owned(250)).says();
    const lengths = parts.map(({ kind }) =>
      kind?.$case === 'snapshot' ? [kind.value.records.length, kind.value.last] : [],
    );
    expect(lengths).toEqual([
      [100, false],
      [100, false],
      [50, true],
    ]);
  });

  it('goes on with every change, in batches', () => {
    const side = new Side();
    side.says();
    for (let index = 0; index < 150; index++) side.add(`peer ${index}`);
    expect(kinds(side.says())).toEqual(['updates', 'updates']);
    expect(side.says()).toEqual([]);
  });

  it('includes who is unreachable, every two seconds, however much else there is', () => {
    const side = new Side();
    side.says();
    side.add('peer');
    expect(kinds(side.says(1_999))).toEqual(['updates']);
    side.add('another');
    expect(kinds(side.says(2_000))).toEqual(['reachReport', 'updates']);
    expect(side.session.nextDeadline()).toBe(4_000);
  });

  it('includes a digest every thirty seconds', () => {
    const side = new Side(owned(2));
    side.says();
    expect(kinds(side.says(29_999))).not.toContain('digest');
    expect(kinds(side.says(30_000))).toContain('digest');
  });

  it('includes first flights, behind the record they are of, and no longer than a second', () => {
    const [there, here] = [new Side(), new Side()];
    here.hears(there.says());
    const from = record({ owner: ID, name: 'alice' });
    const flight = { friend: 'bob', datagrams: [Buffer.alloc(100, 0xc0)] };
    there.session.pass(from, flight, 0);
    there.add('alice');
    const frames = there.says(1_000 - 1);
    expect(kinds(frames)).toEqual(['updates', 'passedFlight']);
    const { name, key, session } = from;
    expect(here.hears(frames).at(-1)).toEqual({
      type: 'flight',
      from: { name, key, session },
      flight,
    });
    there.session.pass(from, flight, 1_000);
    expect(kinds(there.says(2_000))).toEqual(['reachReport']);
    for (let count = 0; count < 1_000; count++) there.session.pass(from, flight, 3_000);
    expect(there.says(3_000)).toHaveLength(256);
  });

  it('becomes a snapshot again when the stream is too slow for the changes', () => {
    const side = new Side();
    side.says();
    for (let index = 0; index < 10_001; index++) side.add('peer');
    expect(new Set(kinds(side.says()))).toEqual(new Set(['snapshot']));
  });
});

describe('what a server hears', () => {
  it('fills its table: all of the snapshot, then the changes', () => {
    const [there, here] = [new Side(owned(250)), new Side()];
    const effects = here.hears(there.says());
    expect(effects[0]).toMatchObject({ type: 'linked', member: THERE });
    const last = effects.at(-1);
    expect(last?.type === 'retain' && last.records).toHaveLength(250);
    there.add('one more');
    here.hears(there.says());
    expect(here.held.size).toBe(251);
  });

  it('is known with the time of the first of its changes, for the figures', () => {
    const [there, here] = [new Side(), new Side()];
    here.hears(there.says());
    there.session.changed({ type: 'upsert', seq: 1, record: record() }, 1_700_000_000_000.4);
    there.session.changed({ type: 'upsert', seq: 2, record: record() }, 1_700_000_000_007);
    expect(here.hears(there.says()).at(-1)).toEqual({
      type: 'heard',
      firstMadeAt: 1_700_000_000_000,
    });
  });

  it('does not change by what it has heard before', () => {
    const [there, here] = [new Side(), new Side()];
    here.hears(there.says());
    there.add('peer');
    const frames = there.says();
    expect(here.hears(frames)).toHaveLength(1);
    expect(here.hears(frames)).toEqual([]);
  });

  it('makes it ask for a snapshot when a change is missing, once, and ignore what follows', () => {
    const [there, here] = [new Side(), new Side()];
    here.hears(there.says());
    here.says();
    there.add('lost');
    there.says();
    there.add('arrived');
    expect(here.hears(there.says())).toEqual([]);
    there.add('too early');
    expect(here.hears(there.says())).toEqual([]);
    const question = here.says();
    expect(kinds(question)).toEqual(['snapshotRequest']);
    there.hears([{ kind: { $case: 'hello', value: helloOf(THERE) } }, ...question]);
    here.hears(there.says());
    expect(here.held.size).toBe(3);
  });

  it('makes it ask for a snapshot when the digest is another, but not for ever', () => {
    const [there, here] = [new Side(owned(2)), new Side()];
    here.hears(there.says());
    here.says();
    here.held.remove(ID, record({ name: 'peer 0' }));
    here.hears(there.says(30_000), 30_000);
    expect(kinds(here.says(30_000))).toContain('snapshotRequest');
    here.hears(there.says(60_000), 31_000);
    expect(kinds(here.says(31_000))).not.toContain('snapshotRequest');
  });

  it('makes it ask again at the next digest, though that was less long on its way', () => {
    const [there, here] = [new Side(owned(2)), new Side()];
    here.hears(there.says());
    here.held.remove(ID, record({ name: 'peer 0' }));
    here.hears(there.says(30_000), 30_060);
    there.hears(here.says(30_060), 30_120);
    here.hears(there.says(30_120), 30_180);
    here.held.remove(ID, record({ name: 'peer 1' }));
    here.hears(there.says(60_000), 60_001);
    expect(kinds(here.says(60_001))).toContain('snapshotRequest');
  });

  it('makes it ask at a digest, though it has just asked because a change was missing', () => {
    const [there, here] = [new Side(owned(2)), new Side()];
    here.hears(there.says());
    there.add('lost');
    there.says();
    there.add('next');
    here.hears(there.says(), 29_000);
    there.hears(here.says(29_000), 29_001);
    here.hears(there.says(29_001), 29_002);
    expect(here.held.size).toBe(4);
    here.held.remove(ID, record({ name: 'peer 1' }));
    here.hears(there.says(30_000), 30_001);
    expect(kinds(here.says(30_001))).toContain('snapshotRequest');
  });

  it('leaves it in peace while the digest is the same', () => {
    const [there, here] = [new Side(owned(3)), new Side()];
    here.hears(there.says());
    here.hears(there.says(30_000), 30_000);
    expect(kinds(here.says(30_000))).not.toContain('snapshotRequest');
  });

  it('closes a stream on which nothing is heard for five seconds', () => {
    const side = new Side();
    expect(side.session.tick(4_999)).toEqual([]);
    expect(side.session.tick(5_000)).toMatchObject([{ type: 'close' }]);
    expect(side.says(5_000)).toEqual([]);
  });

  it.each([
    ['begins with anything but a hello', [{ $case: 'snapshotRequest', value: {} }]],
    ['says hello twice', [hello(THERE), hello(THERE)]],
    ['does not say who it is', [hello({ ...THERE, id: 'nobody' })]],
    ['speaks only a later version', [hello(THERE, 9)]],
    ['has called another server', [hello(THERE, 1, 'b'.repeat(32))]],
  ] as const)('closes a stream whose other side %s', (_what, said) => {
    const effects = new Side().hears(said.map((kind) => ({ kind })));
    expect(effects.at(-1)).toMatchObject({ type: 'close' });
  });

  it('goes on where the other side has called this server, or says nothing of that', () => {
    for (const wanted of [ID, '']) {
      expect(new Side().hears([{ kind: hello(THERE, 1, wanted) }])).toMatchObject([
        { type: 'linked', member: { id: ID } },
      ]);
    }
  });

  it('takes nothing from a record that cannot be', () => {
    const here = new Side();
    here.hears(new Side().says());
    const good = recordToWire(record({ owner: ID }));
    const bad = [
      { ...good, key: undefined },
      { ...good, endpoint: undefined },
      { ...good, key: { ...keyOf(good), name: 'a\u0000b' } },
      { ...good, key: { ...keyOf(good), key: Buffer.alloc(31) } },
      { ...good, key: { ...keyOf(good), session: undefined } },
      { ...good, seq: 2n ** 60n },
      { ...good, wishes: [{ wish: { friend: '', friendKey: Buffer.alloc(0) }, since: 0n }] },
    ];
    const updates = bad.map((value, index) => ({
      seq: BigInt(index + 1),
      change: { $case: 'upsert' as const, value },
    }));
    expect(
      here.hears([{ kind: { $case: 'updates', value: { updates, firstMadeAt: 0n } } }]),
    ).toEqual([]);
    const next = updateToWire({ type: 'upsert', seq: bad.length + 1, record: record() });
    const value = { updates: [next], firstMadeAt: 0n };
    const after = here.hears([{ kind: { $case: 'updates', value } }]);
    expect(after).toMatchObject([{ type: 'upsert', record: { owner: ID } }]);
  });

  it.each([
    ['of nobody', undefined, [Buffer.alloc(9, 0xc0)]],
    ['of nothing', record({ owner: ID }), []],
    ['of what is no QUIC', record({ owner: ID }), [Buffer.alloc(9, 1)]],
    ['too long', record({ owner: ID }), [Buffer.alloc(1_201, 0xc0)]],
  ])('takes no first flight %s', (_what, from, datagrams) => {
    const here = new Side();
    here.hears(new Side().says());
    const wire = from === undefined ? undefined : keyOf(recordToWire(from));
    const value = { from: wire, flight: { friend: 'bob', datagrams } };
    expect(here.hears([{ kind: { $case: 'passedFlight', value } }])).toEqual([]);
  });

  it('means nothing where the frame is of a later version', () => {
    const here = new Side();
    here.hears(new Side().says());
    expect(here.hears([{ kind: undefined }])).toEqual([]);
  });
});

function keyOf(wire: ReturnType<typeof recordToWire>): NonNullable<typeof wire.key> {
  if (wire.key === undefined) throw new Error('a record has a key');
  return wire.key;
}

function helloOf(member: Member, version = 1, wantedId = '') {
  const protocol = { ...OWN_PROTOCOL, lowestVersion: version, highestVersion: version };
  const relaySecret = Buffer.alloc(0);
  return { protocol, member: memberToWire(member), members: [], wantedId, relaySecret };
}

function hello(member: Member, version = 1, wantedId = '') {
  return { $case: 'hello' as const, value: helloOf(member, version, wantedId) };
}
