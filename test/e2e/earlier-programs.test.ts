import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { createSelfSigned } from '../../src/base/certificate.ts';
import { systemClock } from '../../src/base/clock.ts';
import { seededRandom, systemRandom } from '../../src/base/random.ts';
import { type QuicConnection, QuicEndpoint } from '../../src/quic/index.ts';
import { RENDEZVOUS_ALPN } from '../../src/rpc/protocol.ts';
import { Correspondent, everybodyCloses, Somebody } from './support/correspondent.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { clustersOf, type Daemon, RealCluster } from './support/real-cluster.ts';
import { runCommand } from './support/run-command.ts';

/* Each test is an entry of "What went wrong in earlier programs of this kind" in the design. */

/** Servers drop who is silent for 40 s. */
const WAITING_MS = 44_000;
const HANDSHAKE_MS = 10_000;

let cluster: RealCluster;
let waiting: { alice: Somebody; bob: Correspondent; since: number };
beforeAll(async () => {
  cluster = await RealCluster.start(1, 2);
  const alice = await Somebody.open(cluster, 'patience');
  const bob = alice.connect('haste');
  await alice.until('registered');
  waiting = { alice, bob, since: systemClock.now() };
  alice.stays();
});
afterAll(async () => {
  await waiting.alice.chatty.close();
  await cluster[Symbol.asyncDispose]();
});
afterEach(async () => {
  await Promise.all([everybodyLeaves(), everybodyCloses()]);
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const endpoint of endpoints.splice(0)) await endpoint.close();
});

const sockets: Socket[] = [];
const endpoints: QuicEndpoint[] = [];

async function silentTcp(address: string): Promise<Socket> {
  const { host, port } = place(address);
  const socket = connect(port, host);
  socket.on('error', () => undefined);
  sockets.push(socket);
  await once(socket, 'connect');
  return socket;
}

/** A peer that has proven its key to a server, and says nothing. */
async function silentQuic(address: string): Promise<QuicConnection> {
  const endpoint = await QuicEndpoint.open({
    identity: await createSelfSigned('peer'),
    clock: systemClock,
    random: systemRandom,
    listen: [{ host: '127.0.0.1', port: 0 }],
    alpn: [],
  });
  endpoints.push(endpoint);
  return endpoint.dial({
    remote: place(address),
    alpn: RENDEZVOUS_ALPN,
    verify: () => true,
    handshakeTimeoutMs: HANDSHAKE_MS,
  });
}

function place(address: unknown): { host: string; port: number } {
  const parsed = parseAddress(String(address));
  if (parsed === undefined) throw new RangeError(`${String(address)} is no address`);
  return parsed;
}

let pairs = 0;

/** Two who have never been there, who find each other and talk both ways. */
async function aPairMeets(on = cluster): Promise<void> {
  const [a, b] = [`anna${++pairs}`, `ben${pairs}`];
  const [anna, ben] = await Promise.all([Somebody.open(on, a), Somebody.open(on, b)]);
  await theyTalk(anna.connect(b), ben.connect(a));
}

async function theyTalk(one: Correspondent, other: Correspondent): Promise<void> {
  await Promise.all([one.tells('hello'), other.tells('hello yourself')]);
  expect(one.heard).toContain('hello yourself');
  expect(other.heard).toContain('hello');
}

/** Has the balancer's round robin give this server to whoever asks next. */
async function aimAt(on: RealCluster, server: Daemon): Promise<void> {
  const [balancer] = on.balancers;
  if (balancer === undefined) throw new Error('there is no balancer');
  for (let turns = 0; turns < 8; turns++) {
    const [, next] = await on.ask(balancer);
    if (next === server.peers) return;
  }
  throw new Error(`${server.peers} is not handed out`);
}

/** Somebody who waits on this server and no other one. */
async function openOn(on: RealCluster, server: Daemon, name: string): Promise<Somebody> {
  await aimAt(on, server);
  const somebody = await Somebody.open(on, name, { registrations: 1 });
  expect(await somebody.server()).toBe(server.peers);
  return somebody;
}

function daemonOf(daemons: readonly Daemon[], index = 0): Daemon {
  const daemon = daemons[index];
  if (daemon === undefined) throw new Error('there is no such daemon');
  return daemon;
}

it('one server alone never matched anybody', async () => {
  await using alone = await RealCluster.start(1, 1);
  await aPairMeets(alone);
});

it('one silent client blocked the accept loop', async () => {
  for (const { peers, cluster: inner, role } of [...cluster.balancers, ...cluster.servers]) {
    const tcp = role === 'loadbalancer' ? [peers, inner] : [inner];
    await Promise.all(tcp.flatMap((address) => [silentTcp(address), silentTcp(address)]));
    if (role === 'rendezvous') await Promise.all([silentQuic(peers), silentQuic(peers)]);
  }
  await aPairMeets();
});

