import { createClusterCa, createSelfSigned, issueCertificate } from '../../src/base/certificate.ts';
import type { Address } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Identity } from '../../src/base/identity.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { systemRandom } from '../../src/base/random.ts';
import { RENDEZVOUS_NAME } from '../../src/base/role-names.ts';
import { type QuicConnection, QuicEndpoint, type QuicStream } from '../../src/quic/index.ts';
import { RendezvousServer } from '../../src/rendezvous/rendezvous-server.ts';
import { encodeFrame, FrameDecoder, MAX_RENDEZVOUS_FRAME_BYTES } from '../../src/rpc/frames.ts';
import type { Endpoint, SessionId, Wish } from '../../src/rpc/generated/chatty/v1/common.ts';
import { PeerToServer, ServerToPeer } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL, RENDEZVOUS_ALPN } from '../../src/rpc/protocol.ts';
import type { ClusterTls } from '../../src/rpc/tls-files.ts';

const LOOPBACK: Address = { host: '127.0.0.1', port: 0 };

/** A cluster's CA and what its servers prove themselves with. */
export async function clusterTls(): Promise<ClusterTls> {
  const ca = await createClusterCa();
  return { caPem: ca.certPem, identity: await issueCertificate(ca, RENDEZVOUS_NAME) };
}

export async function startServer(
  tls: ClusterTls,
  options: Partial<Parameters<typeof RendezvousServer.start>[0]> = {},
): Promise<RendezvousServer> {
  return RendezvousServer.start({
    listen: [LOOPBACK],
    clusterListen: [LOOPBACK],
    loadBalancers: [],
    tls,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    ...options,
  });
}

export type ServerFrame = NonNullable<ServerToPeer['kind']>;
type Frame<Case extends ServerFrame['$case']> = Extract<ServerFrame, { $case: Case }>['value'];

export interface HelloParts {
  readonly friends?: readonly string[];
  readonly wishes?: readonly Wish[];
  readonly session?: SessionId;
  readonly endpoint?: Partial<Endpoint>;
  readonly protocol?: typeof OWN_PROTOCOL;
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
  readonly #endpoint: QuicEndpoint;
  readonly connection: QuicConnection;
  readonly stream: QuicStream;
  readonly #frames: ServerFrame[] = [];
  #wake: () => void = () => undefined;

  private constructor(
    name: string,
    identity: Identity,
    endpoint: QuicEndpoint,
    connection: QuicConnection,
  ) {
    this.name = name;
    this.identity = identity;
    this.#endpoint = endpoint;
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
    server: RendezvousServer,
    name: string,
    identity?: Identity,
  ): Promise<TestPeer> {
    const own = identity ?? (await createSelfSigned('peer'));
    const endpoint = await QuicEndpoint.open({
      identity: own,
      clock: systemClock,
      random: systemRandom,
      listen: [LOOPBACK],
      alpn: [],
    });
    const [remote] = server.peerAddresses;
    if (remote === undefined) throw new Error('the server has no address');
    const connection = await endpoint.dial({
      remote,
      alpn: RENDEZVOUS_ALPN,
      verify: () => true,
    });
    return new TestPeer(name, own, endpoint, connection);
  }

  /** Connects, says hello and waits for the welcome. */
  static async register(
    server: RendezvousServer,
    name: string,
    parts: HelloParts & { identity?: Identity } = {},
  ): Promise<TestPeer> {
    const peer = await TestPeer.connect(server, name, parts.identity);
    peer.hello(parts);
    await peer.next('welcome');
    return peer;
  }

  get key(): Buffer {
    return Buffer.from(this.identity.fingerprint);
  }

  hello(parts: HelloParts = {}): void {
    const { friends = [], wishes = friends.map(wishFor), session = newSession() } = parts;
    const endpoint = {
      candidates: [],
      ufrag: 'ufrag',
      password: 'p'.repeat(24),
      ...parts.endpoint,
    };
    const protocol = parts.protocol ?? OWN_PROTOCOL;
    this.send({
      $case: 'hello',
      value: { protocol, name: this.name, session, endpoint, wishes: [...wishes], stunCookies: [] },
    });
  }

  send(kind: NonNullable<PeerToServer['kind']>): void {
    this.stream.write(encodeFrame(PeerToServer.encode({ kind }).finish()));
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

  async leave(): Promise<void> {
    this.connection.close();
    await this.#endpoint.close();
  }
}

export function wishFor(friend: string): Wish {
  return { friend, friendKey: Buffer.alloc(0) };
}
