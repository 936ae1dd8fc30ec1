import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { createClusterCa, createSelfSigned, issueCertificate } from '../../src/base/certificate.ts';
import { expect } from 'vitest';
import { type Address, formatAddress } from '../../src/base/address.ts';
import { LoadBalancer } from '../../src/loadbalancer/load-balancer.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Identity } from '../../src/base/identity.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { systemRandom } from '../../src/base/random.ts';
import { LOAD_BALANCER_NAME, RENDEZVOUS_NAME } from '../../src/base/role-names.ts';
import { type QuicConnection, QuicEndpoint, type QuicStream } from '../../src/quic/index.ts';
import { Tunnel } from '../../src/peer/tunnel.ts';
import { RendezvousServer } from '../../src/rendezvous/rendezvous-server.ts';
import { encodeFrame, FrameDecoder, MAX_RENDEZVOUS_FRAME_BYTES } from '../../src/rpc/frames.ts';
import type { Endpoint, SessionId, Wish } from '../../src/rpc/generated/chatty/v1/common.ts';
import {
  type FirstFlight,
  PeerToServer,
  ServerToPeer,
} from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL, RENDEZVOUS_ALPN } from '../../src/rpc/protocol.ts';
import type { ClusterTls } from '../../src/rpc/tls-files.ts';

const LOOPBACK: Address = { host: '127.0.0.1', port: 0 };

/** What the servers and the load balancers of a cluster prove themselves with. */
export interface ClusterSecrets {
  readonly server: ClusterTls;
  readonly balancer: ClusterTls;
}

export async function clusterSecrets(): Promise<ClusterSecrets> {
  const ca = await createClusterCa();
  const caPem = ca.certPem;
  return {
    server: { caPem, identity: await issueCertificate(ca, RENDEZVOUS_NAME) },
    balancer: { caPem, identity: await issueCertificate(ca, LOAD_BALANCER_NAME) },
  };
}

/** Where peers find a server. */
type Reachable = Pick<RendezvousServer, 'peerAddresses'>;

/** A server in a process of its own. */
export interface ServerProcess extends Reachable {
  readonly id: string;
  signal(signal: NodeJS.Signals): void;
}

/** Load balancers, servers and peers of one test, all on loopback, and ended with it. */
export class TestCluster {
  readonly #secrets: ClusterSecrets;
  readonly balancers: LoadBalancer[] = [];
  readonly servers: RendezvousServer[] = [];
  readonly peers: TestPeer[] = [];
  readonly #children: ChildProcess[] = [];

  constructor(secrets: ClusterSecrets) {
    this.#secrets = secrets;
  }

  async balancer(clusterListen: Address = LOOPBACK): Promise<LoadBalancer> {
    const balancer = await LoadBalancer.start({
      listen: [LOOPBACK],
      clusterListen: [clusterListen],
      tls: this.#secrets.balancer,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
    });
    this.balancers.push(balancer);
    return balancer;
  }

  /** Starts a server that registers with every balancer there is, and waits until it is ready. */
  async server(
    options: Partial<Parameters<typeof RendezvousServer.start>[0]> = {},
  ): Promise<RendezvousServer> {
    const server = await RendezvousServer.start({
      listen: [LOOPBACK],
      clusterListen: [LOOPBACK],
      loadBalancers: this.#balancerAddresses,
      tls: this.#secrets.server,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      ...options,
    });
    this.servers.push(server);
    await server.ready;
    return server;
  }

  /** Starts a server in a process of its own and waits until it is ready. */
  async process(): Promise<ServerProcess> {
    const script = fileURLToPath(new URL('./rendezvous-process.ts', import.meta.url));
    const options = { tls: this.#secrets.server, loadBalancers: this.#balancerAddresses };
    const child = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    const lines = createInterface({ input: child.stdout });
    const [line] = (await once(lines, 'line')) as [string];
    const ready = JSON.parse(line) as Pick<ServerProcess, 'id' | 'peerAddresses'>;
    return { ...ready, signal: (signal) => child.kill(signal) };
  }

  get #balancerAddresses(): string[] {
    return this.balancers.flatMap(({ clusterAddresses }) => clusterAddresses.map(formatAddress));
  }

  /** Connects a peer, which says nothing yet. */
  async connect(server: Reachable, name: string, identity?: Identity): Promise<TestPeer> {
    const peer = await TestPeer.connect(server, name, { identity });
    this.peers.push(peer);
    return peer;
  }

  /** As `connect`, over TCP. */
  async connectByTunnel(server: Reachable, name: string): Promise<TestPeer> {
    const peer = await TestPeer.connect(server, name, { byTunnel: true });
    this.peers.push(peer);
    return peer;
  }

  /** Connects a peer, says hello and waits for the welcome. */
  async register(
    server: Reachable,
    name: string,
    parts: HelloParts & { identity?: Identity } = {},
  ): Promise<TestPeer> {
    const peer = await this.connect(server, name, parts.identity);
    peer.hello(parts);
    await peer.next('welcome');
    return peer;
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(this.peers.map((peer) => peer.leave()));
    await Promise.all(this.servers.map((server) => server.stop()));
    await Promise.all(this.balancers.map((balancer) => balancer.stop()));
  }
}

export type ServerFrame = NonNullable<ServerToPeer['kind']>;
type Frame<Case extends ServerFrame['$case']> = Extract<ServerFrame, { $case: Case }>['value'];

export interface HelloParts {
  readonly friends?: readonly string[];
  readonly wishes?: readonly Wish[];
  readonly session?: SessionId;
  readonly cookies?: Buffer[];
  readonly endpoint?: Partial<Endpoint>;
  readonly protocol?: typeof OWN_PROTOCOL;
  readonly firstFlights?: readonly FirstFlight[];
}

