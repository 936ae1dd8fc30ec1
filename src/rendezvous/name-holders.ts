import type { PeerTable } from './peer-table.ts';
import type { PeerRecord } from './record.ts';

/** A holder that has stood this long is never displaced by a registration that crossed its own. */
const SETTLED_AFTER_MS = 10_000;

interface Holder {
  key: string;
  /** The earliest `since` among the holder's records. */
  since: number;
  /** When this server first saw the name held by this key, by its monotonic clock. */
  readonly heldAt: number;
}

/**
 * Which key holds each name, as this server sees it. Who wishes for a name without a key is matched
 * with the holder only. A key that waits under a name held by another is *contested*: it is matched
 * only with those who wish for it by key.
 *
 * The first to come holds. Two that came at once on two servers, whose records crossed, are settled
 * alike on every server: the lower (since, key) holds; but a holder of 10 s stays, whatever another
 * server's calendar says. When the holder is gone, the lowest (since, key) of the rest holds.
 */
export class NameHolders {
  readonly #table: PeerTable;
  readonly #holders = new Map<string, Holder>();

  constructor(table: PeerTable) {
    this.#table = table;
  }

  holderOf(name: string): string | undefined {
    return this.#holders.get(name)?.key;
  }

  /** A time that lies after the holder's, for a record that knowingly comes second. */
  sinceAfterHolder(name: string, wallClock: number): number {
    const holder = this.#holders.get(name);
    return holder === undefined ? wallClock : Math.max(wallClock, holder.since + 1);
  }

  /**
   * A record has entered the table.
   * @returns the key that has lost the name to it, if one has.
   */
  entered(record: PeerRecord, now: number): string | undefined {
    const { name, key, since } = record;
    const holder = this.#holders.get(name);
    if (holder === undefined) {
      this.#holders.set(name, { key, since, heldAt: now });
      return undefined;
    }
    if (holder.key === key) {
      holder.since = Math.min(holder.since, since);
      return undefined;
    }
    const settled = now - holder.heldAt >= SETTLED_AFTER_MS;
    if (settled || !isBefore({ key, since }, holder)) return undefined;
    this.#holders.set(name, { key, since, heldAt: now });
    return holder.key;
  }

  /**
   * A record has left the table.
   * @returns the key that holds the name from now on, if that has changed.
   */
  left({ name, key }: PeerRecord, now: number): string | undefined {
    const holder = this.#holders.get(name);
    if (holder?.key !== key || this.#table.find(name, key).length > 0) return undefined;
    this.#holders.delete(name);
    let next: Holder | undefined;
    for (const other of this.#table.keysOf(name)) {
      const since = Math.min(...this.#table.find(name, other).map((record) => record.since));
      if (next === undefined || isBefore({ key: other, since }, next)) {
        next = { key: other, since, heldAt: now };
      }
    }
    if (next !== undefined) this.#holders.set(name, next);
    return next?.key;
  }
}

function isBefore(a: Pick<Holder, 'key' | 'since'>, b: Pick<Holder, 'key' | 'since'>): boolean {
  return a.since !== b.since ? a.since < b.since : a.key < b.key;
}
