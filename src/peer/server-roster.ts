import { type Address, familyOf, formatAddress, scopeOf } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import type { ChattyError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { setNewest } from '../base/newest.ts';
import type { Random } from '../base/random.ts';
import { kindOf, type QuicEndpoint } from '../quic/index.ts';
import type { Wish } from '../rpc/generated/chatty/v1/common.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import { Discovery, type DiscoveryOptions } from './discovery.ts';
import type { RelayOffer } from './match.ts';
import type { PathHost } from './path-host.ts';
import { type Presence, Registration, type RegistrationEvents } from './registration.ts';
import type { RelayRoute } from './relay-client.ts';
import { relayRoutes } from './relay-routes.ts';
import { ServerPool, type ServerPoolInput } from './server-pool.ts';
import type { Tunnel } from './tunnel.ts';
import { UdpReturn } from './udp-return.ts';
import { Whereabouts } from './whereabouts.ts';

/** How many servers' reasons are told where none can be registered on. */
const MAX_TOLD_SERVERS = 4;
/** Of one server, so many addresses are asked how our NAT looks from there. */
const MAX_OBSERVERS = 8;
/** A server is asked for a sign of life this often anyhow. */
const MAX_DOUBT_MS = 15_000;
/** Refusals after which trying again as the same peer is of no use. */
const FINAL: ReadonlySet<string> = new Set([
  'CHATTY_NAME_TAKEN',
  'CHATTY_REPLACED',
  'CHATTY_VERSION',
  'CHATTY_USAGE',
]);

/** What becomes of the search for servers. */
export interface ServerEvents {
  registered(server: Address, observed: Address | undefined): void;
  /** No registration stands, and every balancer, or a server, has failed: why, by address. */
  noServer(failures: ReadonlyMap<string, ChattyError>): void;
  /** A server refused this peer for good: the name is taken, or a newer process has replaced it. */
  refused(error: ChattyError): void;
  /** The servers that work have changed: what to cache. */
  servers(known: readonly Server[]): void;
}

export interface ServerRosterOptions {
  readonly endpoint: QuicEndpoint;
  readonly paths: PathHost;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** On how many servers to be registered at once. */
  readonly registrations: number;
  readonly discovery: Omit<DiscoveryOptions, 'clock'>;
  /** What to say of this peer. */
  readonly presence: Presence;
  readonly events: ServerEvents &
    Pick<RegistrationEvents, 'match' | 'conflict'> & {
      /** More addresses are known of servers, which answer STUN. */
      learned(addresses: readonly Address[]): void;
    };
  /** Ends all that is under way. */
  readonly signal: AbortSignal;
}

interface Entry {
  readonly registration: Registration;
  readonly observed: Address | undefined;
}

/** The servers of one peer: finds them, registers on them, and tells them where the peer is. */
export class ServerRoster {
  readonly #options: ServerRosterOptions;
  readonly #pool: ServerPool;
  readonly #discovery: Discovery;
  /** By server's id, those under way included. */
  readonly #entries = new Map<string, Entry>();
  /** Why servers could not be registered on, by their address, since one last could. */
  readonly #failures = new Map<string, ChattyError>();
  readonly #whereabouts: Whereabouts<Registration>;
  readonly #udpReturn: UdpReturn<Registration>;
  readonly #alarm: Alarm;

  constructor(options: ServerRosterOptions) {
    const { clock, random, endpoint, paths, signal } = options;
    this.#options = options;
    this.#alarm = new Alarm(clock, () => this.#step({ type: 'tick' }));
    this.#pool = new ServerPool({ wanted: options.registrations, random });
    this.#discovery = new Discovery({ ...options.discovery, clock });
    this.#whereabouts = new Whereabouts({
      clock,
      families: new Set(endpoint.addresses.map(familyOf)),
      standing: () =>
        this.#pool.registered.flatMap((id) => this.#entries.get(id)?.registration ?? []),
      observe: (address) => paths.observe(address),
      silent: ({ server: { id } }) => this.#step({ type: 'silent', id }),
      heard: ({ server: { id } }) => this.#step({ type: 'heard', id }),
    });
    this.#udpReturn = new UdpReturn({
      clock,
      signal,
      stands: (registration) => this.#isCurrent(registration) && registration.tunnel !== undefined,
      observe: (address) => paths.observe(address),
      answered: (registration) => this.#register(registration.server, registration),
    });
  }

  /** @param cached servers that worked last time; tried at once, beside asking the balancers. */
  begin(cached: readonly Server[]): void {
    this.#step({ type: 'servers', servers: cached });
    this.#askObservers(cached);
  }

  /** Tells every server of a wish for a friend, or that it is withdrawn. */
  wish(wish: Wish, withdraw: boolean): void {
    for (const { registration } of this.#entries.values()) registration.wish(wish, withdraw);
  }

  /** What this peer says of itself has changed. */
  repeatEndpoint(): void {
    this.#whereabouts.repeat();
  }

  /** Servers are to see where this peer is now, and tell friends. */
  doubtWhereabouts(): void {
    this.#whereabouts.doubt();
  }

  /** This computer is on another network, perhaps. */
  networkChanged(): void {
    this.#whereabouts.move();
    this.#step({ type: 'network-changed' });
  }

  /** The ways to a relaying server, best first. */
  routesTo(offer: RelayOffer): readonly RelayRoute[] {
    const { udpBlocked, onLoopback } = this;
    return relayRoutes(offer, {
      ...{ udpBlocked, onLoopback },
      endpoint: this.#options.endpoint,
      server: this.#entries.get(offer.serverId)?.registration,
    });
  }

  /** Whether nothing but tunnels leads to servers. */
  get udpBlocked(): boolean {
    const all = [...this.#entries.values()].map(({ registration }) => registration);
    const standing = all.filter(({ remote }) => remote !== undefined);
    return standing.length > 0 && standing.every(({ tunnel }) => tunnel !== undefined);
  }

  /**
   * Whether servers see this peer on loopback: only then may a friend be reached there. One that is
   * not there itself cannot, whatever it says.
   */
  get onLoopback(): boolean {
    return [...this.#entries.values()].some(({ registration: { remote }, observed }) =>
      [remote, observed].every((at) => at !== undefined && scopeOf(at.host) === 'loopback'),
    );
  }

  /** Leaves every server; to be called when the signal has aborted. */
  close(): void {
    this.#alarm.cancel();
    for (const { registration } of [...this.#entries.values()]) registration.leave();
    this.#whereabouts.close();
  }

  #step(input: ServerPoolInput): void {
    const { clock, signal } = this.#options;
    if (signal.aborted) return;
    for (const effect of this.#pool.step(input, clock.now())) {
      if (effect.type === 'register') this.#register(effect.server);
      else if (effect.type === 'leave') this.#entries.get(effect.id)?.registration.leave();
      else void this.#discover();
    }
    this.#alarm.set(this.#pool.nextDeadline());
  }

  async #discover(): Promise<void> {
    const allFailed = await this.#discovery.ask((servers, stunAddresses) => {
      this.#step({ type: 'servers', servers });
      this.#askObservers(servers, stunAddresses);
    }, this.#options.signal);
    if (allFailed) this.#tellNoServer();
  }

  /** Whoever answers STUN is asked how our NAT looks from there. */
  #askObservers(servers: readonly Server[], others: readonly Address[] = []): void {
    const { events, signal } = this.#options;
    if (signal.aborted) return;
    const addresses = servers.flatMap((server) =>
      addressesFromWire(server.addresses, MAX_OBSERVERS),
    );
    events.learned([...addresses, ...others]);
  }

  /** @param before by tunnel: it stands until the new one, by UDP, does. */
  #register(server: Server, before?: Registration): void {
    const { endpoint, clock, random, presence, events } = this.#options;
    const registration = new Registration(server, {
      endpoint,
      clock,
      udpOnly: before !== undefined,
      presence,
      events: {
        registered: (observed) => this.#registered(registration, observed, before),
        match: (found) => events.match(found),
        tunnelled: (datagram, tunnel) => this.#receiveTunnelled(datagram, tunnel),
        conflict: (conflict) => events.conflict(conflict),
        doubt: (id, withinMs) => {
          const delayMs = random.below(Math.min(withinMs, MAX_DOUBT_MS) + 1);
          this.#entries.get(id)?.registration.pingAfter(delayMs);
        },
        moving: () => this.#step({ type: 'moving', id: server.id }),
        ended: (error, retryAfterMs) => this.#ended(registration, error, retryAfterMs),
      },
    });
    if (before === undefined) this.#entries.set(server.id, { registration, observed: undefined });
  }

  #registered(
    registration: Registration,
    observed: Address | undefined,
    before: Registration | undefined,
  ): void {
    const { paths, presence, events } = this.#options;
    const { remote, server, tunnel } = registration;
    if (before !== undefined && !this.#isCurrent(before)) {
      registration.leave();
      return;
    }
    this.#entries.set(server.id, { registration, observed });
    if (before !== undefined) {
      before.leave();
      // What was wished for meanwhile, and matches with what is known of this peer now.
      for (const wish of presence.wishes()) registration.wish(wish, false);
    }
    this.#failures.clear();
    this.#step({ type: 'registered', id: server.id });
    events.servers(this.#pool.known);
    if (remote !== undefined && before === undefined) events.registered(remote, observed);
    void this.#whereabouts.begin(registration);
    if (tunnel !== undefined) void this.#udpReturn.watch(registration);
    if (observed !== undefined) paths.nat.seenAt(observed);
  }

  #ended(registration: Registration, error: ChattyError, retryAfterMs: number | undefined): void {
    const { logger, events } = this.#options;
    const { server } = registration;
    // Another has taken its place, or it was to take one's and did not come about.
    if (!this.#isCurrent(registration)) return;
    this.#entries.delete(server.id);
    logger.debug('registration ended', { server: server.id, reason: error.message });
    this.#step({
      type: 'failed',
      id: server.id,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
    if (FINAL.has(error.code)) events.refused(error);
    else this.#failed(server, error);
  }

  #isCurrent(registration: Registration): boolean {
    return this.#entries.get(registration.server.id)?.registration === registration;
  }

  #failed(server: Server, error: ChattyError): void {
    const [address] = addressesFromWire(server.addresses, 1);
    const place = address === undefined ? server.id : formatAddress(address);
    // Of many servers, the last few are enough to say why none answers.
    setNewest(this.#failures, place, error, MAX_TOLD_SERVERS);
    this.#tellNoServer();
  }

  /** Says why there is no registration, where there is none: balancers' and servers' reasons. */
  #tellNoServer(): void {
    const { events, signal } = this.#options;
    if (signal.aborted || this.#pool.registered.length > 0) return;
    events.noServer(new Map([...this.#discovery.failures, ...this.#failures]));
  }

  #receiveTunnelled(datagram: Uint8Array, tunnel: Tunnel): void {
    const { endpoint, paths } = this.#options;
    if (kindOf(datagram) === 'relay') paths.receiveRelay(datagram, tunnel.remote, true);
    else endpoint.deliver(datagram, 'relay', tunnel);
  }
}