it('bad input crashed the server', async () => {
  const seed = 20_261_122;
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  const udp = createSocket('udp4');
  for (const { peers, cluster: inner, role } of [...cluster.balancers, ...cluster.servers]) {
    for (const address of role === 'loadbalancer' ? [peers, inner] : [inner]) {
      const socket = await silentTcp(address);
      socket.write(random.bytes(4_096));
      socket.end();
    }
    if (role === 'loadbalancer') continue;
    const { host, port } = place(peers);
    for (let count = 0; count < 300; count++) {
      udp.send(random.bytes(1 + random.below(1_400)), port, host);
    }
    const connection = await silentQuic(peers);
    connection.openStream().end(Buffer.from(random.bytes(10_000)));
  }
  await aPairMeets();
  udp.close();
  for (const { program } of [...cluster.balancers, ...cluster.servers]) {
    expect(() => process.kill(program.pid, 0)).not.toThrow();
  }
});

it('shared maps raced', async () => {
  // Twelve pairs come and go three times at once, on both servers, under the same names.
  const numbers = Array.from({ length: 12 }, (_, index) => index);
  const people = numbers.map(async (number) => {
    for (let round = 0; round < 3; round++) {
      const [a, b] = [`race-a${number}`, `race-b${number}`];
      const [one, other] = await Promise.all([meet(a), meet(b)]);
      const [left, right] = [one.connect(b), other.connect(a)];
      await theyTalk(left, right);
      await Promise.all([one.chatty.close(), other.chatty.close()]);
    }
  });
  await Promise.all(people);
});

/** Somebody under a name whose last holder, with another key, has just left. */
async function meet(name: string): Promise<Somebody> {
  for (;;) {
    const somebody = await Somebody.open(cluster, name);
    const first = await Promise.race([somebody.until('registered'), somebody.until('error')]);
    if (first.type === 'registered') return somebody;
    expect(first.error.code).toBe('CHATTY_NAME_TAKEN');
    await somebody.chatty.close();
  }
}

it('a match needed only that the friend exists', async () => {
  const [alice, bob, carol] = await Promise.all(
    ['alice', 'bob', 'carol'].map((name) => Somebody.open(cluster, name)),
  );
  const wish = alice?.connect('bob');
  await alice?.until('registered');
  // Bob is there, and is seen to be, but wants somebody else.
  const toCarol = bob?.connect('carol');
  const toBob = carol?.connect('bob');
  await Promise.all([toCarol?.tells('it is you I want'), toBob?.tells('yes')]);
  expect(wish?.story).toEqual(['waiting']);
  // Now he names her too.
  const toAlice = bob?.connect('alice');
  await Promise.all([wish?.until('connected'), toAlice?.until('connected')]);
});

it('simultaneous arrival on two servers made both dial', async () => {
  const [first, second] = [daemonOf(cluster.servers), daemonOf(cluster.servers, 1)];
  const alice = await openOn(cluster, first, 'alice');
  const bob = await openOn(cluster, second, 'bob');
  const [a, b] = [alice.connect('bob'), bob.connect('alice')];
  await theyTalk(a, b);
  for (const side of [a, b]) {
    expect(side.count('connected')).toBe(1);
    expect(side.story).not.toContain('reconnecting');
  }
  const [here, there] = await Promise.all([a.until('connected'), b.until('connected')]);
  expect([here.local, here.remote]).toEqual([there.remote, there.local]);
});

it('nobody removed a peer that left', async () => {
  const bob = Person.chat(cluster, 'leaver', 'nobody');
  await bob.until('registered');
  bob.program.signal('SIGTERM');
  await bob.ended();
  // Were his entry still anywhere, the name would be refused to another key.
  await expect
    .poll(async () => {
      const stranger = await Somebody.open(cluster, 'leaver');
      const event = await Promise.race([stranger.until('registered'), stranger.until('error')]);
      await stranger.chatty.close();
      return event.type;
    })
    .toBe('registered');
});

it('a newcomer server missed the existing peers', async () => {
  await using growing = await RealCluster.start(1, 1);
  const alice = await Somebody.open(growing, 'alice', { registrations: 1 });
  const a = alice.connect('bob');
  await alice.until('registered');
  const newcomer = await growing.server();
  const bob = await openOn(growing, newcomer, 'bob');
  await theyTalk(a, bob.connect('alice'));
});

