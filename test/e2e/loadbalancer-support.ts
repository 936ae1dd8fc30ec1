import { type Address } from '../../src/base/address.ts';
import { createClusterCa, createSelfSigned, issueCertificate } from '../../src/base/certificate.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Identity } from '../../src/base/identity.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { seededRandom } from '../../src/base/random.ts';
import { LoadBalancer } from '../../src/loadbalancer/load-balancer.ts';
import type { LoadBalancerSettings } from '../../src/loadbalancer/settings.ts';
import { fetchServers, type ServersAnswer } from '../../src/rpc/balancer-client.ts';
import { clientFor } from '../../src/rpc/cluster-channel.ts';
import {
  type DeregisterResponse,
  type RegisterResponse,
  RegistrationServiceClient,
} from '../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import {
  type Member,
  MembershipServiceService,
  type MemberFact,
  type NotifyRequest,
  type NotifyResponse,
  type ProbeRequest,
  type ProbeResponse,
} from '../../src/rpc/generated/chatty/v1/membership.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { HealthClient, HealthService } from '../../src/rpc/health.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import type { ClusterTls } from '../../src/rpc/tls-files.ts';
import { unary } from '../../src/rpc/unary-call.ts';
import { unaryHandler } from '../../src/rpc/unary-handler.ts';
import { addressesFromWire, addressToWire } from '../../src/rpc/wire-address.ts';

const clock = systemClock;
const LOOPBACK: Address = { host: '127.0.0.1', port: 0 };

/** A cluster's keys, its balancers and servers, and what has to be stopped at the end. */
export class TestCluster {
  readonly #stops: (() => unknown)[] = [];
  readonly #seed: number;
  readonly balancerTls: ClusterTls;
  readonly serverTls: ClusterTls;
  readonly certificate: Identity;

  private constructor(
    balancerTls: ClusterTls,
    serverTls: ClusterTls,
    certificate: Identity,
    seed: number,
  ) {
    this.balancerTls = balancerTls;
    this.serverTls = serverTls;
    this.certificate = certificate;
    this.#seed = seed;
  }

  static async create(seed = 1): Promise<TestCluster> {
    const ca = await createClusterCa();
    const tls = async (name: string): Promise<ClusterTls> => ({
      caPem: ca.certPem,
      identity: await issueCertificate(ca, name),
    });
    return new TestCluster(
      await tls('loadbalancer.chatty.internal'),
      await tls('rendezvous.chatty.internal'),
      await createSelfSigned('rendezvous.chatty.internal'),
      seed,
    );
  }

  async balancer(settings: Partial<LoadBalancerSettings> = {}): Promise<LoadBalancer> {
    const balancer = await LoadBalancer.start({
      listen: [LOOPBACK],
      clusterListen: [LOOPBACK],
      tls: this.balancerTls,
      clock,
      random: seededRandom(this.#seed),
      logger: silentLogger,
      settings,
    });
    this.atEnd(() => balancer.stop());
    return balancer;
  }

  async server(letter: string): Promise<FakeServer> {
    const server = await FakeServer.start(letter, this);
    this.atEnd(() => server.kill());
    return server;
  }

  /** What a peer gets from a balancer. */
  ask(balancer: LoadBalancer): Promise<ServersAnswer> {
    return fetchServers({
      address: first(balancer.peerAddresses),
      trust: { kind: 'ca', pem: this.balancerTls.caPem },
      deadlineMs: 5_000,
      clock,
    });
  }

  atEnd(stop: () => unknown): void {
    this.#stops.push(stop);
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop();
  }
}

export function first<T>(list: readonly T[]): T {
  const [head] = list;
  if (head === undefined) throw new Error('the list is empty');
  return head;
}

/** A rendezvous server as balancers see it: health and membership, without peers. */
export class FakeServer {
  readonly id: string;
  readonly health = new HealthService();
  /** Every fact it was told by `Notify`, as `letter state`. */
  readonly told: string[] = [];
  /** Whom it was asked to probe. */
  readonly probed: string[] = [];
  /** Whether it says that every server it probes is healthy. */
  vouches = false;
  /** Whether notices to it fail. */
  deaf = false;
  incarnation = 1n;
  grpc!: GrpcServer;
  readonly #cluster: TestCluster;
  #onTold: (() => void) | undefined;

