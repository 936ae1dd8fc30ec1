import { describe, expect, it } from 'vitest';
import type { PeerTable } from '../../../src/rendezvous/peer-table.ts';
import { key, record, session } from './records.ts';

/**
 * What every peer table does, as tests: to be run against each implementation.
 * @param kind what it is called in the tests' names.
 * @param make an empty one.
 */
export function peerTableCompliance(kind: string, make: () => PeerTable): void {
  describe(kind, () => {
    it('finds a peer by name and key, on all servers it is registered with', () => {
      const table = make();
      const [here, there] = [record({ owner: 'a' }), record({ owner: 'b' })];
      expect(table.upsert(here)).toBeUndefined();
      expect(table.upsert(there)).toBeUndefined();
      expect(table.find('alice', key('a'))).toEqual([here, there]);
      expect(table.find('alice', key('b'))).toEqual([]);
      expect(table.find('bob', key('a'))).toEqual([]);
      expect(table.size).toBe(2);
    });

    it('finds the newest session only, and the older again when the newer is gone', () => {
      const table = make();
      const older = record({ owner: 'a', session: session(1) });
      const newer = record({ owner: 'b', session: session(2) });
      table.upsert(newer);
      table.upsert(older);
      expect(table.find('alice', key('a'))).toEqual([newer]);
      expect(table.remove('b', newer)).toBe(newer);
      expect(table.find('alice', key('a'))).toEqual([older]);
    });

    it('replaces a record of the same owner, name, key and session', () => {
      const table = make();
      const first = record({ seq: 1 });
      const second = record({ seq: 2, for: ['carol'] });
      table.upsert(first);
      expect(table.upsert(second)).toBe(first);
      expect(table.find('alice', key('a'))).toEqual([second]);
      expect(table.get('there', first)).toBe(second);
      expect(table.size).toBe(1);
    });

    it('purges one owner and leaves the records of others', () => {
      const table = make();
      const kept = record({ owner: 'b' });
      table.upsert(record({ owner: 'a' }));
      table.upsert(record({ owner: 'a', name: 'bob' }));
      table.upsert(kept);
      expect(table.purgeOwner('a')).toHaveLength(2);
      expect(table.purgeOwner('a')).toEqual([]);
      expect(table.snapshotOf('b')).toEqual([kept]);
      expect(table.find('alice', key('a'))).toEqual([kept]);
      expect(table.size).toBe(1);
    });

    it('knows under which keys a name waits', () => {
      const table = make();
      table.upsert(record());
      table.upsert(record({ key: key('b') }));
      expect([...table.keysOf('alice')].sort()).toEqual([key('a'), key('b')]);
      table.remove('there', record());
      expect([...table.keysOf('alice')]).toEqual([key('b')]);
      expect([...table.keysOf('nobody')]).toEqual([]);
    });

    it('knows whether somebody wishes for a name with a key, as long as one does', () => {
      const table = make();
      const first = record({ name: 'bob', for: ['alice=a', 'carol'] });
      const second = record({ name: 'dave', for: ['alice=a'] });
      table.upsert(first);
      table.upsert(second);
      expect(table.isWishedFor('alice', key('a'))).toBe(true);
      expect(table.isWishedFor('alice', key('b'))).toBe(false);
      expect(table.isWishedFor('carol', key('a'))).toBe(false);
      table.remove('there', first);
      expect(table.isWishedFor('alice', key('a'))).toBe(true);
      table.upsert({ ...second, wishes: new Map() });
      expect(table.isWishedFor('alice', key('a'))).toBe(false);
    });

    it('has equal digests for equal records, in whatever order they came', () => {
      const [one, other] = [make(), make()];
      const records = [
        record(),
        record({ name: 'bob', seq: 2 }),
        record({ key: key('b'), seq: 3 }),
      ];
      for (const each of records) one.upsert(each);
      other.upsert(record({ name: 'zoe', seq: 9 }));
      for (const each of records.toReversed()) other.upsert(each);
      expect(other.digestOf('there')).not.toEqual(one.digestOf('there'));
      other.remove('there', record({ name: 'zoe' }));
      expect(other.digestOf('there')).toEqual(one.digestOf('there'));
      one.purgeOwner('there');
      expect(one.digestOf('there')).toEqual({ count: 0, checksum: 0n });
    });

    it('has equal checksums for equal tables, whoever owns what in them', () => {
      const [one, other] = [make(), make()];
      // The same peer, told by two owners in records that are otherwise alike.
      const records = [record({ owner: 'a' }), record({ owner: 'b' }), record({ name: 'bob' })];
      for (const each of records) one.upsert(each);
      for (const each of records.toReversed()) other.upsert(each);
      expect(one.checksum).not.toBe(0n);
      expect(other.checksum).toBe(one.checksum);
      other.purgeOwner('b');
      expect(other.checksum).not.toBe(one.checksum);
      other.upsert(record({ owner: 'c' }));
      expect(other.checksum).not.toBe(one.checksum);
      for (const owner of ['a', 'c', 'there']) other.purgeOwner(owner);
      expect(other.checksum).toBe(0n);
    });

    it('does not change when a record is removed that it has not', () => {
      const table = make();
      table.upsert(record());
      expect(table.remove('elsewhere', record())).toBeUndefined();
      expect(table.remove('there', record({ session: session(2) }))).toBeUndefined();
      expect(table.size).toBe(1);
    });
  });
}
