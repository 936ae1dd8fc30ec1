import type { PeerRecord, RecordKey } from './record.ts';

/** What one owner's records are, in short: equal for equal records. */
export interface TableDigest {
  readonly count: number;
  /** XOR of 8 bytes a record; see `recordChecksum`. */
  readonly checksum: bigint;
}

/**
 * Who waits, on all servers: each owner's records, written by that owner alone. A peer has a record
 * on each server it is registered with, at most one a session there, and is gone when its last one
 * is. Every operation takes constant time, apart from those that return many records.
 */
export interface PeerTable {
  /** How many records there are. */
  readonly size: number;

  /** XOR of 8 bytes an owner, see `ownerChecksum`: equal where tables are, 0 where they are empty. */
  readonly checksum: bigint;

  /**
   * Adds the record, or replaces the one of the same owner, name, key and session.
   * @returns the one replaced, or `full` where the owner, or this peer, has as many as it may have;
   * then nothing has changed.
   */
  upsert(record: PeerRecord): PeerRecord | 'full' | undefined;

  /** @returns the record removed; undefined if the owner had none such. */
  remove(owner: string, key: RecordKey): PeerRecord | undefined;

  /** Removes every record of the owner. @returns them. */
  purgeOwner(owner: string): readonly PeerRecord[];

  /** A copy of all that the owner holds, for a snapshot. */
  snapshotOf(owner: string): readonly PeerRecord[];

  /** The record of exactly this owner and session. */
  get(owner: string, key: RecordKey): PeerRecord | undefined;

  /** The peer's records on all servers, of its newest session only; empty if it is not waiting. */
  find(name: string, key: string): readonly PeerRecord[];

  /** The keys under which the name is waiting. */
  keysOf(name: string): Iterable<string>;

  /** Whether a record wishes for the name with exactly this key. */
  isWishedFor(name: string, key: string): boolean;

  digestOf(owner: string): TableDigest;
}