it('a balancer with no servers crashed', async () => {
  await using lonely = await RealCluster.start(1, 0);
  const [address = ''] = lonely.loadBalancers;
  const args = ['alice', 'bob', '--lb', address, '--state', lonely.state, '--timeout', '5s'];
  const { code, stderr } = await runCommand('chatty', args);
  expect(code).toBe(69);
  expect(stderr).toContain(address);
  await lonely.server();
  await aPairMeets(lonely);
});

it('the notifier was always the first server, dead or not', async () => {
  await using changing = await RealCluster.start(1, 2);
  const [first, second] = [daemonOf(changing.servers), daemonOf(changing.servers, 1)];
  await changing.kill(first);
  const third = await changing.server();
  await changing.listed(daemonOf(changing.balancers), [second, third], true);
  const alice = await openOn(changing, second, 'alice');
  const bob = await openOn(changing, third, 'bob');
  await theyTalk(alice.connect('bob'), bob.connect('alice'));
});

it('removed servers never came back', async () => {
  await using changing = await RealCluster.start(1, 2);
  const balancer = daemonOf(changing.balancers);
  const [frozen, other] = [daemonOf(changing.servers), daemonOf(changing.servers, 1)];
  frozen.program.signal('SIGSTOP');
  await changing.listed(balancer, [other], true);
  frozen.program.signal('SIGCONT');
  await changing.listed(balancer, [frozen, other]);
  const alice = await openOn(changing, frozen, 'alice');
  const bob = await openOn(changing, other, 'bob');
  await theyTalk(alice.connect('bob'), bob.connect('alice'));
});

it('only one balancer could be named', async () => {
  await using several = await RealCluster.start(2, 1);
  const [first, second] = [daemonOf(several.balancers), daemonOf(several.balancers, 1)];
  const loadBalancers = [first.peers, second.peers];
  await several.kill(first);
  // Peers and servers that were told of both go on with the one that is left.
  const server = several.launch('rendezvous', {}, clustersOf([first, second]));
  await several.adopt('rendezvous', server);
  const alice = await Somebody.open(several, 'alice', { loadBalancers });
  const bob = await Somebody.open(several, 'bob', { loadBalancers: [...loadBalancers].reverse() });
  await theyTalk(alice.connect('bob'), bob.connect('alice'));
});

describe('behind routers', () => {
  // What is tried is the punching: nobody shall talk over a relay meanwhile.
  const args = ['--no-relay'];

  it('punching stopped at the first packet received, leaving the other side’s hole closed', async () => {
    // Both routers let in only answers; what Alice sends first to each place gets lost, so that she
    // hears Bob long before Bob can hear her.
    const alice = Person.chat(cluster, 'alice', 'bob', { args, env: behind({ NAT_LOSES: '4' }) });
    await alice.until('registered');
    const bob = Person.chat(cluster, 'bob', 'alice', { env: behind({}) });
    alice.say('can you hear me?');
    bob.say('now I can');
    await Promise.all([bob.hears('can you hear me?'), alice.hears('now I can')]);
    expect((await bob.until('connected'))['path']).toBe('direct');
  });

  it('answers from unexpected ports were thrown away', async () => {
    // Alice's router sends to Bob from a port that nobody has been told of.
    const env = behind({ NAT_MAPPING: 'symmetric' });
    const alice = Person.chat(cluster, 'alice', 'bob', { args, env });
    const registered = await alice.until('registered');
    const bob = Person.chat(cluster, 'bob', 'alice');
    alice.say('whence do I come?');
    bob.say('from somewhere new');
    await Promise.all([bob.hears('whence do I come?'), alice.hears('from somewhere new')]);
    const { kind, remote } = await bob.until('connected');
    expect(kind).toBe('prflx');
    expect(place(remote).port).not.toBe(place(registered['observed']).port);
  });
});

function behind(router: Record<string, string>): NodeJS.ProcessEnv {
  const hook = new URL('./support/nat.ts', import.meta.url).href;
  return { NODE_OPTIONS: `--import tsx --import ${hook}`, ...router };
}

it('unauthenticated packets were believed', async () => {
  const alice = Person.chat(cluster, 'alice', 'bob');
  const { observed } = await alice.until('registered');
  const { port } = place(observed);
  const attacker = createSocket('udp4').bind(0, '127.0.0.1');
  await once(attacker, 'listening');
  const answers: Buffer[] = [];
  attacker.on('message', (datagram) => answers.push(datagram));
  const attack = (): void => {
    for (const datagram of forgeries()) attacker.send(datagram, port, '127.0.0.1');
  };
  attack();
  const bob = Person.chat(cluster, 'bob', 'alice');
  await bob.until('waiting');
  attack();
  const { remote } = await alice.until('connected');
  attack();
  expect(place(remote).port).not.toBe(attacker.address().port);
  alice.say('who else is there?');
  await bob.hears('who else is there?');
  attack();
  bob.say('nobody');
  await alice.hears('nobody');
  expect(alice.story).not.toContain('reconnecting');
  expect(answers).toEqual([]);
  attacker.close();
});

