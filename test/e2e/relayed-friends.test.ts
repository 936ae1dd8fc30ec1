import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseHostPort } from '../../src/base/address.ts';
import { UdpSocket } from '../../src/quic/udp-socket.ts';
import { type Correspondent, everybodyCloses, Somebody } from './support/correspondent.ts';
import { clustersOf, RealCluster } from './support/real-cluster.ts';

/** What the network between these peers lets through. */
let network: 'all' | 'servers only' | 'no UDP' = 'all';
let cluster: RealCluster;
const serverPorts = new Set<number>();

beforeAll(async () => {
  cluster = await RealCluster.start(1, 2);
  for (const { peers } of cluster.servers) serverPorts.add(parseHostPort(peers)?.port ?? 0);
  const send = Reflect.get<UdpSocket, 'send'>(UdpSocket.prototype, 'send');
  vi.spyOn(UdpSocket.prototype, 'send').mockImplementation(function (
    this: UdpSocket,
    datagram,
    host,
    port,
  ) {
    const passes = network === 'all' || (network === 'servers only' && serverPorts.has(port));
    return passes ? send.call(this, datagram, host, port) : true;
  });
});
afterEach(async () => {
  await everybodyCloses();
  network = 'all';
});
afterAll(async () => {
  vi.restoreAllMocks();
  await cluster[Symbol.asyncDispose]();
});

async function meet(
  names: readonly [string, string],
  { relay, of = cluster }: { readonly relay?: boolean; readonly of?: RealCluster } = {},
): Promise<[Correspondent, Correspondent]> {
  const [a, b] = names;
  const alice = await Somebody.open(of, a, { relay });
  const left = alice.connect(b);
  await alice.until('registered');
  const bob = await Somebody.open(of, b);
  return [left, bob.connect(a)];
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => String(from + index));
}

/** Both say the numbers from `from` up to `to`. */
async function say(pair: readonly Correspondent[], from: number, to: number): Promise<void> {
  for (const text of numbers(from, to)) {
    for (const { conversation } of pair) await conversation.send(text);
  }
}

async function expectHeard(pair: readonly Correspondent[], upTo: number): Promise<void> {
  await Promise.all(pair.map((each) => each.hears(String(upTo - 1))));
  for (const { heard } of pair) expect(heard).toEqual(numbers(0, upTo));
}

describe('two peers without a direct path', () => {
  it('talk over a server, and go on directly when there is one, with nothing lost or doubled', async () => {
    network = 'servers only';
    const pair = await meet(['ada', 'bea']);
    for (const each of pair) {
      const { path, kind, remote } = await each.until('connected');
      expect([path, kind]).toEqual(['relay', 'relay']);
      expect(serverPorts).toContain(remote.port);
    }
    await say(pair, 0, 100);
    await expectHeard(pair, 100);
    network = 'all';
    await say(pair, 100, 300);
    for (const each of pair) await each.until('path', ({ path }) => path === 'direct');
    await say(pair, 300, 400);
    await expectHeard(pair, 400);
    for (const each of pair) expect(each.story).not.toContain('reconnecting');
  });

  it('wait for a direct path where one of them wants no relay', async () => {
    network = 'servers only';
    const pair = await meet(['cid', 'dan'], { relay: false });
    for (const each of pair) await each.until('matched');
    network = 'all';
    for (const each of pair) expect((await each.until('connected')).path).toBe('direct');
  });

  it('go over a server when the direct path breaks, and back', async () => {
    const pair = await meet(['eve', 'fay']);
    for (const each of pair) expect((await each.until('connected')).path).toBe('direct');
    await say(pair, 0, 10);
    await expectHeard(pair, 10);
    network = 'servers only';
    await say(pair, 10, 20);
    for (const each of pair) await each.until('path', ({ path }) => path === 'relay');
    await say(pair, 20, 30);
    await expectHeard(pair, 30);
    network = 'all';
    for (const each of pair) {
      await vi.waitFor(
        () => {
          const last = each.all.filter(({ type }) => type === 'path').at(-1);
          expect(last).toMatchObject({ path: 'direct' });
        },
        { timeout: 45_000, interval: 100 },
      );
    }
    await say(pair, 30, 40);
    await expectHeard(pair, 40);
  });
});

describe('two peers whose server relays next to nothing', () => {
  it.each([
    ['in all', 'bytes', ['--relay-pair-bytes', '32KiB']],
    ['a second', 'rate', ['--relay-pair-bytes-per-second', '16KiB']],
    ['for long', 'time', ['--relay-pair-time', '1s']],
    ['for anybody', 'server', ['--relay-bytes-per-second', '16KiB']],
  ])('%s are told so once, and go on directly with nothing lost or doubled', async (...row) => {
    const [, limit, cap] = row;
    await using of = await RealCluster.start(1, 0);
    const args = [...clustersOf(of.balancers), ...cap];
    const { peers } = await of.adopt('rendezvous', of.launch('rendezvous', {}, args));
    serverPorts.add(parseHostPort(peers)?.port ?? 0);
    network = 'servers only';
    const pair = await meet(['ida', 'jon'], { of });
    for (const each of pair) expect((await each.until('connected')).path).toBe('relay');
    const long = 'x'.repeat(50_000);
    for (const { conversation } of pair) await conversation.send(long);
    for (const each of pair) await each.until('relay-limited', (event) => event.limit === limit);
    network = 'all';
    await Promise.all(pair.map((each) => each.tells('more')));
    for (const each of pair) {
      await each.until('path', ({ path }) => path === 'direct');
      expect(each.heard).toEqual([long, 'more']);
      const relayed = each.story.slice(0, each.story.indexOf('path'));
      expect(relayed.filter((type) => type === 'relay-limited')).toHaveLength(1);
    }
    await everybodyCloses();
  });
});

describe('two peers whose network lets no UDP through', () => {
  it('are registered by tunnel, and talk by it, until UDP gets through', async () => {
    network = 'no UDP';
    const gus = await Somebody.open(cluster, 'gus');
    const left = gus.connect('hal');
    expect((await gus.until('registered')).observed).toBeUndefined();
    const hal = await Somebody.open(cluster, 'hal');
    const pair = [left, hal.connect('gus')];
    for (const each of pair) expect((await each.until('connected')).path).toBe('relay');
    await say(pair, 0, 100);
    await expectHeard(pair, 100);
    network = 'all';
    for (const each of pair) await each.until('path', ({ path }) => path === 'direct');
    await say(pair, 100, 200);
    await expectHeard(pair, 200);
  });
});
