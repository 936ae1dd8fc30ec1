import type { Address } from '../../../src/base/address.ts';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { QuicEndpoint, type QuicStream } from '../../../src/quic/index.ts';
import { encodeFrame, FrameDecoder, MAX_RENDEZVOUS_FRAME_BYTES } from '../../../src/rpc/frames.ts';
import { PeerToServer, ServerToPeer } from '../../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL, RENDEZVOUS_ALPN } from '../../../src/rpc/protocol.ts';

const KEEP_ALIVE_MS = 15_000;
const ANSWER_MS = 3_000;

type ServerFrame = NonNullable<ServerToPeer['kind']>;
type PeerFrame = NonNullable<PeerToServer['kind']>;

const identity = await createSelfSigned('peer');

/** A socket for peers, who all have one key. */
export function openEndpoint(): Promise<QuicEndpoint> {
  return QuicEndpoint.open({
    identity,
    clock: systemClock,
    random: systemRandom,
    listen: [{ host: '127.0.0.1', port: 0 }],
    alpn: [],
  });
}

export function portOf({ addresses }: QuicEndpoint): number {
  return addresses[0]?.port ?? 0;
}

/** A frame that was asked for. */
export interface Found {
  readonly at: number;
  readonly frame: ServerFrame;
}

interface Wanted {
  readonly $case: ServerFrame['$case'];
  readonly found: (frame: Found) => void;
  readonly refused: (error: Error) => void;
}

/** A peer reduced to its registration: a connection of its own, kept alive as often as a real one. */
export class Waiting {
  readonly #stream: QuicStream;
  #wanted: Wanted | undefined;

  private constructor(stream: QuicStream) {
    this.#stream = stream;
    const decoder = new FrameDecoder(MAX_RENDEZVOUS_FRAME_BYTES);
    stream.on('data', (chunk: Buffer) => {
      for (const bytes of decoder.push(chunk)) {
        const { kind } = ServerToPeer.decode(bytes);
        if (kind !== undefined && kind.$case === this.#wanted?.$case) {
          this.#wanted.found({ at: performance.now(), frame: kind });
        } else if (kind?.$case === 'error') this.#wanted?.refused(new Error(kind.value.message));
      }
    });
  }

  static async join(
    from: QuicEndpoint,
    server: Address,
    name: string,
    friend: string | undefined,
  ): Promise<Waiting> {
    const connection = await from.dial({
      remote: server,
      alpn: RENDEZVOUS_ALPN,
      verify: () => true,
      handshakeTimeoutMs: 30_000,
      keepAliveMs: KEEP_ALIVE_MS,
      keepAliveAnswerMs: ANSWER_MS,
    });
    const peer = new Waiting(connection.openStream());
    void connection.closed.then(() => peer.#wanted?.refused(new Error('the connection is closed')));
    const welcome = peer.next('welcome');
    peer.send({
      $case: 'hello',
      value: {
        protocol: OWN_PROTOCOL,
        name,
        session: {
          startedAt: BigInt(systemClock.wallClock()),
          nonce: Buffer.from(systemRandom.bytes(16)),
        },
        endpoint: {
          candidates: [],
          ufrag: 'bench',
          password: 'b'.repeat(24),
          relayRefused: false,
        },
        wishes: friend === undefined ? [] : [wishFor(friend)],
        stunCookies: [],
        firstFlights: [],
      },
    });
    await welcome;
    return peer;
  }

  /** The next frame of this kind, asked for before what brings it. @throws Error if it is refused. */
  next($case: ServerFrame['$case']): Promise<Found> {
    return new Promise((resolve, reject) => {
      this.#wanted = { $case, found: resolve, refused: reject };
    });
  }

  send(kind: PeerFrame): void {
    this.#stream.write(encodeFrame(PeerToServer.encode({ kind }).finish()));
  }
}

export function wishFor(friend: string) {
  return { friend, friendKey: Buffer.alloc(0) };
}
