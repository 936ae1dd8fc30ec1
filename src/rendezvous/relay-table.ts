import { timingSafeEqual } from 'node:crypto';
import { type Address, sameAddress } from '../base/address.ts';
import {
  encodeRelayFrame,
  readRelayFrame,
  type RelayFrame,
  type RelayLimit,
  relayProof,
  setRelayChannel,
} from '../path/relay-frame.ts';
import type { PeerTable } from './peer-table.ts';
import type { RecordKey } from './record.ts';
import { ByteRate, PairBudget, type RelayLimits } from './relay-budget.ts';
import { pairOf, relayGrants } from './relay-grants.ts';
import type { RelayLink } from './relay-link.ts';
import { RelaySide } from './relay-side.ts';

export interface RelayTableOptions {
  readonly limits: RelayLimits;
  /** 32 bytes, which only the servers of the cluster know. */
  readonly secret: Uint8Array;
  readonly table: PeerTable;
  /** Where a connection comes from at this moment; undefined: it is gone. */
  readonly linkOf: (connection: number) => RelayLink | undefined;
  readonly mintCookie: (source: Address, now: number) => Uint8Array;
  /** The address that a cookie of this server proves. */
  readonly checkCookie: (cookie: Uint8Array, now: number) => Address | undefined;
}

/** A datagram for a peer. */
export interface RelaySend {
  readonly link: RelayLink;
  readonly datagram: Uint8Array;
}

/** Why a frame came to nothing. */
export type RelayDrop = 'junk' | 'unknown' | 'forged' | 'unbound' | RelayLimit;

/** Gauges of now, and counters since the start. */
export interface RelayStats {
  readonly pairs: number;
  readonly relayedDatagrams: number;
  readonly relayedBytes: number;
  readonly dropped: Readonly<Record<RelayDrop, number>>;
  readonly binds: { readonly bound: number; readonly challenged: number };
}

interface Pair {
  readonly sides: readonly [RelaySide, RelaySide];
  readonly budget: PairBudget;
  usedAt: number;
  /** Since when the two do not wait for each other any more. */
  partedAt: number | undefined;
}

/** Of one session: more friends than that are not relayed at once. */
const PAIRS_PER_PEER = 64;
/** A pair used so recently never makes room for a new one. */
const IN_USE_MS = 10_000;
/** How long two who do not wait for each other any more are relayed on: a registration may be lost. */
const PARTED_MS = 60_000;
const SWEEP_EVERY_MS = 1_000;
const SWEEP_PAIRS = 1_000;
/** How often one side is told of a limit, at most. */
const LIMITED_EVERY_MS = 1_000;
const CHALLENGED_EVERY_MS = 250;

const NOTHING: readonly RelaySend[] = [];

/**
 * Who is relayed here: pairs of sessions that were introduced to each other, and what each may still
 * have. Frames go from a link that one side is bound to, to one that the other is, or nowhere: nothing
 * is kept, and no address gets more than came from it until it has proven that it is the side's.
 */