/** Connectivity checks and answers as an onlooker can make them, and QUIC without a key. */
function forgeries(): Buffer[] {
  const random = seededRandom(systemRandom.below(2 ** 32));
  const stun = (type: number, attributes: Buffer): Buffer => {
    const header = Buffer.alloc(20);
    header.writeUInt16BE(type, 0);
    header.writeUInt16BE(attributes.length, 2);
    header.writeUInt32BE(0x2112a442, 4);
    header.set(random.bytes(12), 8);
    return Buffer.concat([header, attributes]);
  };
  const attribute = (type: number, value: Uint8Array): Buffer => {
    const head = Buffer.alloc(4);
    head.writeUInt16BE(type, 0);
    head.writeUInt16BE(value.length, 2);
    return Buffer.concat([head, value]);
  };
  const user = attribute(0x0006, Buffer.from('abcd:efgh123'));
  const integrity = attribute(0x0008, random.bytes(20));
  return Array.from({ length: 30 }, () => [
    stun(0x0001, user),
    stun(0x0001, Buffer.concat([user, integrity])),
    stun(0x0101, Buffer.concat([attribute(0x0020, random.bytes(8)), integrity])),
    stun(0x0111, integrity),
    Buffer.concat([Buffer.from([0x40]), random.bytes(60)]),
  ]).flat();
}

it('certificates were not checked', async () => {
  await using impostor = await RealCluster.start(1, 1);
  // A server of another cluster is not let in: the list stays as it was.
  const intruder = impostor.launch('rendezvous', {}, clustersOf(cluster.balancers));
  // A peer that knows the cluster's CA does not believe another cluster's balancer.
  const [address = ''] = impostor.loadBalancers;
  const { code, stderr } = await runCommand('chatty', [
    ...['alice', 'bob', '--lb', address, '--ca', cluster.caFile],
    ...['--state', cluster.state, '--timeout', '10s'],
  ]);
  expect(code, stderr).toBe(77);
  await cluster.listed(daemonOf(cluster.balancers), cluster.servers, true);
  intruder.signal('SIGKILL');
  await intruder.ended;
});

it('messages were not framed', async () => {
  const [alice, bob] = await Promise.all([
    Somebody.open(cluster, 'alice'),
    Somebody.open(cluster, 'bob'),
  ]);
  const [a, b] = [alice.connect('bob'), bob.connect('alice')];
  const sizes = [0, 1, 1_199, 1_200, 1_201, 16_384, 65_536];
  const texts = sizes.flatMap((size) => ['x'.repeat(size), `\n${'é'.repeat(size / 2)}`]);
  const all = Array.from({ length: 10 }, () => texts)
    .flat()
    .filter((text) => Buffer.byteLength(text) <= 65_536);
  await Promise.all(all.map((text) => a.conversation.send(text)));
  await a.tells('that was all');
  expect(b.heard).toHaveLength(all.length + 1);
  expect(b.heard.every((text, index) => text === [...all, 'that was all'][index])).toBe(true);
});

it.skipIf(process.platform !== 'linux')(
  'a closed connection spun the reader at full CPU',
  async () => {
    const alice = Person.chat(cluster, 'alice', 'bob');
    const bob = Person.chat(cluster, 'bob', 'alice');
    alice.say('I stay');
    await bob.hears('I stay');
    const pids = [alice.program.pid, ...cluster.servers.map(({ program }) => program.pid)];
    const goodbye = alice.until('disconnected');
    bob.program.endInput();
    await bob.leave();
    await goodbye;
    const before = pids.map(cpuTicks);
    await systemClock.sleep(2_000);
    // 100 ticks a second: a quarter of a core is far from spinning, and far above idling.
    const used = pids.map((pid, index) => cpuTicks(pid) - (before[index] ?? 0));
    expect(Math.max(...used)).toBeLessThan(50);
  },
);

/** CPU time that a process has used, in ticks of 10 ms (proc(5): utime and stime). */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

it('waiting connections timed out for want of keep-alive', async () => {
  const { alice, bob, since } = waiting;
  await systemClock.sleep(WAITING_MS - (systemClock.now() - since));
  const friend = await Somebody.open(cluster, 'haste');
  await theyTalk(bob, friend.connect('patience'));
  const servers = alice.events.map((event) => (event.type === 'registered' ? event.server : event));
  // On each server once: no registration was lost and made again.
  expect(new Set(servers).size).toBe(servers.length);
  expect(servers).toHaveLength(2);
});
