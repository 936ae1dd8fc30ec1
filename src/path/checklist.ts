import { type Address, familyOf, sameAddress, scopeOf } from '../base/address.ts';
import { type Candidate, isLoopback, MAX_CANDIDATES, unique } from './candidate.ts';
import { admitFromServer, isSafeTarget, type OwnSituation } from './candidate-rules.ts';
import { CandidatePair } from './candidate-pair.ts';

/** How many addresses that only the friend's packets told of are kept. */
const MAX_LEARNED = 16;

/** More servers than offer themselves for one pair of peers. */
const MAX_RELAYS = 4;

/**
 * All pairs with one friend, by remote address and socket (RFC 8445 §6.1.2): at most 16 told, which
 * are checked from the peer's own socket, 16 learned, and the relays.
 */
export class Checklist implements Iterable<CandidatePair> {
  readonly #own: OwnSituation;
  readonly #pairs = new Map<string, CandidatePair>();
  readonly #relays = new Map<string, CandidatePair>();

  constructor(own: OwnSituation) {
    this.#own = own;
  }

  [Symbol.iterator](): Iterator<CandidatePair> {
    return [...this.#pairs.values(), ...this.#relays.values()].values();
  }

  get(remote: Address, local?: Address): CandidatePair | undefined {
    const key = keyOf(remote, local);
    return this.#pairs.get(key) ?? this.#relays.get(key);
  }

  /** Whether a server told of an address of the friend's on this computer or router. */
  tells(host: string): boolean {
    return this.#all().some(({ listed, kind, remote }) => {
      return listed && kind !== 'host' && remote.host === host;
    });
  }

  /** The pairs from one of our sockets that ports were guessed from. */
  from(local: Address): CandidatePair[] {
    return this.#all().filter((pair) => pair.local !== undefined && sameAddress(pair.local, local));
  }

  /** The socket is closed. @returns the pairs there were from it. */
  closeSocket(local: Address): CandidatePair[] {
    const pairs = this.from(local);
    for (const pair of pairs) this.#pairs.delete(keyOf(pair.remote, local));
    return pairs;
  }

  /** The pair of a relay, made if need be. @returns undefined where there are too many. */
  openRelay(remote: Address, now: number): CandidatePair | undefined {
    const known = this.#relays.get(keyOf(remote));
    if (known !== undefined) return known;
    // An address that a packet can come from would be taken for one that the friend is at.
    if (this.#relays.size >= MAX_RELAYS || isSafeTarget(remote)) return undefined;
    const pair = new CandidatePair({ kind: 'relay', address: remote }, true, now);
    this.#relays.set(keyOf(remote), pair);
    return pair;
  }

  closeRelay(remote: Address): CandidatePair | undefined {
    const pair = this.#relays.get(keyOf(remote));
    this.#relays.delete(keyOf(remote));
    return pair;
  }

  /**
   * Takes in what servers tell of the friend. The newest count; earlier ones stay as long as there
   * is room, for another server may have told of them.
   * @returns the pairs that are new.
   */
  tell(candidates: readonly Candidate[], now: number): CandidatePair[] {
    const earlier = this.#all()
      .filter(({ listed }) => listed)
      .map(({ kind, remote }): Candidate => ({ kind, address: remote }));
    const admitted = admitFromServer(candidates, this.#own);
    const listed = unique([...admitted, ...earlier]).slice(0, MAX_CANDIDATES);
    const kept = new Set(listed.map(({ address }) => keyOf(address)));
    for (const [key, pair] of this.#pairs) {
      if (!pair.listed || kept.has(key)) continue;
      pair.listed = false;
      if (!pair.answered) this.#pairs.delete(key);
    }
    const added: CandidatePair[] = [];
    for (const candidate of listed) {
      const pair = this.get(candidate.address);
      if (pair === undefined) {
        const created = new CandidatePair(candidate, true, now);
        this.#pairs.set(keyOf(candidate.address), created);
        added.push(created);
      } else if (!pair.listed) {
        pair.promote(candidate.kind);
        if (!pair.answered) added.push(pair);
      }
    }
    this.#makeRoom(MAX_LEARNED);
    return added;
  }

  /**
   * Every server is told the same addresses on the friend's LAN, and tells them: the friend has left
   * one that is not among them any more. A check asks whether that is so; until it is answered, any
   * other path is better.
   */
  doubtLeft(candidates: readonly Candidate[], now: number): void {
    const isOnLan = (address: Address): boolean => scopeOf(address.host) === 'private';
    const hosts = candidates.filter(({ kind, address }) => kind === 'host' && isOnLan(address));
    if (hosts.length === 0) return;
    for (const pair of this.#pairs.values()) {
      const isTold = hosts.some(({ address }) => sameAddress(address, pair.remote));
      if (pair.kind !== 'host' || !isOnLan(pair.remote) || isTold) continue;
      if (!pair.answered || pair.doubted) continue;
      pair.doubt();
      pair.dueAt = now;
    }
  }

  /**
   * The pair of an address that the friend was heard from (RFC 8445 §7.3.1.3), made if need be.
   * @returns undefined for an address that is nobody's to be reached at.
   */
  learn(remote: Address, now: number, local?: Address): CandidatePair | undefined {
    const known = this.get(remote, local);
    if (known !== undefined) return known;
    const candidate: Candidate = { kind: this.get(remote)?.kind ?? 'prflx', address: remote };
    if (!isSafeTarget(remote) || !this.#own.families.has(familyOf(remote))) return undefined;
    if (isLoopback(candidate) && !this.#own.onLoopback) return undefined;
    if (!this.#makeRoom(MAX_LEARNED - 1)) return undefined;
    const pair = new CandidatePair(candidate, false, now, local);
    this.#pairs.set(keyOf(remote, local), pair);
    return pair;
  }

  clear(): void {
    this.#pairs.clear();
    this.#relays.clear();
  }

  /** Gives up learned pairs, the one not heard from for longest first, but none that is answered. */
  #makeRoom(limit: number): boolean {
    const learned = this.#all().filter(({ listed }) => !listed);
    const idle = learned.filter(({ answered }) => !answered);
    idle.sort((a, b) => a.heardAt - b.heardAt);
    const excess = Math.max(0, learned.length - limit);
    for (const pair of idle.slice(0, excess)) this.#pairs.delete(keyOf(pair.remote, pair.local));
    return idle.length >= excess;
  }

  #all(): CandidatePair[] {
    return [...this.#pairs.values()];
  }
}

function keyOf({ host, port }: Address, local?: Address): string {
  return local === undefined ? `${host} ${port}` : `${host} ${port} ${local.host} ${local.port}`;
}
