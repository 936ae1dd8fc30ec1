import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { seededRandom } from '../../src/base/random.ts';
import { LoadBalancer } from '../../src/loadbalancer/load-balancer.ts';
import { addressFromWire, addressToWire } from '../../src/rpc/wire-address.ts';
import { first, TestCluster } from './loadbalancer-support.ts';

// Rounds as short as a test has patience for; everything else as in production.
const QUICK = { checkIntervalMs: 60 };

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.create();
});
afterEach(() => cluster.stop());

/** Asks until the answer satisfies; the test's own time limit ends it. */
async function until<T>(ask: () => Promise<T>, satisfied: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (satisfied(answer)) return answer;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const listedIds = async (balancer: LoadBalancer): Promise<string> => {
  try {
    const { response } = await cluster.ask(balancer);
    const ids = response.servers.map(({ id }) => id[0] ?? '');
    return ids.sort().join('');
  } catch (error) {
    expect(error).toMatchObject({ code: 'CHATTY_NO_SERVER' });
    return '';
  }
};

/** A TCP proxy whose connections can be made to hang; later ones work. */
class HangingWay {
  connections = 0;
  /** What connections that work have carried from the server. */
  bytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(port: number): Promise<HangingWay> {
    const server = createServer();
    const way = new HangingWay(server);
    server.on('connection', (near) => {
      way.connections += 1;
      const far = connect(port, '127.0.0.1');
      for (const socket of [near, far]) {
        way.#sockets.add(socket);
        socket.on('error', () => undefined);
      }
      far.on('data', (chunk: Buffer) => (way.bytes += chunk.length));
      near.pipe(far).pipe(near);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return way;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on the connections that exist carry nothing, and do not end. */
  hang(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

describe('a load balancer', () => {
  it('without servers answers a sentence, and does not crash', async () => {
    const balancer = await cluster.balancer();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(cluster.ask(balancer)).rejects.toMatchObject({
        code: 'CHATTY_NO_SERVER',
        exitCode: 69,
        message: expect.stringContaining('no rendezvous server is up at the moment') as string,
      });
    }
  });

  it('hands out a server with its addresses and certificate as soon as it has registered', async () => {
    const balancer = await cluster.balancer();
    const server = await cluster.server('a');
    const registered = await server.register(balancer);
    expect(registered).toMatchObject({ listed: true, notListedBecause: '', leaseMs: 15_000 });
    expect(registered.members).toEqual([server.member]);
    expect(registered.advertised).toEqual(balancer.peerAddresses.map(formatAddress));
    expect(registered.observed?.ip).toEqual(Buffer.from([127, 0, 0, 1]));
    const { response } = await cluster.ask(balancer);
    expect(response.servers).toEqual([
      {
        id: server.id,
        addresses: server.member.peerAddresses,
        certificate: server.member.certificate,
      },
    ]);
  });

  it('goes round among the servers', async () => {
    const balancer = await cluster.balancer();
    for (const letter of ['a', 'b', 'c']) await (await cluster.server(letter)).register(balancer);
    const firsts: string[] = [];
    for (let turn = 0; turn < 6; turn += 1) {
      const { response } = await cluster.ask(balancer);
      expect(response.servers).toHaveLength(3);
      firsts.push(first(response.servers).id[0] ?? '');
    }
    expect(firsts).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
  });

  it('lists a server when it begins to serve, not while it starts', async () => {
    const balancer = await cluster.balancer(QUICK);
    const server = await cluster.server('a');
    server.health.set('not-serving');
    expect(await server.register(balancer)).toMatchObject({
      listed: false,
      notListedBecause: 'it does not serve yet',
    });
    server.health.set('serving');
    expect(await server.register(balancer)).toMatchObject({ listed: true });
  });

  it('tells a server that it cannot be reached, and why', async () => {
    const balancer = await cluster.balancer();
    const server = await cluster.server('a');
    await server.kill();
    expect(await server.register(balancer)).toMatchObject({
      listed: false,
      notListedBecause: 'its health check failed: connection refused',
    });
  });

  it('tells one server of an arrival, to be passed on', async () => {
    const balancer = await cluster.balancer();
    const [a, b] = [await cluster.server('a'), await cluster.server('b')];
    await a.register(balancer);
    const registered = await b.register(balancer);
    expect(registered.members.map(({ id }) => id)).toEqual([a.id, b.id]);
    await a.waitToBeTold('b alive');
    expect(b.told).toEqual([]);
  });

  it('removes a server that was killed, tells another, and takes it back', async () => {
    const balancer = await cluster.balancer(QUICK);
    const [a, b] = [await cluster.server('a'), await cluster.server('b')];
    await a.register(balancer);
    await b.register(balancer);
    await b.kill();
    await until(
      () => listedIds(balancer),
      (ids) => ids === 'a',
    );
    await a.waitToBeTold('b removed');
    expect(a.probed).toContain(String(first(b.grpc.addresses).port));
    const reborn = await cluster.server('b');
    reborn.incarnation = 2n;
    expect(await reborn.register(balancer)).toMatchObject({ listed: true });
    expect(await listedIds(balancer)).toBe('ab');
  });

  it('tells another server where the one it picked does not listen', async () => {
    const balancer = await cluster.balancer();
    const [a, b, c] = [
      await cluster.server('a'),
      await cluster.server('b'),
      await cluster.server('c'),
    ];
    await a.register(balancer);
    await b.register(balancer);
    a.deaf = true;
    await c.register(balancer);
    await b.waitToBeTold('c alive');
  });

  it('keeps a server that another one still reaches', async () => {
    const balancer = await cluster.balancer(QUICK);
    const [a, b] = [await cluster.server('a'), await cluster.server('b')];
    await a.register(balancer);
    await b.register(balancer);
    a.vouches = true;
    await b.kill();
    await until(
      () => listedIds(balancer),
      () => a.probed.length >= 3,
    );
    expect(await listedIds(balancer)).toBe('ab');
    a.vouches = false;
    await a.waitToBeTold('b removed');
  });

  it('removes a server that serves no more though it answers, and takes it back', async () => {
    const balancer = await cluster.balancer(QUICK);
    const [a, b] = [await cluster.server('a'), await cluster.server('b')];
    await a.register(balancer);
    await b.register(balancer);
    b.health.set('not-serving');
    await a.waitToBeTold('b removed');
    b.health.set('serving');
    await b.register(balancer);
    expect(await listedIds(balancer)).toBe('ab');
  });

  it('removes a silent server, which accepts connections and says nothing', async () => {
    const balancer = await cluster.balancer(QUICK);
    const [a, b] = [await cluster.server('a'), await cluster.server('b')];
    await a.register(balancer);
    await b.register(balancer);
    const { port } = first(b.grpc.addresses);
    await b.kill();
    const sockets: Socket[] = [];
    const silent = createServer((socket) => {
      socket.on('error', () => undefined);
      sockets.push(socket);
    }).listen(port, '127.0.0.1');
    await once(silent, 'listening');
    cluster.atEnd(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    await until(
      () => listedIds(balancer),
      (ids) => ids === 'a',
    );
    await a.waitToBeTold('b removed');
  });

  it('removes nobody because a connection hangs: the recheck makes a new one', async () => {
    const balancer = await cluster.balancer(QUICK);
    const server = await cluster.server('a');
    const way = await HangingWay.to(first(server.grpc.addresses).port);
    cluster.atEnd(() => way.close());
    const throughIt = [addressToWire({ host: '127.0.0.1', port: way.port })];
    const member = { ...server.member, clusterAddresses: throughIt };
    await server.register(balancer, [], member);
    way.hang();
    const before = way.connections;
    await until(
      () => listedIds(balancer),
      () => way.connections >= before + 1,
    );
    // Two rounds more, which a removed server would not see.
    const checked = way.bytes;
    await until(
      () => listedIds(balancer),
      () => way.bytes > checked + 500,
    );
    expect(await listedIds(balancer)).toBe('a');
  });

  it('takes a server off at once when it says goodbye', async () => {
    const balancer = await cluster.balancer();
    const [a, b] = [await cluster.server('a'), await cluster.server('b')];
    await a.register(balancer);
    await b.register(balancer);
    await b.deregister(balancer);
    expect(await listedIds(balancer)).toBe('a');
    await a.waitToBeTold('b left');
    await expect(b.register(balancer)).rejects.toMatchObject({
      details: expect.stringContaining('goodbye') as string,
    });
  });

  it('uses the source address of a server that names no host of its own', async () => {
    const balancer = await cluster.balancer();
    const server = await cluster.server('a');
    const { port } = first(server.grpc.addresses);
    const unspecified = addressToWire({ host: '0.0.0.0', port });
    const member = { ...server.member, clusterAddresses: [unspecified] };
    const registered = await server.register(balancer, [], member);
    expect(registered.listed).toBe(true);
    expect(addressFromWire(registered.members[0]?.clusterAddresses[0])).toEqual({
      host: '127.0.0.1',
      port,
    });
  });

  it('passes on the addresses of the other load balancers, without its own', async () => {
    const balancer = await cluster.balancer();
    const server = await cluster.server('a');
    const own = formatAddress(first(balancer.peerAddresses));
    await server.register(balancer, [own, 'lb2.example:50050']);
    const { response } = await cluster.ask(balancer);
    expect(response.loadBalancers).toEqual(['lb2.example:50050']);
  });

  it.each([
    ['no member', null],
    ['an id that is none', { id: 'x' }],
    ['a certificate that is none', { certificate: Buffer.from('nonsense') }],
    ['no address', { peerAddresses: [] }],
    ['a multicast address', { clusterAddresses: [addressToWire({ host: '224.0.0.1', port: 1 })] }],
    ['an incarnation of 0', { incarnation: 0n }],
  ])('refuses a registration with %s', async (_what, change) => {
    const balancer = await cluster.balancer();
    const server = await cluster.server('a');
    const member = change === null ? null : { ...server.member, ...change };
    await expect(server.register(balancer, [], member)).rejects.toMatchObject({
      code: 3,
      details: expect.stringContaining('the registration is not valid') as string,
    });
    expect(await listedIds(balancer)).toBe('');
  });

  it('frees its ports when one of them cannot be had', async () => {
    const taken = await cluster.balancer();
    const options = {
      tls: cluster.balancerTls,
      clock: systemClock,
      random: seededRandom(1),
      logger: silentLogger,
    };
    await expect(
      LoadBalancer.start({
        ...options,
        listen: [{ host: '127.0.0.1', port: 0 }],
        clusterListen: taken.peerAddresses,
      }),
    ).rejects.toMatchObject({ code: 'CHATTY_PORT_IN_USE' });
  });
});
