import type { PeerRecord } from './record.ts';
import { ToldFriends } from './told-friends.ts';

/** One peer's registration with this server. */
export interface RegisteredPeer {
  readonly id: number;
  record: PeerRecord;
  readonly told: ToldFriends;
}

/** The peers registered here, by the number of their registration, and by name, then key: one each. */
export class RegisteredPeers {
  readonly #byId = new Map<number, RegisteredPeer>();
  readonly #byName = new Map<string, Map<string, RegisteredPeer>>();
  readonly #namesOf = new Map<string, number>();
  #lastId = 0;

  get size(): number {
    return this.#byId.size;
  }

  /** Whoever was here by that name and key has been removed before. */
  add(record: PeerRecord): RegisteredPeer {
    const { name, key } = record;
    this.#lastId += 1;
    const peer: RegisteredPeer = { id: this.#lastId, record, told: new ToldFriends() };
    this.#byId.set(peer.id, peer);
    this.#namesOf.set(key, this.namesOf(key) + 1);
    const sameName = this.#byName.get(name) ?? new Map<string, RegisteredPeer>();
    this.#byName.set(name, sameName.set(key, peer));
    return peer;
  }

  remove({ id, record: { name, key } }: RegisteredPeer): void {
    if (!this.#byId.delete(id)) return;
    const left = this.namesOf(key) - 1;
    if (left > 0) this.#namesOf.set(key, left);
    else this.#namesOf.delete(key);
    const sameName = this.#byName.get(name);
    sameName?.delete(key);
    if (sameName?.size === 0) this.#byName.delete(name);
  }

  get(id: number): RegisteredPeer | undefined {
    return this.#byId.get(id);
  }

  find(name: string, key: string): RegisteredPeer | undefined {
    return this.#byName.get(name)?.get(key);
  }

  /** Everybody of that name, whatever their keys. */
  named(name: string): Iterable<RegisteredPeer> {
    return this.#byName.get(name)?.values() ?? [];
  }

  /** Under how many names a key waits here. */
  namesOf(key: string): number {
    return this.#namesOf.get(key) ?? 0;
  }
}
