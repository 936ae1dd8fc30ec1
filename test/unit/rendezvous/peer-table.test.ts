import { describe, expect, it } from 'vitest';
import { recordChecksum } from '../../../src/rendezvous/record-checksum.ts';
import { ReplicatedTable } from '../../../src/rendezvous/replicated-table.ts';
import { peerTableCompliance } from './peer-table-compliance.ts';
import { key, record, session } from './records.ts';

peerTableCompliance('a replicated table', () => new ReplicatedTable());

describe('the bounds of a replicated table', () => {
  it.each([
    ['records', { records: 1 }, record({ name: 'bob', owner: 'b' })],
    ['records of one owner', { recordsPerOwner: 1 }, record({ name: 'bob' })],
    ['keys of one name', { keysPerName: 1 }, record({ key: key('b'), owner: 'b' })],
    ['records of one peer', { recordsPerPeer: 1 }, record({ owner: 'b' })],
  ])('refuses more %s than allowed, but not a change', (_what, limits, refused) => {
    const table = new ReplicatedTable(limits);
    table.upsert(record());
    expect(table.upsert(refused)).toBe('full');
    expect(table.size).toBe(1);
    expect(table.upsert(record({ seq: 2 }))).toEqual(record());
    expect(table.digestOf('there')).toEqual({
      count: 1,
      checksum: recordChecksum({ ...record(), seq: 2 }),
    });
  });
});

describe('the checksum of a record', () => {
  it('is the start of the SHA-256 of session and sequence number', () => {
    // printf '%016x%032x%016x' 1 0 2 | xxd -r -p | sha256sum
    expect(recordChecksum({ session: session(1), seq: 2 }).toString(16)).toBe('f8273c03715e906b');
  });
});
