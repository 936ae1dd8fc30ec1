import { type Address, formatAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { GrpcServer } from '../rpc/grpc-server.ts';
import { ROLES } from '../rpc/role.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import type { CheckOutcome } from './events.ts';
import { Registry } from './registry.ts';
import { RegistryRunner } from './registry-runner.ts';
import type { ServerView } from './roster.ts';
import { ServerConnections } from './server-connections.ts';
import { addOperationsService, OPERATIONS_PATH } from './operations-service.ts';
import { addPeerService, addRegistrationService, type ServiceContext } from './services.ts';
import { DEFAULT_SETTINGS, type LoadBalancerSettings } from './settings.ts';

export interface LoadBalancerOptions {
  /** Where peers ask. */
  readonly listen: readonly Address[];
  /** Where servers register. */
  readonly clusterListen: readonly Address[];
  /**
   * Its peer addresses as told to others; hosts may be names, port 0 stands for the port listened on.
   * Default: the addresses it listens on, but for unspecified ones like 0.0.0.0.
   */
  readonly advertise?: readonly Address[] | undefined;
  readonly tls: ClusterTls;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings?: Partial<LoadBalancerSettings> | undefined;
}

/** Gauges of now and counters since the start. */
export interface LoadBalancerStats {
  readonly servers: Readonly<Record<ServerView['state'], number>>;
  readonly doubtsItself: boolean;
  /** Health checks by what they found. */
  readonly checks: Readonly<Record<CheckOutcome, number>>;
  /** Peers' questions: how many got servers, and for how many there was none. */
  readonly handOuts: Readonly<Record<'servers' | 'none', number>>;
}

/** A peer's question is some bytes; a registration some hundred, certificate and addresses. */
const MAX_QUESTION_BYTES = 4_096;
const MAX_REGISTRATION_BYTES = 65_536;
/** How long calls that run when it is stopped have to end. */
const STOP_MS = 1_000;

/**
 * A load balancer: tells peers where rendezvous servers are, takes servers' registrations, and checks
 * that they live. Its state is in memory only, and whole again within one heartbeat of the servers.
 */
export class LoadBalancer {
  /** Where peers reach it, with the ports it really got. */
  readonly peerAddresses: readonly Address[];
  /** Where servers reach it. */
  readonly clusterAddresses: readonly Address[];
  readonly #runner: RegistryRunner;
  readonly #servers: readonly GrpcServer[];
  readonly #clock: Clock;
  readonly #handOuts: Readonly<Record<'servers' | 'none', number>>;

  private constructor(
    { runner, handOuts }: ServiceContext,
    peers: GrpcServer,
    cluster: GrpcServer,
    clock: Clock,
  ) {
    this.#runner = runner;
    this.#handOuts = handOuts;
    this.#servers = [peers, cluster];
    this.#clock = clock;
    this.peerAddresses = peers.addresses;
    this.clusterAddresses = cluster.addresses;
  }

  /**
   * Resolves once it listens on both planes.
   * @throws ChattyError CHATTY_PORT_IN_USE or CHATTY_CONFIG.
   */
  static async start(options: LoadBalancerOptions): Promise<LoadBalancer> {
    const { tls, clock, random, logger } = options;
    const settings = { ...DEFAULT_SETTINGS, ...options.settings };
    const connections = new ServerConnections(tls, clock);
    const runner = new RegistryRunner(new Registry(settings, random), connections, clock, logger);
    let advertised: readonly string[] = [];
    const context: ServiceContext = {
      runner,
      advertised: () => advertised,
      leaseMs: settings.leaseMs,
      handOuts: { servers: 0, none: 0 },
      logger,
    };
    const peers = await GrpcServer.listen({
      listen: options.listen,
      tls,
      callers: 'anyone',
      maxRequestBytes: MAX_QUESTION_BYTES,
      addServices: (server) => addPeerService(server, context),
    });
    advertised = advertisedAddresses(options.advertise ?? [], peers.addresses);
    if (advertised.length === 0) {
      logger.warn('peers of other load balancers are not told of this one', {
        reason: 'it listens on every address and none is advertised',
      });
    }
    try {
      const cluster = await GrpcServer.listen({
        listen: options.clusterListen,
        tls,
        // Any program of the cluster may look; only servers may register.
        callers: (path) => (path.startsWith(OPERATIONS_PATH) ? ROLES : ['rendezvous']),
        maxRequestBytes: MAX_REGISTRATION_BYTES,
        addServices: (server) => {
          addRegistrationService(server, context);
          addOperationsService(server, context);
        },
      });
      return new LoadBalancer(context, peers, cluster, clock);
    } catch (error) {
      await peers.stop(0, clock);
      throw error;
    }
  }

  get stats(): LoadBalancerStats {
    const { servers: views, doubtsItself } = this.#runner.view();
    const servers = { starting: 0, listed: 0, suspect: 0 };
    for (const { state } of views) servers[state] += 1;
    return { servers, doubtsItself, checks: this.#runner.checks, handOuts: { ...this.#handOuts } };
  }

  /** Closes every connection and port. Idempotent. */
  async stop(): Promise<void> {
    this.#runner.stop();
    await Promise.all(this.#servers.map((server) => server.stop(STOP_MS, this.#clock)));
  }
}

function advertisedAddresses(wanted: readonly Address[], bound: readonly Address[]): string[] {
  const port = bound[0]?.port ?? 0;
  if (wanted.length > 0) {
    return wanted.map((each) => formatAddress(each.port === 0 ? { ...each, port } : each));
  }
  const unspecified = ['0.0.0.0', '::'];
  return bound.filter(({ host }) => !unspecified.includes(host)).map(formatAddress);
}
