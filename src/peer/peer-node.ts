import { networkInterfaces } from 'node:os';
import { type Address, familyOf, formatAddress, scopeOf } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { ChattyError } from '../base/errors.ts';
import type { Identity } from '../base/identity.ts';
import { compareBytes, spkiFingerprint } from '../base/identity.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { type Admission, type QuicConnection, QuicEndpoint } from '../quic/index.ts';
import type { Endpoint, SessionId, Wish } from '../rpc/generated/chatty/v1/common.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import type { FirstFlight, MatchFound } from '../rpc/generated/chatty/v1/rendezvous.ts';
import { FRIEND_ALPN } from '../rpc/protocol.ts';
import { compareSessions } from '../rpc/session-id.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import { Discovery, type DiscoveryOptions } from './discovery.ts';
import { type DialFriend, EarlyDial } from './early-dial.ts';
import { FriendLink, type FriendLinkEvents, type FriendLinkHost } from './friend-link.ts';
import { type FriendPath } from './friend-path.ts';
import { HeldInitials } from './held-initials.ts';
import { type NetworkChange, NetworkWatch } from './network-watch.ts';
import { type Match, readMatch, type RelayOffer } from './match.ts';
import { PathHost } from './path-host.ts';
import { Registration } from './registration.ts';
import type { RelayRoute } from './relay-client.ts';
import { relayRoutes } from './relay-routes.ts';
import { ServerPool, type ServerPoolInput } from './server-pool.ts';
import type { Tunnel } from './tunnel.ts';
import { UdpReturn } from './udp-return.ts';
import { Whereabouts } from './whereabouts.ts';

/** How many servers' reasons are told where none can be registered on. */
const MAX_TOLD_SERVERS = 4;
/** Of a relay frame; QUIC has others. */
const RELAY_FIRST_BYTE = 0x0c;
/** A hello brings along so many friends' first datagrams. */
const MAX_FIRST_FLIGHTS = 4;
/** A friend's connection that is idle is kept alive by QUIC this often. */
const FRIEND_KEEP_ALIVE_MS = 10_000;
/** A proven key is told to the servers so long after: the first words between friends come first. */
const TELL_KEY_AFTER_MS = 1_000;

export interface PeerNodeOptions {
  readonly name: string;
  readonly identity: Identity;
  readonly session: SessionId;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** On how many servers to be registered at once. */
  readonly registrations: number;
  /** Whether no byte of what friends say may go over servers, not even encrypted. */
  readonly relayRefused: boolean;
  readonly discovery: Omit<DiscoveryOptions, 'clock'>;
  /** Servers that worked last time; tried at once, beside asking the balancers. */
  readonly cachedServers: readonly Server[];
  /** Where to bind; default: every address of both families, on free ports. */
  readonly listen?: readonly Address[];
  readonly events: PeerNodeEvents;
}

interface PeerNodeEvents {
  registered(server: Address, observed: Address | undefined): void;
  /** No registration stands, and every balancer, or a server, has failed: why, by address. */
  noServer(failures: ReadonlyMap<string, ChattyError>): void;
  /** A server refused this peer for good: the name is taken, or a newer process has replaced it. */
  refused(error: ChattyError): void;
  /** The servers that work have changed: what to cache. */
  servers(known: readonly Server[]): void;
}

export interface LinkEvents extends FriendLinkEvents {
  /** The wished-for name is held by somebody with this key, who is not the friend wished for. */
  conflict(heldBy: Uint8Array): void;
}

interface LinkEntry {
  readonly link: FriendLink;
  readonly events: LinkEvents;
  wish: Wish;
  /** Set while servers have yet to be told of the key. */
  tellKey: Timer | undefined;
  /** The connection whose beginning was sent ahead to the friend: once. */
  early: EarlyDial | undefined;
}

/**
 * One peer on the network: its one socket a family, its registrations, and the links to its friends.
 */
export class PeerNode {
  readonly #options: PeerNodeOptions;
  readonly #pool: ServerPool;
  readonly #discovery: Discovery;
  readonly #registrations = new Map<string, { registration: Registration; observed?: Address }>();
  readonly #links = new Map<string, LinkEntry>();
  /** Why servers could not be registered on, by their address, since one last could. */
  readonly #serverFailures = new Map<string, ChattyError>();
  readonly #abort = new AbortController();
  readonly #endpoint: QuicEndpoint;
  readonly #paths: PathHost;
  readonly #held: HeldInitials;
  readonly #whereabouts: Whereabouts<Registration>;
  readonly #udpReturn: UdpReturn<Registration>;
  readonly #watch: NetworkWatch;
  #timer: Timer | undefined;
  #closed = false;