export class RelayTable {
  readonly #options: RelayTableOptions;
  readonly #rate: ByteRate;
  /** By the channel of the first side; the one used longest ago comes first, to the second. */
  readonly #pairs = new Map<string, Pair>();
  readonly #sides = new Map<string, { readonly pair: Pair; readonly index: 0 | 1 }>();
  readonly #byPeer = new Map<string, Set<Pair>>();
  readonly #dropped: Record<RelayDrop, number> = {
    ...{ junk: 0, unknown: 0, forged: 0, unbound: 0, rate: 0, bytes: 0, time: 0, server: 0 },
  };
  readonly #binds = { bound: 0, challenged: 0 };
  #relayedDatagrams = 0;
  #relayedBytes = 0;
  #sweep: Iterator<Pair> | undefined;
  #sweepAt: number;

  constructor(options: RelayTableOptions, now: number) {
    this.#options = options;
    this.#rate = new ByteRate(options.limits.bytesPerSecond, now);
    this.#sweepAt = now + SWEEP_EVERY_MS;
  }

  get stats(): RelayStats {
    return {
      pairs: this.#pairs.size,
      relayedDatagrams: this.#relayedDatagrams,
      relayedBytes: this.#relayedBytes,
      dropped: { ...this.#dropped },
      binds: { ...this.#binds },
    };
  }

  /** When `tick` has something to do. */
  nextDeadline(): number | undefined {
    return this.#pairs.size === 0 ? undefined : this.#sweepAt;
  }

  /** Forgets some of those who do not wait for each other any more. */
  tick(now: number): void {
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + SWEEP_EVERY_MS;
    this.#sweep ??= this.#pairs.values();
    for (let count = 0; count < SWEEP_PAIRS; count++) {
      const next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = undefined;
        return;
      }
      const pair = next.value;
      pair.partedAt = this.#areParted(pair) ? (pair.partedAt ?? now) : undefined;
      if (pair.partedAt !== undefined && now - pair.partedAt >= PARTED_MS) this.#forget(pair);
    }
  }

  /**
   * `own`, whose connection here this is, was told of `friend`: from now on the two may be relayed.
   * Nothing happens where all pairs there may be are in use.
   */
  open(own: RecordKey, friend: RecordKey, connection: number, now: number): void {
    const peers = pairOf(own, friend);
    const grants = relayGrants(this.#options.secret, peers);
    let pair = this.#sides.get(grants[0].channel)?.pair;
    if (pair === undefined) {
      if (!this.#makeRoom(peers, now)) return;
      const { limits, linkOf } = this.#options;
      const sides = [
        new RelaySide(peers[0], grants[0], linkOf),
        new RelaySide(peers[1], grants[1], linkOf),
      ] as const;
      pair = { sides, budget: new PairBudget(limits, now), usedAt: now, partedAt: undefined };
      this.#remember(pair);
    }
    this.#touch(pair, now);
    pair.sides[peers[0] === own ? 0 : 1].connection = connection;
  }

  /**
   * A datagram with a relay frame's first byte came from `from`. What is relayed is written over.
   * @returns what to send. Never throws.
   */
  receive(datagram: Uint8Array, from: RelayLink, now: number): readonly RelaySend[] {
    const frame = readRelayFrame(datagram);
    if (frame?.type !== 'data' && frame?.type !== 'bind') return this.#drop('junk');
    const found = this.#sides.get(frame.channel);
    if (found === undefined) return this.#drop('unknown');
    const { pair, index } = found;
    const side = pair.sides[index];
    const friend = pair.sides[index === 0 ? 1 : 0];
    if (frame.type === 'bind') return this.#bind(pair, side, friend, frame, from, now);
    if (!side.isBoundTo(from, now)) return this.#rebuff(side, datagram, from, now);
    side.heardFrom(from, now);
    const link = friend.whereabouts(now);
    if (link === undefined) return this.#drop('unbound');
    this.#touch(pair, now);
    const limit = pair.budget.take(datagram.length, this.#rate, now);
    if (limit !== undefined) return this.#limited(side, limit, from, now);
    setRelayChannel(datagram, friend.channel);
    this.#relayedDatagrams += 1;
    this.#relayedBytes += datagram.length;
    return [{ link, datagram }];
  }

  #bind(
    pair: Pair,
    side: RelaySide,
    friend: RelaySide,
    { channel, proof, cookie }: Extract<RelayFrame, { type: 'bind' }>,
    from: RelayLink,
    now: number,
  ): readonly RelaySend[] {
    if (!timingSafeEqual(relayProof(side.proofKey, channel, cookie), proof)) {
      return this.#drop('forged');
    }
    this.#touch(pair, now);
    const wasBound = side.whereabouts(now) !== undefined;
    const proven = side.hasProven(from, now) || this.#proves(cookie, from, now);
    if (proven) side.bind(from, now);
    const bound = side.isBoundTo(from, now) || this.#bindsForNow(side, from, now);
    const challenge = proven ? NOTHING : this.#challenge(side, from, now);
    if (!proven) this.#binds.challenged += 1;
    if (!bound) return challenge;
    this.#binds.bound += 1;
    const friendLink = friend.whereabouts(now);
    const answer = { link: from, datagram: boundFrame(side, friendLink !== undefined) };
    if (wasBound || friendLink === undefined) return [answer, ...challenge];
    return [answer, ...challenge, { link: friendLink, datagram: boundFrame(friend, true) }];
  }

  /** Data from where its side is not bound: its NAT may have given it another address. */
  #rebuff(
    side: RelaySide,
    datagram: Uint8Array,
    from: RelayLink,
    now: number,
  ): readonly RelaySend[] {
    this.#dropped.unbound += 1;
    if (now - side.challengedAt < CHALLENGED_EVERY_MS) return NOTHING;
    const challenge = this.#challenge(side, from, now);
    if (challenge.some((send) => send.datagram.length > datagram.length)) return NOTHING;
    side.challengedAt = now;
    return challenge;
  }

  #challenge({ channel }: RelaySide, link: RelayLink, now: number): readonly RelaySend[] {
    if (link.type === 'tunnel') return NOTHING;
    const cookie = this.#options.mintCookie(link.remote, now);
    return [{ link, datagram: encodeRelayFrame({ type: 'challenge', channel, cookie }) }];
  }

  /** Whether `from` receives what is sent there: what has a tunnel of its own does. */
  #proves(cookie: Uint8Array | undefined, from: RelayLink, now: number): boolean {
    if (from.type === 'tunnel') return true;
    const proven = cookie === undefined ? undefined : this.#options.checkCookie(cookie, now);
    return proven !== undefined && sameAddress(proven, from.remote);
  }

  /** A server saw the session at this address, some time ago: that will do for the moment. */
  #bindsForNow(side: RelaySide, from: RelayLink, now: number): boolean {
    if (from.type === 'tunnel') return false;
    const { name, key, session } = side.peer;
    const isReflexive = this.#options.table
      .find(name, key)
      .some(
        (record) =>
          record.session === session &&
          record.endpoint.candidates.some(
            ({ kind, address }) => kind === 'srflx' && sameAddress(address, from.remote),
          ),
      );
    return isReflexive && side.bindForNow(from, now);
  }

  #limited(side: RelaySide, limit: RelayLimit, link: RelayLink, now: number): readonly RelaySend[] {
    this.#dropped[limit] += 1;
    if (now - side.limitedAt < LIMITED_EVERY_MS) return NOTHING;
    side.limitedAt = now;
    const { channel } = side;
    return [{ link, datagram: encodeRelayFrame({ type: 'limited', channel, limit }) }];
  }

  #drop(why: RelayDrop): readonly RelaySend[] {
    this.#dropped[why] += 1;
    return NOTHING;
  }

  #areParted({ sides: [one, other] }: Pair): boolean {
    return !this.#waitsFor(one.peer, other.peer) || !this.#waitsFor(other.peer, one.peer);
  }

  #waitsFor({ name, key, session }: RecordKey, friend: RecordKey): boolean {
    return this.#options.table
      .find(name, key)
      .some((record) => record.session === session && record.wishes.has(friend.name));
  }

  /** @returns whether there is room for a pair of these. */
  #makeRoom(peers: readonly RecordKey[], now: number): boolean {
    for (const peer of peers) {
      const [oldest, ...others] = this.#byPeer.get(idOf(peer)) ?? [];
      if (oldest === undefined || others.length + 1 < PAIRS_PER_PEER) continue;
      if (now - oldest.usedAt < IN_USE_MS) return false;
      this.#forget(oldest);
    }
    if (this.#pairs.size < this.#options.limits.pairs) return true;
    const [oldest] = this.#pairs.values();
    if (oldest === undefined || now - oldest.usedAt < IN_USE_MS) return false;
    this.#forget(oldest);
    return true;
  }

  /** Keeps the pairs in the order of their use, if not to the millisecond. */
  #touch(pair: Pair, now: number): void {
    if (now - pair.usedAt < SWEEP_EVERY_MS) return;
    pair.usedAt = now;
    this.#forget(pair);
    this.#remember(pair);
  }

  #remember(pair: Pair): void {
    const [one, other] = pair.sides;
    this.#pairs.set(one.channel, pair);
    this.#sides.set(one.channel, { pair, index: 0 }).set(other.channel, { pair, index: 1 });
    for (const { peer } of pair.sides) {
      const id = idOf(peer);
      const pairs = this.#byPeer.get(id) ?? new Set<Pair>();
      this.#byPeer.set(id, pairs.add(pair));
    }
  }

  #forget(pair: Pair): void {
    this.#pairs.delete(pair.sides[0].channel);
    for (const { channel, peer } of pair.sides) {
      this.#sides.delete(channel);
      const id = idOf(peer);
      const pairs = this.#byPeer.get(id);
      pairs?.delete(pair);
      if (pairs?.size === 0) this.#byPeer.delete(id);
    }
  }
}

function boundFrame({ channel }: RelaySide, friendBound: boolean): Uint8Array {
  return encodeRelayFrame({ type: 'bound', channel, friendBound });
}

function idOf({ name, key, session }: RecordKey): string {
  return session + key + name;
}
