import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import type { PathClass } from '../../../src/base/path-class.ts';
import { seededRandom } from '../../../src/base/random.ts';
import type { Carrier, QuicConnection, QuicEndpoint, QuicStream } from '../../../src/quic/index.ts';
import {
  ALPN,
  echoStreams,
  exchange,
  firstAddress,
  openEndpoint,
  readAll,
  until,
} from './harness.ts';

type RealPath = 'memory' | 'socket';

/**
 * What the path layer is to the endpoint: one end of a friendship, whose classes each run over one
 * of two real paths, in memory or through the endpoints' own sockets.
 */
class TestCarrier implements Carrier {
  endpoint: QuicEndpoint | undefined;
  far: TestCarrier | undefined;
  realPath: RealPath = 'memory';
  /** The class that the near end takes datagrams on the socket for. */
  socketClass: PathClass = 'lan';
  dropped: (pathClass: PathClass, count: number) => boolean = () => false;
  readonly sent: Record<PathClass, number> = { lan: 0, public: 0, relay: 0 };
  longest = 0;
  /** Set: datagrams wait here. */
  held: (() => void)[] | undefined;

  send(datagram: Uint8Array, pathClass: PathClass): void {
    this.sent[pathClass] += 1;
    this.longest = Math.max(this.longest, datagram.length);
    if (this.dropped(pathClass, this.sent[pathClass])) return;
    const { endpoint, far } = this;
    if (far?.endpoint === undefined) return;
    if (this.realPath === 'socket' && far.socketClass === pathClass) {
      endpoint?.send(datagram, firstAddress(far.endpoint));
      return;
    }
    const copy = Uint8Array.from(datagram);
    const deliver = (): void => far.endpoint?.deliver(copy, pathClass, far);
    if (this.held === undefined) setImmediate(deliver);
    else this.held.push(deliver);
  }

  classOf(remote: Address): PathClass | undefined {
    const far = this.far?.endpoint;
    return far !== undefined && remote.port === firstAddress(far).port
      ? this.socketClass
      : undefined;
  }
}

interface Friends {
  readonly dialer: QuicConnection;
  readonly acceptor: QuicConnection;
  readonly near: TestCarrier;
  readonly far: TestCarrier;
}

async function connectFriends(
  prepare: (near: TestCarrier, far: TestCarrier) => void = () => undefined,
): Promise<Friends> {
  const [near, far] = [new TestCarrier(), new TestCarrier()];
  near.far = far;
  far.far = near;
  let accepted: (connection: QuicConnection) => void;
  const acceptor = new Promise<QuicConnection>((resolve) => (accepted = resolve));
  near.endpoint = await openEndpoint();
  far.endpoint = await openEndpoint({
    accept: {
      admit: () => ({ kind: 'carried', carrier: far, pathClass: far.socketClass }),
      onConnection: (connection) => accepted(connection),
    },
  });
  prepare(near, far);
  const dialer = await near.endpoint.dial({
    carrier: near,
    pathClass: 'relay',
    alpn: ALPN,
    verify: () => true,
  });
  return { dialer, acceptor: await acceptor, near, far };
}

const CLASSES: readonly PathClass[] = ['lan', 'public', 'relay'];

