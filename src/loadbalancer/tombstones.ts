import { setNewest } from '../base/newest.ts';

/** Late registrations arrive within a call's deadline; a minute is plenty. */
const KEEP_MS = 60_000;
/** More of them than this are not kept; the oldest gives way. */
const MAX_TOMBSTONES = 2_000;

interface Tombstone {
  readonly incarnation: bigint;
  readonly state: 'removed' | 'left';
  readonly at: number;
}

/**
 * Servers that are gone, kept so that a registration which was under way meanwhile does not bring
 * them back: after a goodbye only a newer incarnation may, after a removal also the same one.
 */
export class Tombstones {
  readonly #byId = new Map<string, Tombstone>();

  add(who: { id: string; incarnation: bigint }, state: Tombstone['state'], now: number): void {
    const before = this.#byId.get(who.id);
    // A goodbye is final for its incarnation; removing the server afterwards does not soften it.
    if (before !== undefined && before.incarnation >= who.incarnation && before.state === 'left') {
      return;
    }
    const tombstone = { incarnation: who.incarnation, state, at: now };
    setNewest(this.#byId, who.id, tombstone, MAX_TOMBSTONES);
  }

  /** Whether a registration of `who` comes too late. */
  forbids(who: { id: string; incarnation: bigint }, now: number): boolean {
    const tombstone = this.#byId.get(who.id);
    if (tombstone === undefined) return false;
    if (now - tombstone.at >= KEEP_MS) {
      this.#byId.delete(who.id);
      return false;
    }
    return tombstone.state === 'left'
      ? who.incarnation <= tombstone.incarnation
      : who.incarnation < tombstone.incarnation;
  }
}