let lastStart = 1_700_000_000_000n;

/** A session newer than all before it. */
export function newSession(): SessionId {
  lastStart += 1n;
  return { startedAt: lastStart, nonce: Buffer.from(systemRandom.bytes(16)) };
}

/** A peer reduced to its conversation with one server. */
export class TestPeer {
  readonly name: string;
  readonly identity: Identity;
  readonly endpoint: QuicEndpoint;
  readonly connection: QuicConnection;
  readonly stream: QuicStream;
  /** Settable: relay frames that came by the tunnel. */
  onTunnelled: (datagram: Uint8Array) => void = () => undefined;
  readonly tunnel: Tunnel | undefined;
  readonly #frames: ServerFrame[] = [];
  #wake: () => void = () => undefined;

  private constructor(
    name: string,
    identity: Identity,
    endpoint: QuicEndpoint,
    connection: QuicConnection,
    tunnel: Tunnel | undefined,
  ) {
    this.tunnel = tunnel;
    this.name = name;
    this.identity = identity;
    this.endpoint = endpoint;
    this.connection = connection;
    this.stream = connection.openStream();
    const decoder = new FrameDecoder(MAX_RENDEZVOUS_FRAME_BYTES);
    this.stream.on('data', (chunk: Buffer) => {
      for (const bytes of decoder.push(chunk)) {
        const { kind } = ServerToPeer.decode(bytes);
        if (kind !== undefined) this.#frames.push(kind);
      }
      this.#wake();
    });
  }

  static async connect(
    server: Reachable,
    name: string,
    how: { readonly identity?: Identity | undefined; readonly byTunnel?: boolean } = {},
  ): Promise<TestPeer> {
    const own = how.identity ?? (await createSelfSigned('peer'));
    const endpoint = await QuicEndpoint.open({
      identity: own,
      clock: systemClock,
      random: systemRandom,
      listen: [LOOPBACK],
      alpn: [],
    });
    const [remote] = server.peerAddresses;
    if (remote === undefined) throw new Error('the server has no address');
    const received = (datagram: Uint8Array, from: Tunnel): void => {
      if (datagram[0] === 0x0c) peer?.onTunnelled(datagram);
      else endpoint.deliver(datagram, 'relay', from);
    };
    const tunnel =
      how.byTunnel === true
        ? new Tunnel({ remote, certificate: await certificateAt(remote), received })
        : undefined;
    const to = tunnel === undefined ? { remote } : { carrier: tunnel, pathClass: 'relay' as const };
    const connection = await endpoint.dial({ ...to, alpn: RENDEZVOUS_ALPN, verify: () => true });
    const peer: TestPeer | undefined = new TestPeer(name, own, endpoint, connection, tunnel);
    return peer;
  }

  get key(): Buffer {
    return Buffer.from(this.identity.fingerprint);
  }

  hello(parts: HelloParts = {}): void {
    const session = parts.session ?? newSession();
    const wishes = parts.wishes ?? (parts.friends ?? []).map((friend) => wishFor(friend));
    const endpoint = {
      candidates: [],
      ufrag: 'ufrag',
      password: 'p'.repeat(24),
      relayRefused: false,
      ...parts.endpoint,
    };
    const { protocol = OWN_PROTOCOL, cookies: stunCookies = [] } = parts;
    this.send({
      $case: 'hello',
      value: {
        ...{ protocol, name: this.name, session, endpoint, wishes: [...wishes], stunCookies },
        firstFlights: [...(parts.firstFlights ?? [])],
      },
    });
  }

  send(kind: NonNullable<PeerToServer['kind']>): void {
    this.stream.write(encodeFrame(PeerToServer.encode({ kind }).finish()));
  }

  /** Resolves once the connection is closed, whoever closes it. */
  get gone(): Promise<unknown> {
    return this.connection.closed;
  }

  wish(friend: string, withdraw = false): void {
    this.send({ $case: 'wish', value: { wish: wishFor(friend), withdraw } });
  }

  /** The next frame of this kind; those before it stay for whoever asks for them. */
  async next<Case extends ServerFrame['$case']>($case: Case): Promise<Frame<Case>> {
    for (;;) {
      const at = this.#frames.findIndex((frame) => frame.$case === $case);
      const [frame] = at < 0 ? [] : this.#frames.splice(at, 1);
      if (frame !== undefined) return frame.value as Frame<Case>;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** What has come and was not asked for. */
  get unread(): readonly ServerFrame[] {
    return this.#frames;
  }

  /** Tries another protocol, or another server. */
  async dial(server: Reachable, alpn: string): Promise<QuicConnection> {
    const [remote] = server.peerAddresses;
    if (remote === undefined) throw new Error('the server has no address');
    return this.endpoint.dial({ remote, alpn, verify: () => true });
  }

  async leave(): Promise<void> {
    this.connection.close();
    await this.endpoint.close();
    this.tunnel?.close();
  }
}

/** The certificate that is shown over TCP. */
export async function certificateAt({ host, port }: Address): Promise<Uint8Array> {
  const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerX509Certificate()?.raw;
  socket.destroy();
  if (certificate === undefined) throw new Error('it showed no certificate');
  return certificate;
}

export function wishFor(friend: string, friendKey: Uint8Array = Buffer.alloc(0)): Wish {
  return { friend, friendKey: Buffer.from(friendKey) };
}

/** As `expect`, of what `look` comes to show sooner or later. */
export function eventually<Value>(look: () => Value, timeout = 10_000) {
  return expect.poll(look, { timeout, interval: 20 });
}