describe('a carried connection', () => {
  it('runs over its carrier alone, in datagrams of 1,200 bytes', async () => {
    const { dialer, acceptor, near, far } = await connectFriends();
    echoStreams(acceptor);
    expect(await exchange(dialer, 'x'.repeat(50_000))).toHaveLength(50_000);
    expect([dialer.pathClass, acceptor.pathClass]).toEqual(['relay', 'relay']);
    expect([near.longest, far.longest]).toEqual([1200, 1200]);
    expect(near.sent).toMatchObject({ lan: 0, public: 0 });
    expect(near.endpoint?.stats.datagramsOut).toBe(0);
  });

  it('accepts an Initial from the socket as carried, when the admission says so', async () => {
    const { dialer, acceptor } = await connectFriends((near, far) => {
      near.realPath = far.realPath = 'socket';
      near.socketClass = far.socketClass = 'relay';
    });
    echoStreams(acceptor);
    expect(await exchange(dialer, 'hello')).toBe('hello');
  });

  it.each([
    ['the dialer', 0],
    ['the acceptor', 1],
  ])('goes on, when a path dies, with all that %s had on its way there', async (_who, index) => {
    const { dialer, acceptor, near, far } = await connectFriends();
    const ends = [dialer, acceptor] as const;
    const [from, to] = index === 0 ? ends : ([acceptor, dialer] as const);
    const received = new Promise<QuicStream>((resolve) => (to.onStream = resolve)).then(readAll);
    dialer.selectPath('lan');
    const [sender] = index === 0 ? [near, far] : [far, near];
    let lost = 0;
    near.dropped = far.dropped = (pathClass) =>
      pathClass === 'lan' && sender.sent.lan > 500 && ++lost > 0;
    const stream = from.openStream();
    stream.end(Buffer.alloc(4_000_000));
    // As much as may always be under way without an answer.
    await until(() => lost >= 10);
    dialer.selectPath('relay');
    expect(await received).toHaveLength(4_000_000);
  });

  it('loses nothing while classes and the paths beneath them switch 150 times', async () => {
    const seed = 7;
    const random = seededRandom(seed);
    const { dialer, acceptor, near, far } = await connectFriends();
    echoStreams(acceptor);
    const stream = dialer.openStream();
    const received = readAll(stream);
    const chunks: Buffer[] = [];
    const seen = new Set<string>();
    for (let step = 0; step < 150; step++) {
      const pathClass = CLASSES[random.below(3)] ?? 'lan';
      dialer.selectPath(pathClass);
      near.socketClass = far.socketClass = CLASSES[random.below(3)] ?? 'lan';
      near.realPath = random.below(2) === 0 ? 'memory' : 'socket';
      far.realPath = random.below(2) === 0 ? 'memory' : 'socket';
      const chunk = Buffer.alloc(random.below(60_000), step);
      chunks.push(chunk);
      // As long as the switch takes to be agreed on, and a little of the transfer.
      await new Promise((resolve) => stream.write(chunk, resolve));
      seen.add(`${String(dialer.pathClass)} ${String(acceptor.pathClass)}`);
    }
    stream.end();
    expect((await received).equals(Buffer.concat(chunks)), `seed ${seed}`).toBe(true);
    for (const pathClass of CLASSES) {
      expect(near.sent[pathClass]).toBeGreaterThan(100);
      expect(far.sent[pathClass]).toBeGreaterThan(100);
    }
  });

  it.each(['near', 'far'] as const)(
    'is made though what the %s side sends comes over paths of another class',
    async (side) => {
      const { dialer, acceptor } = await connectFriends((near, far) => {
        const from = side === 'near' ? near : far;
        // As the path layer does with a relay of which nothing is known, and a better path.
        const send = from.send.bind(from);
        from.send = (datagram) => send(datagram, 'public');
      });
      echoStreams(acceptor);
      expect(await exchange(dialer, 'x'.repeat(50_000))).toHaveLength(50_000);
    },
  );

  it('follows the dialer to another class, and answers there', async () => {
    const { dialer, acceptor, near, far } = await connectFriends();
    echoStreams(acceptor);
    for (const pathClass of [...CLASSES, ...CLASSES]) {
      dialer.selectPath(pathClass);
      await exchange(dialer, 'hello');
      await exchange(dialer, 'hello again');
      expect([dialer.pathClass, acceptor.pathClass]).toEqual([pathClass, pathClass]);
      const before = { ...far.sent };
      await exchange(dialer, 'x'.repeat(20_000));
      for (const other of CLASSES) {
        if (other !== pathClass) expect(far.sent[other]).toBe(before[other]);
      }
    }
    acceptor.selectPath('lan');
    await exchange(dialer, 'the acceptor does not choose');
    expect([dialer.pathClass, near.sent.relay > 0]).toEqual(['relay', true]);
  });

  it('drops what comes by another carrier or from no checked path', async () => {
    const { dialer, acceptor, near, far } = await connectFriends();
    echoStreams(acceptor);
    const captured: Uint8Array[] = [];
    const send = near.send.bind(near);
    near.send = (datagram, pathClass) => {
      captured.push(Uint8Array.from(datagram));
      send(datagram, pathClass);
    };
    await exchange(dialer, 'hello');
    const stranger = await openEndpoint();
    for (const datagram of captured) {
      far.endpoint?.deliver(Uint8Array.from(datagram), 'relay', new TestCarrier());
    }
    const path = far.endpoint?.stats.dropped.path ?? 0;
    expect(path).toBe(captured.length);
    for (const datagram of captured) {
      if (far.endpoint !== undefined) stranger.send(datagram, firstAddress(far.endpoint));
    }
    expect(await exchange(dialer, 'still fine')).toBe('still fine');
  });

  it.each([1, 3, 5, 8])('connects though the first %i datagrams are lost', async (lost) => {
    const { dialer, acceptor } = await connectFriends((near) => {
      near.dropped = (_pathClass, count) => count <= lost;
    });
    echoStreams(acceptor);
    expect(await exchange(dialer, 'hello')).toBe('hello');
  });

  it.each([1, 3, 5])('connects though the first %i answers are lost', async (lost) => {
    const { dialer, acceptor } = await connectFriends((_near, far) => {
      far.dropped = (_pathClass, count) => count <= lost;
    });
    echoStreams(acceptor);
    expect(await exchange(dialer, 'hello')).toBe('hello');
  });

  it('ends a stream though its end goes out alone and is lost', async () => {
    const { dialer, acceptor, near, far } = await connectFriends();
    const asked = new Promise<QuicStream>((resolve) => (acceptor.onStream = resolve));
    const stream = dialer.openStream();
    stream.end('a question');
    const answering = await asked;
    await once(answering.resume(), 'end');
    // The answer is on its way, and not acknowledged, when the end is written.
    const held: (() => void)[] = [];
    near.held = held;
    const before = far.sent.relay;
    answering.write('an answer');
    await until(() => held.length > 0 && far.sent.relay > before);
    let lost = 0;
    far.dropped = () => lost++ === 0;
    answering.end();
    for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
    near.held = undefined;
    for (const deliver of held) deliver();
    expect(String(await readAll(stream))).toBe('an answer');
    expect(lost).toBeGreaterThan(1);
  });

  it('tells the peer that it closed, though the first word of it was lost', async () => {
    const { dialer, acceptor, near } = await connectFriends();
    echoStreams(acceptor);
    await exchange(dialer, 'hello');
    let lost = 0;
    near.dropped = () => lost++ === 0;
    dialer.close(9, 'bye');
    acceptor.openStream().write('are you there?');
    expect(await acceptor.closed).toEqual({ kind: 'peer', code: 9, reason: 'bye' });
  });

  it.each(['near', 'far'] as const)(
    'sends again all that the %s side lost on a class that it has left',
    async (side) => {
      const friends = await connectFriends();
      const { dialer, acceptor } = friends;
      const answering = new Promise<QuicStream>((resolve) => (acceptor.onStream = resolve));
      const asking = dialer.openStream();
      asking.write('a question');
      const ends = { near: asking, far: await answering };
      const carrier = friends[side];
      carrier.dropped = (pathClass) => pathClass === 'relay';
      const before = carrier.sent.relay;
      ends[side].end('x'.repeat(50_000));
      // As much as may be under way without an answer.
      await until(() => carrier.sent.relay >= before + 10);
      dialer.selectPath('lan');
      const other = ends[side === 'near' ? 'far' : 'near'];
      other.end('.');
      await until(() => acceptor.pathClass === 'lan');
      // The path layer sends what is for a class without a path on the best there is.
      carrier.dropped = () => false;
      const heard = await readAll(other);
      expect(heard.toString().replace('a question', '')).toHaveLength(50_000);
    },
    20_000,
  );

  it('outlives a class of path that swallows everything for a while', async () => {
    const { dialer, acceptor, near, far } = await connectFriends();
    echoStreams(acceptor);
    await exchange(dialer, 'on the relay');
    for (const carrier of [near, far]) carrier.dropped = (pathClass) => pathClass === 'lan';
    dialer.selectPath('lan');
    const held = exchange(dialer, 'held up');
    // So many that the acceptor, too, has given the path up.
    const probes = near.sent.lan;
    await until(() => near.sent.lan >= probes + 4);
    dialer.selectPath('public');
    expect(await held).toBe('held up');
    for (const carrier of [near, far]) carrier.dropped = () => false;
    dialer.selectPath('lan');
    expect(await exchange(dialer, 'and back')).toBe('and back');
    expect([dialer.pathClass, acceptor.pathClass]).toEqual(['lan', 'lan']);
  });
});