  private constructor(letter: string, cluster: TestCluster) {
    this.id = letter.repeat(32);
    this.#cluster = cluster;
  }

  static async start(letter: string, cluster: TestCluster): Promise<FakeServer> {
    const server = new FakeServer(letter, cluster);
    server.grpc = await GrpcServer.listen({
      listen: [LOOPBACK],
      tls: cluster.serverTls,
      callers: ['loadbalancer', 'rendezvous'],
      maxRequestBytes: 65_536,
      addServices: (grpc) => {
        server.health.addTo(grpc);
        grpc.addService(MembershipServiceService, {
          notify: unaryHandler<NotifyRequest, NotifyResponse>(
            ({ request }) => server.#notified(request),
            () => undefined,
          ),
          probe: unaryHandler<ProbeRequest, ProbeResponse>(
            ({ request }) => server.#probe(request),
            () => undefined,
          ),
        });
      },
    });
    server.health.set('serving');
    return server;
  }

  get member(): Member {
    const address = addressToWire(first(this.grpc.addresses));
    return {
      id: this.id,
      incarnation: this.incarnation,
      peerAddresses: [address],
      clusterAddresses: [address],
      certificate: Buffer.from(this.#cluster.certificate.certDer),
    };
  }

  register(
    balancer: LoadBalancer,
    knownLoadBalancers: string[] = [],
    member: Member | null = this.member,
  ): Promise<RegisterResponse> {
    return this.#call(balancer, (client, limits) =>
      unary<RegisterResponse>(
        (metadata, options, done) =>
          client.register(
            { protocol: OWN_PROTOCOL, member: member ?? undefined, knownLoadBalancers },
            metadata,
            options,
            done,
          ),
        limits,
      ),
    );
  }

  deregister(balancer: LoadBalancer): Promise<DeregisterResponse> {
    const { id, incarnation } = this;
    return this.#call(balancer, (client, limits) =>
      unary<DeregisterResponse>(
        (metadata, options, done) =>
          client.deregister({ id, incarnation }, metadata, options, done),
        limits,
      ),
    );
  }

  /** Resolves when it has been told `fact`. */
  async waitToBeTold(fact: string): Promise<void> {
    while (!this.told.includes(fact)) {
      await new Promise<void>((resolve) => {
        this.#onTold = resolve;
      });
    }
  }

  /** Drops every connection and listens no more, as a process that is killed does. */
  kill(): Promise<void> {
    return this.grpc.stop(0, clock);
  }

  async #call<Response>(
    balancer: LoadBalancer,
    call: (
      client: RegistrationServiceClient,
      limits: { deadlineMs: number; clock: typeof clock },
    ) => Promise<Response>,
  ): Promise<Response> {
    const address = first(balancer.clusterAddresses);
    const client = clientFor(
      RegistrationServiceClient,
      address,
      this.#cluster.serverTls,
      'loadbalancer',
    );
    try {
      return await call(client, { deadlineMs: 5_000, clock });
    } finally {
      client.close();
    }
  }

  #notified({ facts, spread }: NotifyRequest): NotifyResponse {
    if (this.deaf) throw new Error('deaf');
    for (const fact of facts)
      this.told.push(`${describe(fact)}${spread ? '' : ' (not to spread)'}`);
    this.#onTold?.();
    return {};
  }

  async #probe({ addresses, deadlineMs }: ProbeRequest): Promise<ProbeResponse> {
    const address = first(addressesFromWire(addresses, 4));
    this.probed.push(String(address.port));
    if (this.vouches) return { healthy: true };
    const client = new HealthClient(address, this.#cluster.serverTls);
    try {
      return { healthy: (await client.check({ deadlineMs, clock })) === 'serving' };
    } catch {
      return { healthy: false };
    } finally {
      client.close();
    }
  }
}

function describe({ member, state }: MemberFact): string {
  return `${member?.id.slice(0, 1) ?? '?'} ${['?', 'alive', 'removed', 'left'][state] ?? '?'}`;
}
