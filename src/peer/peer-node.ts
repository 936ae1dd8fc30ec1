import { networkInterfaces } from 'node:os';
import { type Address, familyOf, scopeOf } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Identity } from '../base/identity.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { QuicEndpoint } from '../quic/index.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { FRIEND_ALPN } from '../rpc/protocol.ts';
import { findGateway } from './default-gateway.ts';
import { openBothFamilies } from './both-families.ts';
import type { DiscoveryOptions } from './discovery.ts';
import { FriendRoster } from './friend-roster.ts';
import { NetworkWatch } from './network-watch.ts';
import { PathHost } from './path-host.ts';
import { PortMapper } from './port-mapper.ts';
import { type ServerEvents, ServerRoster } from './server-roster.ts';

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
  /** Whether the router may be asked for a port of its own. */
  readonly portMapping: boolean;
  readonly discovery: Omit<DiscoveryOptions, 'clock'>;
  /** Servers that worked last time; tried at once, beside asking the balancers. */
  readonly cachedServers: readonly Server[];
  /** Where to bind; default: every address of both families, on free ports. */
  readonly listen?: readonly Address[];
  readonly events: ServerEvents;
}

/**
 * One peer on the network: its one socket a family, and what meets there, its servers, its paths and
 * its friends.
 */
export class PeerNode {
  readonly friends: FriendRoster;
  readonly #endpoint: QuicEndpoint;
  readonly #paths: PathHost;
  readonly #servers: ServerRoster;
  readonly #watch: NetworkWatch;
  readonly #mapper: PortMapper;
  readonly #abort = new AbortController();

  private constructor(options: PeerNodeOptions, endpoint: QuicEndpoint) {
    const { name, identity, session, clock, random, logger, relayRefused, events } = options;
    const { signal } = this.#abort;
    const paths = new PathHost({
      endpoint,
      clock,
      random,
      ownFingerprint: identity.fingerprint,
      relayRefused,
      natReported: () => this.#servers.repeatEndpoint(),
    });
    this.#endpoint = endpoint;
    this.#paths = paths;
    this.#servers = new ServerRoster({
      ...{ endpoint, paths, clock, random, logger, signal },
      registrations: options.registrations,
      discovery: options.discovery,
      presence: {
        name,
        session,
        endpoint: () => paths.ownEndpoint(networkInterfaces()),
        wishes: () => this.friends.wishes,
        firstFlights: () => this.friends.firstFlights(),
      },
      events: {
        ...events,
        match: (found) => this.friends.match(found),
        conflict: (conflict) => this.friends.conflict(conflict),
        learned: (addresses) => {
          paths.nat.learn(addresses);
          if (options.portMapping) this.#mapPort(addresses);
        },
      },
    });
    this.friends = new FriendRoster({
      ...{ endpoint, paths, clock, relayRefused, signal },
      servers: this.#servers,
      ownName: name,
      ownSession: session,
      ownFingerprint: identity.fingerprint,
    });
    this.#mapper = new PortMapper({
      ...{ clock, random, logger },
      findGateway: () => findGateway(networkInterfaces()),
      mapped: (mapping) => {
        paths.mapped = mapping?.external;
        this.#servers.repeatEndpoint();
      },
    });
    this.#watch = new NetworkWatch({
      clock,
      interfaces: () => networkInterfaces(),
      // This computer is elsewhere, perhaps: servers and friends are to know at once.
      changed: (change) => {
        logger.debug('network changed', { change });
        this.#servers.networkChanged();
        paths.networkChanged();
        this.#mapper.networkChanged();
      },
    });
  }

  static async open(options: PeerNodeOptions): Promise<PeerNode> {
    const { clock, random, identity } = options;
    // Assigned as soon as the endpoint exists: nothing arrives before this function goes on.
    const self: { friends?: FriendRoster } = {};
    const open = (listen: readonly Address[]): Promise<QuicEndpoint> =>
      QuicEndpoint.open({
        identity,
        clock,
        random,
        listen,
        alpn: [FRIEND_ALPN],
        accept: {
          admit: (remote, datagram, local) =>
            self.friends?.admit(remote, datagram, local) ?? { kind: 'drop' },
          onConnection: (connection) => self.friends?.accept(connection),
          verify: (certDer, alpn) => alpn === FRIEND_ALPN && certDer.length > 0,
        },
      });
    const endpoint = await (options.listen === undefined
      ? openBothFamilies(open)
      : open(options.listen));
    const node = new PeerNode(options, endpoint);
    self.friends = node.friends;
    node.#servers.begin(options.cachedServers);
    return node;
  }

  /** Says goodbye to every server, closes every connection and the sockets. */
  async close(): Promise<void> {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort(new Error('the peer was closed'));
    this.friends.close();
    this.#servers.close();
    this.#watch.close();
    this.#paths.close();
    // One turn, in which what was queued above is sent.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([this.#endpoint.close(), this.#mapper.close()]);
  }

  /** The router is asked for a port as soon as there are servers beyond this computer. */
  #mapPort(servers: readonly Address[]): void {
    const own = this.#endpoint.addresses.find((address) => familyOf(address) === 4);
    const isLocal = ({ host }: Address): boolean => scopeOf(host) === 'loopback';
    if (own === undefined || isLocal(own) || servers.every(isLocal)) return;
    this.#mapper.begin(own.port);
  }
}
