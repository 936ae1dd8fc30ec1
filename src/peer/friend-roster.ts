import { networkInterfaces } from 'node:os';
import type { Address } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { compareBytes, spkiFingerprint } from '../base/identity.ts';
import type { Admission, QuicConnection, QuicEndpoint } from '../quic/index.ts';
import type { SessionId, Wish } from '../rpc/generated/chatty/v1/common.ts';
import type {
  FirstFlight,
  MatchFound,
  WishConflict,
} from '../rpc/generated/chatty/v1/rendezvous.ts';
import { FRIEND_ALPN } from '../rpc/protocol.ts';
import { compareSessions } from '../rpc/session-id.ts';
import { type DialFriend, EarlyDial } from './early-dial.ts';
import { FriendLink, type FriendLinkEvents, type FriendLinkHost } from './friend-link.ts';
import type { FriendPath } from './friend-path.ts';
import { HeldInitials } from './held-initials.ts';
import { localAddressFor } from './local-address.ts';
import { readMatch } from './match.ts';
import type { PathHost } from './path-host.ts';
import type { ServerRoster } from './server-roster.ts';

/** A hello brings along so many friends' first datagrams. */
const MAX_FIRST_FLIGHTS = 4;
/** A friend's connection that is idle is kept alive by QUIC this often. */
const KEEP_ALIVE_MS = 10_000;
/** A proven key is told to the servers so long after: the first words between friends come first. */
const TELL_KEY_AFTER_MS = 1_000;
const FINGERPRINT_BYTES = 32;

export interface LinkEvents extends FriendLinkEvents {
  /** The wished-for name is held by somebody with this key, who is not the friend wished for. */
  conflict(heldBy: Uint8Array): void;
}

export interface FriendRosterOptions {
  readonly endpoint: QuicEndpoint;
  readonly paths: PathHost;
  readonly servers: ServerRoster;
  readonly clock: Clock;
  readonly ownName: string;
  readonly ownSession: SessionId;
  readonly ownFingerprint: Uint8Array;
  /** Whether no byte of what friends say may go over servers, not even encrypted. */
  readonly relayRefused: boolean;
  /** Ends all that is under way. */
  readonly signal: AbortSignal;
}

interface Entry {
  readonly link: FriendLink;
  readonly events: LinkEvents;
  wish: Wish;
  /** Set while servers have yet to be told of the key. */
  tellKey: Timer | undefined;
  /** The connection whose beginning was sent ahead to the friend: once. */
  early: EarlyDial | undefined;
}

/** The friends one peer wishes for: what servers say of each, and whose each connection is. */
export class FriendRoster {
  readonly #options: FriendRosterOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #held: HeldInitials;

  constructor(options: FriendRosterOptions) {
    this.#options = options;
    this.#held = new HeldInitials(options.clock);
  }