  private constructor(options: PeerNodeOptions, endpoint: QuicEndpoint, held: HeldInitials) {
    this.#options = options;
    this.#endpoint = endpoint;
    this.#held = held;
    this.#pool = new ServerPool({ wanted: options.registrations, random: options.random });
    this.#discovery = new Discovery({ ...options.discovery, clock: options.clock });
    this.#paths = new PathHost({
      endpoint,
      clock: options.clock,
      random: options.random,
      ownFingerprint: options.identity.fingerprint,
      relayRefused: options.relayRefused,
      natReported: () => this.#whereabouts.repeat(),
    });
    this.#whereabouts = new Whereabouts({
      clock: options.clock,
      families: new Set(endpoint.addresses.map(familyOf)),
      standing: () =>
        this.#pool.registered.flatMap((id) => this.#registrations.get(id)?.registration ?? []),
      observe: (address) => this.#paths.observe(address),
      silent: ({ server: { id } }) => this.#step({ type: 'silent', id }),
      heard: ({ server: { id } }) => this.#step({ type: 'heard', id }),
    });
    this.#udpReturn = new UdpReturn({
      clock: options.clock,
      signal: this.#abort.signal,
      stands: (registration) => this.#isCurrent(registration) && registration.tunnel !== undefined,
      observe: (address) => this.#paths.observe(address),
      answered: (registration) => this.#register(registration.server, registration),
    });
    this.#watch = new NetworkWatch({
      clock: options.clock,
      interfaces: () => networkInterfaces(),
      changed: (change) => this.#networkChanged(change),
    });
  }

  static async open(options: PeerNodeOptions): Promise<PeerNode> {
    const { clock, random, identity } = options;
    const held = new HeldInitials(clock);
    // Assigned as soon as the endpoint exists: nothing arrives before this function goes on.
    const self: { node?: PeerNode } = {};
    const endpoint = await openEndpoint(options.listen, (listen) =>
      QuicEndpoint.open({
        identity,
        clock,
        random,
        listen,
        alpn: [FRIEND_ALPN],
        accept: {
          admit: (remote, datagram, local): Admission =>
            self.node?.admit(remote, datagram, local) ?? { kind: 'drop' },
          onConnection: (connection) => self.node?.accept(connection),
          verify: (certDer, alpn) => alpn === FRIEND_ALPN && certDer.length > 0,
        },
      }),
    );
    const node = new PeerNode(options, endpoint, held);
    self.node = node;
    node.#step({ type: 'servers', servers: options.cachedServers });
    node.#askObservers(options.cachedServers);
    return node;
  }

  /** Adds a wish for a friend, with the key it must have where that is known. */
  link(friend: string, key: Uint8Array | undefined, events: LinkEvents): FriendLink {
    const wish: Wish = { friend, friendKey: Buffer.from(key ?? []) };
    const link = new FriendLink(friend, this.#linkHost(), events);
    this.#links.set(friend, { link, wish, events, tellKey: undefined, early: undefined });
    this.#wish(wish, false);
    return link;
  }

  /** Only with this key is the friend the friend, from now on; servers are told a little later. */
  requireKey(friend: string, key: Uint8Array): void {
    const entry = this.#links.get(friend);
    if (entry === undefined || compareBytes(entry.wish.friendKey, key) === 0) return;
    entry.wish = { friend, friendKey: Buffer.from(key) };
    entry.tellKey ??= this.#options.clock.setTimer(TELL_KEY_AFTER_MS, () => {
      entry.tellKey = undefined;
      this.#wish(entry.wish, false);
    });
  }

  /** Withdraws the wish and closes whatever there is to the friend. */
  unlink(friend: string): void {
    const entry = this.#links.get(friend);
    if (entry === undefined) return;
    this.#links.delete(friend);
    entry.tellKey?.cancel();
    entry.early?.abandon();
    this.#wish(entry.wish, true);
    entry.link.close();
  }

  /** Says goodbye to every server, closes every connection and the sockets. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort(new Error('the peer was closed'));
    this.#timer?.cancel();
    for (const { link, tellKey, early } of this.#links.values()) {
      tellKey?.cancel();
      early?.abandon();
      link.close();
    }
    for (const { registration } of [...this.#registrations.values()]) registration.leave();
    this.#watch.close();
    this.#whereabouts.close();
    this.#paths.close();
    this.#held.clear();
    // One turn, in which what was queued above is sent.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#endpoint.close();
  }

  /** Judges an Initial: only what comes over a checked path of a matched friend is a friend's. */
  admit(remote: Address, datagram: Uint8Array, local: Address): Admission {
    for (const { link } of this.#links.values()) {
      const path = link.pathFrom(remote, local);
      if (path !== undefined) return { kind: 'carried', ...path };
    }
    const matches = [...this.#links.values()].filter(({ link }) => link.match !== undefined).length;
    this.#held.hold(remote, local, datagram, matches);
    return { kind: 'drop' };
  }

  accept(connection: QuicConnection): void {
    // Several friends may have one key: each is where its own path leads to.
    const link = [...this.#links.values()].find((entry) =>
      entry.link.isCarrierOf(connection),
    )?.link;
    const key = link?.match?.key;
    if (key !== undefined && compareBytes(key, connection.peerFingerprint) === 0) {
      link?.accept(connection);
    } else connection.close(0, 'this key belongs to no friend waited for');
  }

  #step(input: ServerPoolInput): void {
    if (this.#closed) return;
    const { clock } = this.#options;
    for (const effect of this.#pool.step(input, clock.now())) {
      if (effect.type === 'register') this.#register(effect.server);
      else if (effect.type === 'leave') this.#registrations.get(effect.id)?.registration.leave();
      else void this.#discover();
    }
    this.#timer?.cancel();
    this.#timer = clock.setTimer(this.#pool.nextDeadline() - clock.now(), () =>
      this.#step({ type: 'tick' }),
    );
  }

  async #discover(): Promise<void> {
    const allFailed = await this.#discovery.ask((servers, stunAddresses) => {
      this.#step({ type: 'servers', servers });
      this.#askObservers(servers, stunAddresses);
    }, this.#abort.signal);
    if (allFailed) this.#tellNoServer();
  }

  /** Whoever answers STUN is asked how our NAT looks from there. */
  #askObservers(servers: readonly Server[], others: readonly Address[] = []): void {
    if (this.#closed) return;
    const addresses = servers.flatMap((server) => addressesFromWire(server.addresses, 8));
    this.#paths.nat.learn([...addresses, ...others]);
  }

  /** Says why there is no registration, where there is none: balancers' and servers' reasons. */
  #tellNoServer(): void {
    if (this.#closed || this.#pool.registered.length > 0) return;
    this.#options.events.noServer(new Map([...this.#discovery.failures, ...this.#serverFailures]));
  }

  /** @param before by tunnel: it stands until the new one, by UDP, does. */
  #register(server: Server, before?: Registration): void {
    const { clock, name, session, logger, events } = this.#options;
    const { id } = server;
    const registration = new Registration(server, {
      endpoint: this.#endpoint,
      clock,
      udpOnly: before !== undefined,
      presence: {
        name,
        session,
        endpoint: () => this.#ownEndpoint(),
        wishes: () => [...this.#links.values()].map(({ wish }) => wish),
        firstFlights: () => this.#firstFlights(),
      },
      events: {
        registered: (observed) => {
          const { remote } = registration;
          if (before !== undefined && !this.#isCurrent(before)) {
            registration.leave();
            return;
          }
          this.#registrations.set(id, {
            registration,
            ...(observed === undefined ? {} : { observed }),
          });
          if (before !== undefined) {
            before.leave();
            // What was wished for meanwhile, and matches with what is known of this peer now.
            for (const { wish } of this.#links.values()) registration.wish(wish, false);
          }
          this.#serverFailures.clear();
          this.#step({ type: 'registered', id });
          events.servers(this.#pool.known);
          if (remote !== undefined && before === undefined) events.registered(remote, observed);
          void this.#whereabouts.begin(registration);
          if (registration.tunnel !== undefined) void this.#udpReturn.watch(registration);
          if (observed !== undefined) this.#paths.nat.seenAt(observed);
        },
        match: (found) => this.#match(found),
        tunnelled: (datagram, tunnel) => this.#receiveTunnelled(datagram, tunnel),
        conflict: ({ wish, heldBy }) => {
          const entry = wish === undefined ? undefined : this.#links.get(wish.friend);
          if (entry !== undefined && heldBy.length === 32) entry.events.conflict(heldBy);
        },
        moving: () => this.#step({ type: 'moving', id }),
        ended: (error, retryAfterMs) => {
          // Another has taken its place, or it was to take one's and did not come about.
          if (!this.#isCurrent(registration)) return;
          this.#registrations.delete(id);
          logger.debug('registration ended', { server: id, reason: error.message });
          this.#step({
            type: 'failed',
            id,
            ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
          });
          if (FINAL.has(error.code)) events.refused(error);
          else this.#serverFailed(server, error);
        },
      },
    });
    if (before === undefined) this.#registrations.set(id, { registration });
  }

  #isCurrent(registration: Registration): boolean {
    return this.#registrations.get(registration.server.id)?.registration === registration;
  }

  /** This computer is on another network, perhaps: servers and friends are to know at once. */
  #networkChanged(change: NetworkChange): void {
    this.#options.logger.debug('network changed', { change });
    this.#whereabouts.move();
    this.#paths.networkChanged();
    this.#step({ type: 'network-changed' });
  }

  #serverFailed(server: Server, error: ChattyError): void {
    const [address] = addressesFromWire(server.addresses, 1);
    const place = address === undefined ? server.id : formatAddress(address);
    // Of many servers, the last few are enough to say why none answers.
    this.#serverFailures.delete(place);
    this.#serverFailures.set(place, error);
    const [oldest] = this.#serverFailures.keys();
    if (this.#serverFailures.size > MAX_TOLD_SERVERS && oldest !== undefined) {
      this.#serverFailures.delete(oldest);
    }
    this.#tellNoServer();
  }

  #wish(wish: Wish, withdraw: boolean): void {
    for (const { registration } of this.#registrations.values()) registration.wish(wish, withdraw);
  }

  #match(found: MatchFound): void {
    const entry = this.#links.get(found.friend);
    const match = readMatch(found);
    if (entry === undefined || match === undefined || found.ownSession === undefined) return;
    if (compareSessions(found.ownSession, this.#options.session) !== 0) return;
    const wanted = entry.wish.friendKey;
    // A server that sends somebody else than was asked for is not believed.
    if (wanted.length > 0 && compareBytes(wanted, match.key) !== 0) {
      entry.events.conflict(match.key);
      return;
    }
    entry.link.matched(match);
    this.#paths.relay(match);
  }

  #receiveTunnelled(datagram: Uint8Array, tunnel: Tunnel): void {
    if (datagram[0] === RELAY_FIRST_BYTE) this.#paths.receiveRelay(datagram, tunnel.remote, true);
    else this.#endpoint.deliver(datagram, 'relay', tunnel);
  }

  #relayRoutes(offer: RelayOffer): readonly RelayRoute[] {
    const known = new Map([...this.#registrations].map(([id, entry]) => [id, entry.registration]));
    return relayRoutes(offer, this.#endpoint, known, this.#onLoopback());
  }

  /** Whether nothing but tunnels leads to servers. */
  get #udpBlocked(): boolean {
    const all = [...this.#registrations.values()].map(({ registration }) => registration);
    const standing = all.filter(({ remote }) => remote !== undefined);
    return standing.length > 0 && standing.every(({ tunnel }) => tunnel !== undefined);
  }

  #ownEndpoint(): Endpoint {
    return this.#paths.ownEndpoint(networkInterfaces());
  }

  /**
   * Whether servers see this peer on loopback: only then may a friend be reached there. One that is
   * not there itself cannot, whatever it says.
   */
  #onLoopback(): boolean {
    return [...this.#registrations.values()].some(({ registration: { remote }, observed }) =>
      [remote, observed].every((at) => at !== undefined && scopeOf(at.host) === 'loopback'),
    );
  }

  #linkHost(): FriendLinkHost {
    const { clock, name, session, identity } = this.#options;
    return {
      clock,
      ownName: name,
      ownSession: session,
      ownFingerprint: identity.fingerprint,
      punch: (match: Match, events): FriendPath =>
        this.#paths.punch(match, {
          onLoopback: () => this.#onLoopback(),
          routesTo: (offer) => this.#relayRoutes(offer),
          events: { ...events, opened: () => this.#releaseHeld() },
        }),
      dial: (path, friend, key) => {
        const entry = this.#links.get(friend);
        const early = entry?.early;
        if (entry !== undefined && early?.isFresh(clock.now()) === true) {
          return early.adopt(path, key);
        }
        return this.#dialFriend({
          carrier: path,
          pathClass: path.best?.pathClass ?? 'public',
          verify: (certDer) => compareBytes(spkiFingerprint(certDer), key) === 0,
          signal: this.#abort.signal,
        });
      },
      localAddressFor: (remote, socket) => {
        const { host, port } = this.#localAddressFor(remote);
        return { host, port: socket?.port ?? port };
      },
      merge: (path, endpoint) => this.#paths.merge(path, endpoint),
      obstacleTo: (match) => this.#paths.obstacleTo(match, this.#udpBlocked),
      doubtWhereabouts: () => this.#whereabouts.doubt(),
      renewWish: (friend) => {
        const entry = this.#links.get(friend);
        if (entry !== undefined) this.#wish(entry.wish, false);
      },
    };
  }

  #dialFriend(options: Parameters<DialFriend>[0]): Promise<QuicConnection> {
    return this.#endpoint.dial({
      ...options,
      alpn: FRIEND_ALPN,
      keepAliveMs: FRIEND_KEEP_ALIVE_MS,
    });
  }

  /** Begins to talk with every friend that has not been met yet, once. */
  async #firstFlights(): Promise<readonly FirstFlight[]> {
    if (this.#options.relayRefused) return [];
    const unmet = [...this.#links].filter(
      ([, { link, early }]) => link.match === undefined && early === undefined,
    );
    const flights = unmet.slice(0, MAX_FIRST_FLIGHTS).map(async ([friend, entry]) => {
      const early = new EarlyDial((options) => this.#dialFriend(options), this.#options.clock);
      entry.early = early;
      const datagrams = await early.flight();
      return { friend, datagrams: datagrams.map((datagram) => Buffer.from(datagram)) };
    });
    return (await Promise.all(flights)).filter(({ datagrams }) => datagrams.length > 0);
  }

  #releaseHeld(): void {
    for (const { remote, local, datagram } of this.#held.take()) {
      const admission = this.admit(remote, datagram, local);
      if (admission.kind === 'carried') {
        this.#endpoint.deliver(datagram, admission.pathClass, admission.carrier);
      }
    }
  }

  #localAddressFor(remote: Address): Address {
    const family = familyOf(remote);
    const bound = this.#endpoint.addresses.find((address) => familyOf(address) === family);
    if (bound === undefined || scopeOf(bound.host) !== 'unusable') {
      return bound ?? { host: family === 4 ? '0.0.0.0' : '::', port: 0 };
    }
    const onLoopback = scopeOf(remote.host) === 'loopback';
    if (onLoopback) return { host: family === 4 ? '127.0.0.1' : '::1', port: bound.port };
    const own = this.#paths.hostAddresses(networkInterfaces());
    return own.find((address) => familyOf(address) === family) ?? bound;
  }
}

/** Refusals after which trying again as the same peer is of no use. */
const FINAL: ReadonlySet<string> = new Set([
  'CHATTY_NAME_TAKEN',
  'CHATTY_REPLACED',
  'CHATTY_VERSION',
  'CHATTY_USAGE',
]);

/** Opens both families where the computer has both. */
async function openEndpoint(
  listen: readonly Address[] | undefined,
  open: (listen: readonly Address[]) => Promise<QuicEndpoint>,
): Promise<QuicEndpoint> {
  if (listen !== undefined) return open(listen);
  const v4 = { host: '0.0.0.0', port: 0 };
  const hasV6 = Object.values(networkInterfaces()).some((entries) =>
    entries?.some(({ family }) => family === 'IPv6'),
  );
  if (!hasV6) return open([v4]);
  try {
    return await open([v4, { host: '::', port: 0 }]);
  } catch {
    // IPv6 can be off although an interface shows an address.
    return open([v4]);
  }
}
