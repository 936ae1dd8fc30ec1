import type { PeerTable, TableDigest } from './peer-table.ts';
import { type PeerRecord, type RecordKey, sameRecordKey } from './record.ts';
import { ownerChecksum, recordChecksum } from './record-checksum.ts';

export interface TableLimits {
  /** Records of all owners (default 1,000,000; one with four addresses takes 1.8 KB). */
  readonly records: number;
  /** Records of one owner (default 200,000). */
  readonly recordsPerOwner: number;
  /** Keys under which one name may wait (default 4,096). */
  readonly keysPerName: number;
  /** Records of one name and key, over all owners and sessions (default 64). */
  readonly recordsPerPeer: number;
}

const DEFAULT_LIMITS: TableLimits = {
  records: 1_000_000,
  recordsPerOwner: 200_000,
  keysPerName: 4_096,
  recordsPerPeer: 64,
};

interface OwnerRecords {
  readonly records: Map<string, PeerRecord>;
  checksum: bigint;
}

/** A table held whole in memory, as every server holds it. */
export class ReplicatedTable implements PeerTable {
  readonly #limits: TableLimits;
  readonly #byName = new Map<string, Map<string, PeerRecord[]>>();
  readonly #byOwner = new Map<string, OwnerRecords>();
  /** How many records wish for a name with a key, by `keyedWish`. */
  readonly #keyedWishes = new Map<string, number>();
  #size = 0;

  constructor(limits: Partial<TableLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
  }

  get size(): number {
    return this.#size;
  }

  get checksum(): bigint {
    let checksum = 0n;
    for (const owner of this.#byOwner.keys())
      checksum ^= ownerChecksum(owner, this.digestOf(owner));
    return checksum;
  }

  upsert(record: PeerRecord): PeerRecord | 'full' | undefined {
    const previous = this.get(record.owner, record);
    if (previous === undefined && !this.#hasRoomFor(record)) return 'full';
    if (previous !== undefined) this.#drop(previous);
    this.#add(record);
    return previous;
  }

  remove(owner: string, key: RecordKey): PeerRecord | undefined {
    const record = this.get(owner, key);
    if (record !== undefined) this.#drop(record);
    return record;
  }

  purgeOwner(owner: string): readonly PeerRecord[] {
    const records = this.snapshotOf(owner);
    for (const record of records) this.#drop(record);
    return records;
  }

  snapshotOf(owner: string): readonly PeerRecord[] {
    return [...(this.#byOwner.get(owner)?.records.values() ?? [])];
  }

  get(owner: string, key: RecordKey): PeerRecord | undefined {
    return this.#byOwner.get(owner)?.records.get(idOf(key));
  }

  find(name: string, key: string): readonly PeerRecord[] {
    const records = this.#byName.get(name)?.get(key) ?? [];
    let newest = '';
    for (const { session } of records) if (session > newest) newest = session;
    return records.filter(({ session }) => session === newest);
  }

  keysOf(name: string): Iterable<string> {
    return this.#byName.get(name)?.keys() ?? [];
  }

  isWishedFor(name: string, key: string): boolean {
    return this.#keyedWishes.has(keyedWish(name, key));
  }

  digestOf(owner: string): TableDigest {
    const held = this.#byOwner.get(owner);
    return { count: held?.records.size ?? 0, checksum: held?.checksum ?? 0n };
  }

  #hasRoomFor(record: PeerRecord): boolean {
    const owned = this.#byOwner.get(record.owner)?.records.size ?? 0;
    const keys = this.#byName.get(record.name);
    const peers = keys?.get(record.key);
    return (
      this.#size < this.#limits.records &&
      owned < this.#limits.recordsPerOwner &&
      (peers !== undefined || (keys?.size ?? 0) < this.#limits.keysPerName) &&
      (peers?.length ?? 0) < this.#limits.recordsPerPeer
    );
  }

  #add(record: PeerRecord): void {
    const owned = getOrMake(this.#byOwner, record.owner, () => ({
      records: new Map<string, PeerRecord>(),
      checksum: 0n,
    }));
    owned.records.set(idOf(record), record);
    owned.checksum ^= recordChecksum(record);
    const keys = getOrMake(this.#byName, record.name, () => new Map<string, PeerRecord[]>());
    getOrMake(keys, record.key, () => []).push(record);
    for (const { friend, friendKey } of record.wishes.values()) {
      if (friendKey === undefined) continue;
      const wished = keyedWish(friend, friendKey);
      this.#keyedWishes.set(wished, (this.#keyedWishes.get(wished) ?? 0) + 1);
    }
    this.#size += 1;
  }

  #drop(record: PeerRecord): void {
    const owned = this.#byOwner.get(record.owner);
    if (owned?.records.delete(idOf(record)) !== true) return;
    owned.checksum ^= recordChecksum(record);
    if (owned.records.size === 0) this.#byOwner.delete(record.owner);
    this.#dropFromName(record);
    for (const { friend, friendKey } of record.wishes.values()) {
      if (friendKey === undefined) continue;
      const wished = keyedWish(friend, friendKey);
      const count = this.#keyedWishes.get(wished) ?? 0;
      if (count > 1) this.#keyedWishes.set(wished, count - 1);
      else this.#keyedWishes.delete(wished);
    }
    this.#size -= 1;
  }

  #dropFromName(record: PeerRecord): void {
    const keys = this.#byName.get(record.name);
    const peers = keys?.get(record.key);
    if (keys === undefined || peers === undefined) return;
    const at = peers.findIndex(
      (other) => other.owner === record.owner && sameRecordKey(other, record),
    );
    if (at >= 0) peers.splice(at, 1);
    if (peers.length === 0) keys.delete(record.key);
    if (keys.size === 0) this.#byName.delete(record.name);
  }
}

function idOf({ name, key, session }: RecordKey): string {
  // The session and the key have fixed lengths, so that no name can make two ids one.
  return session + key + name;
}

function keyedWish(name: string, key: string): string {
  return key + name;
}

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const held = map.get(key);
  if (held !== undefined) return held;
  const made = make();
  map.set(key, made);
  return made;
}
