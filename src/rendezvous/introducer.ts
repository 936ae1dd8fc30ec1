import { type Match, namedAt, outcomeOf } from './matching.ts';
import { NameHolders } from './name-holders.ts';
import type { PeerTable } from './peer-table.ts';
import type { Endpoint, PeerRecord, RecordKey, RecordUpdate, RecordWish, Wish } from './record.ts';
import { type RegisteredPeer, RegisteredPeers } from './registered-peers.ts';

/** The instant something happens at. */
export interface Moment {
  /** On the monotonic clock. */
  readonly now: number;
  /** By the calendar. */
  readonly wallClock: number;
}

/** What a peer says when it registers, checked by `readHello`; the key is proven by TLS. */
export interface Claim extends RecordKey {
  readonly loopback: boolean;
  readonly endpoint: Endpoint;
  readonly wishes: readonly Wish[];
}

/** Why a registration is refused. */
export type Refusal = 'name-taken' | 'replaced' | 'full' | 'key-full';

/** Why a registration ends from this side; `superseded`: the same process has connected again. */
export type Dismissal = 'name-taken' | 'replaced' | 'superseded';

export type IntroducerEffect =
  | {
      readonly type: 'push';
      readonly registration: number;
      readonly match: Match;
      /**
       * When the two had named each other, by the calendars of the servers that heard it; undefined
       * where this introduction is not their first.
       */
      readonly namedAt: number | undefined;
    }
  | {
      readonly type: 'conflict';
      readonly registration: number;
      readonly wish: Wish;
      readonly heldBy: string;
    }
  /** The registration is over; tell the peer why and close its connection. */
  | { readonly type: 'dismiss'; readonly registration: number; readonly reason: Dismissal }
  /** What this server owns has changed; tell the other servers. */
  | { readonly type: 'update'; readonly update: RecordUpdate };

/**
 * The heart of a rendezvous server: the peers registered here, the table of all, and who is told of
 * whom when either changes. Every event costs in the order of the wishes of the peer it is about,
 * however many others wait.
 *
 * Names: a stranger's name is refused at once while another key holds it (`NameHolders`), unless
 * somebody wishes for that name with exactly the stranger's key: then it is accepted, and matched by
 * key only, so that a squatter stands between nobody who know each other's keys. Of two sessions of
 * one name and key the newer replaces the older, wherever each is registered.
 */
export class Introducer {
  readonly #owner: string;
  readonly #table: PeerTable;
  readonly #holders: NameHolders;
  readonly #peers = new RegisteredPeers();
  readonly #namesPerKey: number;
  readonly #canRelay: (server: string) => boolean;
  #seq = 0;

  /**
   * @param owner the id of this server.
   * @param options.namesPerKey under how many names one key may wait here (default: any number).
   * @param options.canRelay whether a server relays, by its id, and always the same (default: none).
   */
  constructor(
    owner: string,
    table: PeerTable,
    options: {
      readonly namesPerKey?: number;
      readonly canRelay?: (server: string) => boolean;
    } = {},
  ) {
    this.#namesPerKey = options.namesPerKey ?? Infinity;
    this.#canRelay = options.canRelay ?? (() => false);
    this.#owner = owner;
    this.#table = table;
    this.#holders = new NameHolders(table);
  }

  /** How many peers are registered here. */
  get registered(): number {
    return this.#peers.size;
  }

  /** The number of the last change to what this server owns. */
  get seq(): number {
    return this.#seq;
  }

