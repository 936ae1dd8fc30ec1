import type { Address } from '../../../src/base/address.ts';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { QuicEndpoint, type QuicStream } from '../../../src/quic/index.ts';
import { encodeFrame, FrameDecoder, MAX_RENDEZVOUS_FRAME_BYTES } from '../../../src/rpc/frames.ts';
import { PeerToServer, ServerToPeer } from '../../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL, RENDEZVOUS_ALPN } from '../../../src/rpc/protocol.ts';
import { serveTasks } from '../worker.ts';

/**
 * The process of many peers, each reduced to its registration: a QUIC connection of its own, a name
 * of its own, kept alive as often as a real peer does.
 */
const KEEP_ALIVE_MS = 15_000;
const ANSWER_MS = 3_000;
/** How many join at the same time. */
const AT_ONCE = 64;

type ServerFrame = NonNullable<ServerToPeer['kind']>;
type PeerFrame = NonNullable<PeerToServer['kind']>;

const identity = await createSelfSigned('peer');
const endpoint = (): Promise<QuicEndpoint> =>
  QuicEndpoint.open({
    identity,
    clock: systemClock,
    random: systemRandom,
    listen: [{ host: '127.0.0.1', port: 0 }],
    alpn: [],
  });
const portOf = ({ addresses }: QuicEndpoint): number => addresses[0]?.port ?? 0;

interface Wanted {
  readonly $case: ServerFrame['$case'];
  readonly found: () => void;
  readonly refused: (error: Error) => void;
}

class Waiting {
  readonly #stream: QuicStream;
  #wanted: Wanted | undefined;

  private constructor(stream: QuicStream) {
    this.#stream = stream;
    const decoder = new FrameDecoder(MAX_RENDEZVOUS_FRAME_BYTES);
    stream.on('data', (chunk: Buffer) => {
      for (const bytes of decoder.push(chunk)) {
        const { kind } = ServerToPeer.decode(bytes);
        if (kind?.$case === this.#wanted?.$case) this.#wanted?.found();
        else if (kind?.$case === 'error') this.#wanted?.refused(new Error(kind.value.message));
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
  next($case: ServerFrame['$case']): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#wanted = { $case, found: () => resolve(performance.now()), refused: reject };
    });
  }

  send(kind: PeerFrame): void {
    this.#stream.write(encodeFrame(PeerToServer.encode({ kind }).finish()));
  }
}

function wishFor(friend: string) {
  return { friend, friendKey: Buffer.alloc(0) };
}

/** One at least. */
type Servers = readonly [Address, ...Address[]];

/** Somebody whose friend never comes, on one of the servers by its number. */
function joinAlone(from: QuicEndpoint, servers: Servers, number: number): Promise<Waiting> {
  const server = servers[number % servers.length] ?? servers[0];
  const name = `waiting-${number}`;
  return Waiting.join(from, server, name, `friend of ${name}`);
}

interface Pair {
  readonly waiting: Waiting;
  readonly wisher: Waiting;
  readonly waitingName: string;
}

const pairs: Pair[] = [];

const tasks = {
  /**
   * Registers `count` peers who wait for somebody who never comes, on these servers in turn.
   * @returns how many a second.
   */
  join: async (work: { servers: Servers; first: number; count: number }): Promise<number> => {
    const from = await endpoint();
    const startedAt = performance.now();
    let next = work.first;
    const last = work.first + work.count;
    const some = async (): Promise<void> => {
      while (next < last) await joinAlone(from, work.servers, next++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, some));
    return (work.count / (performance.now() - startedAt)) * 1000;
  },

  /**
   * The same, each when it is due, whether or not those before have done.
   * @returns how many a second did, and how many did not get in.
   */
  joinAtRate: async (work: {
    servers: Servers;
    first: number;
    count: number;
    perSecond: number;
  }) => {
    const from = await endpoint();
    const startedAt = performance.now();
    const joins: Promise<Waiting>[] = [];
    while (joins.length < work.count) {
      const due = startedAt + (joins.length * 1000) / work.perSecond;
      if (performance.now() < due) await systemClock.sleep(due - performance.now());
      joins.push(joinAlone(from, work.servers, work.first + joins.length));
    }
    const settled = await Promise.allSettled(joins);
    const failed = settled.filter(({ status }) => status === 'rejected').length;
    return { rate: ((work.count - failed) / (performance.now() - startedAt)) * 1000, failed };
  },

  /**
   * Registers pairs of which only one side has its wish yet, the other side on the last of the
   * servers. @returns the two sides' ports, and the number of the first pair.
   */
  pair: async ({ servers, count }: { servers: Servers; count: number }) => {
    const [waiters, wishers] = [await endpoint(), await endpoint()];
    const first = pairs.length;
    while (pairs.length < first + count) {
      const [waitingName, wisherName] = [`early-${pairs.length}`, `late-${pairs.length}`];
      pairs.push({
        waitingName,
        waiting: await Waiting.join(waiters, servers[0], waitingName, wisherName),
        wisher: await Waiting.join(wishers, servers.at(-1) ?? servers[0], wisherName, undefined),
      });
    }
    return { waiting: portOf(waiters), wisher: portOf(wishers), first };
  },

  /** The other side's wish. @returns milliseconds until the one who waits knows its friend. */
  wish: async (index: number): Promise<number> => {
    const pair = pairs[index];
    if (pair === undefined) throw new RangeError(`no pair ${index}`);
    const both = [pair.waiting.next('match'), pair.wisher.next('match')] as const;
    const startedAt = performance.now();
    pair.wisher.send({
      $case: 'wish',
      value: { wish: wishFor(pair.waitingName), withdraw: false },
    });
    const [at] = await Promise.all(both);
    return at - startedAt;
  },
};

export type CrowdTasks = typeof tasks;

serveTasks(tasks);