  get wishes(): readonly Wish[] {
    return [...this.#entries.values()].map(({ wish }) => wish);
  }

  /** Adds a wish for a friend, with the key it must have where that is known. */
  add(friend: string, key: Uint8Array | undefined, events: LinkEvents): FriendLink {
    const wish: Wish = { friend, friendKey: Buffer.from(key ?? []) };
    const link = new FriendLink(friend, this.#linkHost(), events);
    this.#entries.set(friend, { link, wish, events, tellKey: undefined, early: undefined });
    this.#options.servers.wish(wish, false);
    return link;
  }

  /** Only with this key is the friend the friend, from now on; servers are told a little later. */
  requireKey(friend: string, key: Uint8Array): void {
    const { clock, servers } = this.#options;
    const entry = this.#entries.get(friend);
    if (entry === undefined || compareBytes(entry.wish.friendKey, key) === 0) return;
    entry.wish = { friend, friendKey: Buffer.from(key) };
    entry.tellKey ??= clock.setTimer(TELL_KEY_AFTER_MS, () => {
      entry.tellKey = undefined;
      servers.wish(entry.wish, false);
    });
  }

  /** Withdraws the wish and closes whatever there is to the friend. */
  remove(friend: string): void {
    const entry = this.#entries.get(friend);
    if (entry === undefined) return;
    this.#entries.delete(friend);
    entry.tellKey?.cancel();
    entry.early?.abandon();
    this.#options.servers.wish(entry.wish, true);
    entry.link.close();
  }

  /** A server says where a friend is. */
  match(found: MatchFound): void {
    const { ownSession, paths } = this.#options;
    const entry = this.#entries.get(found.friend);
    const match = readMatch(found);
    if (entry === undefined || match === undefined || found.ownSession === undefined) return;
    if (compareSessions(found.ownSession, ownSession) !== 0) return;
    const wanted = entry.wish.friendKey;
    // A server that sends somebody else than was asked for is not believed.
    if (wanted.length > 0 && compareBytes(wanted, match.key) !== 0) {
      entry.events.conflict(match.key);
      return;
    }
    entry.link.matched(match);
    paths.relay(match);
  }

  /** A server says that somebody else holds a friend's name. */
  conflict({ wish, heldBy }: WishConflict): void {
    const entry = wish === undefined ? undefined : this.#entries.get(wish.friend);
    if (heldBy.length === FINGERPRINT_BYTES) entry?.events.conflict(heldBy);
  }

  /** Begins to talk with every friend that has not been met yet, once. */
  async firstFlights(): Promise<readonly FirstFlight[]> {
    if (this.#options.relayRefused) return [];
    const unmet = [...this.#entries].filter(
      ([, { link, early }]) => link.match === undefined && early === undefined,
    );
    const flights = unmet.slice(0, MAX_FIRST_FLIGHTS).map(async ([friend, entry]) => {
      const early = new EarlyDial((options) => this.#dial(options), this.#options.clock);
      entry.early = early;
      const datagrams = await early.flight();
      return { friend, datagrams: datagrams.map((datagram) => Buffer.from(datagram)) };
    });
    return (await Promise.all(flights)).filter(({ datagrams }) => datagrams.length > 0);
  }

  /** Judges an Initial: only what comes over a checked path of a matched friend is a friend's. */
  admit(remote: Address, datagram: Uint8Array, local: Address): Admission {
    const links = [...this.#entries.values()].map(({ link }) => link);
    for (const link of links) {
      const path = link.pathFrom(remote, local);
      if (path !== undefined) return { kind: 'carried', ...path };
    }
    const matches = links.filter(({ match }) => match !== undefined).length;
    this.#held.hold(remote, local, datagram, matches);
    return { kind: 'drop' };
  }

  /** Takes a connection that somebody has dialled, if it is a friend's. */
  accept(connection: QuicConnection): void {
    // Several friends may have one key: each is where its own path leads to.
    const link = [...this.#entries.values()].find((entry) =>
      entry.link.isCarrierOf(connection),
    )?.link;
    const key = link?.match?.key;
    if (key !== undefined && compareBytes(key, connection.peerFingerprint) === 0) {
      link?.accept(connection);
    } else connection.close(0, 'this key belongs to no friend waited for');
  }

  /** Closes every link without a word. */
  close(): void {
    for (const { link, tellKey, early } of this.#entries.values()) {
      tellKey?.cancel();
      early?.abandon();
      link.close();
    }
    this.#held.clear();
  }

  #linkHost(): FriendLinkHost {
    const { clock, ownName, ownSession, ownFingerprint, paths, servers } = this.#options;
    return {
      clock,
      ownName,
      ownSession,
      ownFingerprint,
      punch: (match, events) =>
        paths.punch(match, {
          onLoopback: () => servers.onLoopback,
          routesTo: (offer) => servers.routesTo(offer),
          events: { ...events, opened: () => this.#releaseHeld() },
        }),
      dial: (path, friend, key) => this.#dialOver(path, this.#entries.get(friend)?.early, key),
      localAddressFor: (remote, socket) => this.#localAddressFor(remote, socket),
      merge: (path, endpoint) => paths.merge(path, endpoint),
      obstacleTo: (match) => paths.obstacleTo(match, servers.udpBlocked),
      doubtWhereabouts: () => servers.doubtWhereabouts(),
      renewWish: (friend) => {
        const entry = this.#entries.get(friend);
        if (entry !== undefined) servers.wish(entry.wish, false);
      },
    };
  }

  #dialOver(
    path: FriendPath,
    early: EarlyDial | undefined,
    key: Uint8Array,
  ): Promise<QuicConnection> {
    const { clock, signal } = this.#options;
    if (early?.isFresh(clock.now()) === true) return early.adopt(path, key);
    return this.#dial({
      carrier: path,
      pathClass: path.best?.pathClass ?? 'public',
      verify: (certDer) => compareBytes(spkiFingerprint(certDer), key) === 0,
      signal,
    });
  }

  #dial(options: Parameters<DialFriend>[0]): Promise<QuicConnection> {
    const { endpoint } = this.#options;
    return endpoint.dial({ ...options, alpn: FRIEND_ALPN, keepAliveMs: KEEP_ALIVE_MS });
  }

  #localAddressFor(remote: Address, socket: Address | undefined): Address {
    const { endpoint, paths } = this.#options;
    const own = paths.hostAddresses(networkInterfaces());
    const { host, port } = localAddressFor(remote, endpoint.addresses, own);
    return { host, port: socket?.port ?? port };
  }

  #releaseHeld(): void {
    const { endpoint } = this.#options;
    for (const { remote, local, datagram } of this.#held.take()) {
      const admission = this.admit(remote, datagram, local);
      if (admission.kind === 'carried') {
        endpoint.deliver(datagram, admission.pathClass, admission.carrier);
      }
    }
  }
}