  /** Registers a peer. Its record is in the table when this returns; nothing has changed if refused. */
  register(
    claim: Claim,
    { now, wallClock }: Moment,
  ):
    | { readonly registration: number; readonly effects: readonly IntroducerEffect[] }
    | { readonly refused: Refusal } {
    const { name, key, session, loopback, endpoint } = claim;
    const newest = this.#table.find(name, key)[0]?.session ?? '';
    if (newest > session) return { refused: 'replaced' };
    const holder = this.#holders.holderOf(name);
    const contested = holder !== undefined && holder !== key;
    if (contested && !this.#table.isWishedFor(name, key)) return { refused: 'name-taken' };

    const older = this.#peers.find(name, key);
    if (older === undefined && this.#peers.namesOf(key) >= this.#namesPerKey) {
      return { refused: 'key-full' };
    }
    const again = older?.record.session === session ? older.record : undefined;
    const wishes = new Map<string, RecordWish>();
    for (const wish of claim.wishes) {
      const before = again?.wishes.get(wish.friend);
      const since = before?.friendKey === wish.friendKey ? before?.since : undefined;
      wishes.set(wish.friend, { ...wish, since: since ?? wallClock });
    }
    const since = contested ? this.#holders.sinceAfterHolder(name, wallClock) : wallClock;
    const record: PeerRecord = {
      ...{ name, key, session, loopback, endpoint, wishes },
      owner: this.#owner,
      seq: this.#seq + 1,
      since: again?.since ?? since,
    };
    const previous = this.#table.upsert(record);
    if (previous === 'full') return { refused: 'full' };
    this.#seq += 1;

    const effects: IntroducerEffect[] = [];
    effects.push({ type: 'update', update: { type: 'upsert', seq: record.seq, record } });
    if (older !== undefined) {
      const reason = again === undefined ? 'replaced' : 'superseded';
      effects.push({ type: 'dismiss', registration: older.id, reason });
      this.#peers.remove(older);
    }
    const registration = this.#peers.add(record);
    if (older !== undefined && again === undefined) this.#drop(older.record, now, effects);
    this.#entered(record, previous, now, effects);
    this.#evaluateAll(registration, effects);
    return { registration: registration.id, effects };
  }

  /**
   * Adds a wish, or changes the key it asks for. One that stands already is a question: the peer has
   * lost the friend it was told of, and is told again where the friend is, if it still is anywhere.
   */
  wish(id: number, wish: Wish, { now, wallClock }: Moment): readonly IntroducerEffect[] {
    const registration = this.#peers.get(id);
    const standing = registration?.record.wishes.get(wish.friend);
    if (
      registration !== undefined &&
      standing !== undefined &&
      standing.friendKey === wish.friendKey
    ) {
      const effects: IntroducerEffect[] = [];
      registration.told.forget(wish.friend);
      this.#evaluate(registration, wish.friend, effects);
      return effects.map((effect) =>
        effect.type === 'push' ? { ...effect, namedAt: undefined } : effect,
      );
    }
    return this.#change(id, now, (record) => {
      const wishes = new Map(record.wishes).set(wish.friend, { ...wish, since: wallClock });
      return { ...record, wishes };
    });
  }

  withdraw(id: number, friend: string, { now }: Moment): readonly IntroducerEffect[] {
    this.#peers.get(id)?.told.forget(friend);
    return this.#change(id, now, (record) => {
      if (!record.wishes.has(friend)) return record;
      const wishes = new Map(record.wishes);
      wishes.delete(friend);
      return { ...record, wishes };
    });
  }

  /** The peer's addresses or credentials have changed. */
  move(id: number, endpoint: Endpoint, loopback: boolean, at: Moment): readonly IntroducerEffect[] {
    return this.#change(id, at.now, (record) => ({ ...record, endpoint, loopback }));
  }

  /** The peer's connection is gone: so is its record. */
  leave(id: number, { now }: Moment): readonly IntroducerEffect[] {
    const registration = this.#peers.get(id);
    if (registration === undefined) return [];
    const effects: IntroducerEffect[] = [];
    this.#peers.remove(registration);
    this.#drop(registration.record, now, effects);
    return effects;
  }

  /** What the peer has registered as; undefined once it is gone. */
  recordOf(id: number): PeerRecord | undefined {
    return this.#peers.get(id)?.record;
  }

  /** The servers, by their ids, that the peer is registered with, of its newest session only. */
  ownersOf({ name, key, session }: RecordKey): readonly string[] {
    return this.#table
      .find(name, key)
      .filter((record) => record.session === session)
      .map(({ owner }) => owner);
  }

  /** The registrations here of peers that are registered with this other server too. */
  sharedWith(server: string): readonly number[] {
    return this.#table.snapshotOf(server).flatMap(({ name, key, session }) => {
      const here = this.#peers.find(name, key);
      return here?.record.session === session ? [here.id] : [];
    });
  }

  /** The registration here under `name` that was told of `peer`, and what it was told. */
  introducedTo(
    peer: RecordKey,
    name: string,
  ): { readonly registration: number; readonly match: Match } | undefined {
    for (const { id, told } of this.#peers.named(name)) {
      const match = told.matchWith(peer.name);
      if (match?.friendKey === peer.key && match.friendSession === peer.session) {
        return { registration: id, match };
      }
    }
    return undefined;
  }

  /** Another server has written a record of its own. */
  upsertRemote(record: PeerRecord, { now }: Moment): readonly IntroducerEffect[] {
    if (record.owner === this.#owner) return [];
    const previous = this.#table.upsert(record);
    if (previous === 'full') return [];
    const effects: IntroducerEffect[] = [];
    this.#entered(record, previous, now, effects);
    // Who relays for a peer here depends on its registrations elsewhere.
    const here = this.#peers.find(record.name, record.key);
    if (here?.record.session === record.session) this.#evaluateAll(here, effects);
    return effects;
  }

  /** Another server has removed a record of its own. */
  removeRemote(owner: string, key: RecordKey, { now }: Moment): readonly IntroducerEffect[] {
    if (owner === this.#owner) return [];
    const effects: IntroducerEffect[] = [];
    const removed = this.#table.remove(owner, key);
    if (removed !== undefined) this.#left(removed, now, effects);
    return effects;
  }

  /** Another server owns these records and no others. */
  retainRemote(owner: string, records: readonly RecordKey[], at: Moment): IntroducerEffect[] {
    const kept = new Set(records.map(({ name, key, session }) => session + key + name));
    return this.#table
      .snapshotOf(owner)
      .filter(({ name, key, session }) => !kept.has(session + key + name))
      .flatMap((record) => this.removeRemote(owner, record, at));
  }

  /** Another server is gone, and with it what it owned. */
  purge(owner: string, { now }: Moment): readonly IntroducerEffect[] {
    if (owner === this.#owner) return [];
    const effects: IntroducerEffect[] = [];
    for (const record of this.#table.purgeOwner(owner)) this.#left(record, now, effects);
    return effects;
  }

  /** Everything this server owns. */
  snapshot(): readonly PeerRecord[] {
    return this.#table.snapshotOf(this.#owner);
  }

  #change(
    id: number,
    now: number,
    change: (record: PeerRecord) => PeerRecord,
  ): readonly IntroducerEffect[] {
    const registration = this.#peers.get(id);
    if (registration === undefined) return [];
    const changed = change(registration.record);
    if (changed === registration.record) return [];
    this.#seq += 1;
    const record = { ...changed, seq: this.#seq };
    const previous = registration.record;
    registration.record = record;
    this.#table.upsert(record);
    const effects: IntroducerEffect[] = [
      { type: 'update', update: { type: 'upsert', seq: record.seq, record } },
    ];
    this.#entered(record, previous, now, effects);
    this.#evaluateAll(registration, effects);
    return effects;
  }

  /** Removes an own record from the table and says so. */
  #drop(record: PeerRecord, now: number, effects: IntroducerEffect[]): void {
    if (this.#table.remove(this.#owner, record) === undefined) return;
    this.#seq += 1;
    const { name, key, session } = record;
    const update = { type: 'remove', seq: this.#seq, key: { name, key, session } } as const;
    effects.push({ type: 'update', update });
    this.#left(record, now, effects);
  }

  #entered(
    record: PeerRecord,
    previous: PeerRecord | undefined,
    now: number,
    effects: IntroducerEffect[],
  ): void {
    const { name, key } = record;
    const displaced = this.#holders.entered(record, now);
    const here = this.#peers.find(name, key);
    if (here !== undefined && here.record.session < record.session) {
      this.#dismiss(here, 'replaced', now, effects);
    }
    if (displaced !== undefined) this.#displace(name, displaced, now, effects);
    this.#evaluateAround(record, effects);
    if (previous !== undefined) this.#evaluateAround(previous, effects, record.wishes);
  }

  #left(record: PeerRecord, now: number, effects: IntroducerEffect[]): void {
    const holder = this.#holders.left(record, now);
    this.#evaluateAround(record, effects);
    // An older or another registration of the same peer may count from now on.
    this.#evaluatePeer(record.name, record.key, effects);
    if (holder !== undefined) this.#evaluatePeer(record.name, holder, effects);
  }

  /** `key` has lost `name` to a registration that crossed its own. */
  #displace(name: string, key: string, now: number, effects: IntroducerEffect[]): void {
    const loser = this.#peers.find(name, key);
    if (loser !== undefined && !this.#table.isWishedFor(name, key)) {
      this.#dismiss(loser, 'name-taken', now, effects);
    } else {
      this.#evaluatePeer(name, key, effects);
    }
  }

  #dismiss(
    registration: RegisteredPeer,
    reason: Dismissal,
    now: number,
    effects: IntroducerEffect[],
  ): void {
    this.#peers.remove(registration);
    effects.push({ type: 'dismiss', registration: registration.id, reason });
    this.#drop(registration.record, now, effects);
  }

  /** Every wish that the peer, or anybody here for it, may have to be told about. */
  #evaluatePeer(name: string, key: string, effects: IntroducerEffect[]): void {
    for (const record of this.#table.find(name, key)) this.#evaluateAround(record, effects);
    const here = this.#peers.find(name, key);
    if (here !== undefined) this.#evaluateAll(here, effects);
  }

  /** What those registered here for whom `record` wishes, apart from `known`, are to be told. */
  #evaluateAround(
    record: PeerRecord,
    effects: IntroducerEffect[],
    known?: ReadonlyMap<string, unknown>,
  ): void {
    for (const friend of record.wishes.keys()) {
      if (known?.has(friend) === true) continue;
      for (const registration of this.#peers.named(friend)) {
        this.#evaluate(registration, record.name, effects);
      }
    }
  }

  #evaluateAll(registration: RegisteredPeer, effects: IntroducerEffect[]): void {
    for (const friend of registration.record.wishes.keys()) {
      this.#evaluate(registration, friend, effects);
    }
  }

  #evaluate(registration: RegisteredPeer, friend: string, effects: IntroducerEffect[]): void {
    const { id, record, told } = registration;
    const outcome = outcomeOf(this.#table, this.#holders, record, friend, this.#canRelay);
    const news = told.news(friend, outcome);
    if (news?.kind === 'match') {
      const { match, first } = news;
      const since = first ? namedAt(this.#table, record, match) : undefined;
      effects.push({ type: 'push', registration: id, match, namedAt: since });
    } else if (news?.kind === 'conflict') {
      const { wish, heldBy } = news;
      effects.push({ type: 'conflict', registration: id, wish, heldBy });
    }
  }
}
