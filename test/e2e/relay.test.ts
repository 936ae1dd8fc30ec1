import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import type { Address } from '../../src/base/address.ts';
import {
  encodeRelayFrame,
  readRelayFrame,
  type RelayFrame,
  relayProof,
} from '../../src/path/relay-frame.ts';
import type { RelayLimits } from '../../src/rendezvous/relay-budget.ts';
import { DEFAULT_SETTINGS } from '../../src/rendezvous/settings.ts';
import type { RelayOffer } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { addressFromWire } from '../../src/rpc/wire-address.ts';
import { eventually, type TestCluster, type TestPeer } from './rendezvous-support.ts';
import { eachWithCluster } from './support/each-cluster.ts';

let cluster: TestCluster;
const sockets: Socket[] = [];

eachWithCluster((made) => (cluster = made));

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

/** One side of a relay: what it sends and gets, from the socket of its registration or from another. */
class Side {
  readonly got: RelayFrame[] = [];
  readonly #offer: RelayOffer;
  readonly #send: (datagram: Uint8Array, to: Address) => void;

  constructor(offer: RelayOffer | undefined, send: (datagram: Uint8Array, to: Address) => void) {
    if (offer === undefined) throw new Error('there is no offer');
    this.#offer = offer;
    this.#send = send;
  }

  static of(peer: TestPeer, offer: RelayOffer | undefined): Side {
    const side = new Side(offer, (datagram, to) => peer.endpoint.send(datagram, to));
    peer.endpoint.onRelay = (datagram) => side.#take(datagram);
    return side;
  }

  static async elsewhere(offer: RelayOffer | undefined): Promise<Side> {
    const socket = createSocket('udp4');
    sockets.push(socket);
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const side = new Side(offer, (datagram, to) => socket.send(datagram, to.port, to.host));
    socket.on('message', (datagram) => side.#take(datagram));
    return side;
  }

  get types(): string[] {
    return this.got.map(({ type }) => type);
  }

  bind(cookie?: Uint8Array): void {
    const channel = this.#channel;
    const proof = relayProof(this.#offer.proof, channel, cookie);
    this.send({ type: 'bind', channel, proof, cookie });
  }

  say(text: string): void {
    const payload = Buffer.concat([Buffer.from([0x40]), Buffer.from(text)]);
    this.send({ type: 'data', channel: this.#channel, payload });
  }

  send(frame: RelayFrame): void {
    const address = addressFromWire(this.#offer.addresses[0]);
    if (address !== undefined) this.#send(encodeRelayFrame(frame), address);
  }

  get #channel(): string {
    return this.#offer.channel.toString('hex');
  }

  #take(datagram: Uint8Array): void {
    const frame = readRelayFrame(Buffer.from(datagram));
    if (frame !== undefined && frame.channel === this.#channel) this.got.push(frame);
  }

  /** What the friend said. */
  get heard(): string[] {
    return this.got.flatMap((frame) =>
      frame.type === 'data' ? [Buffer.from(frame.payload).toString('latin1', 1)] : [],
    );
  }
}

/** Alice waits on the first server, bob comes on the last; what each is offered. */
async function meet(
  servers: Parameters<TestCluster['register']>[0][],
  bobEndpoint: { relayRefused?: boolean } = {},
) {
  const [first] = servers;
  const last = servers.at(-1);
  if (first === undefined || last === undefined) throw new Error('there is no server');
  const alice = await cluster.register(first, 'alice', { friends: ['bob'] });
  await eventually(() => cluster.servers.every(({ counts }) => counts.records === 1)).toBe(true);
  const bob = await cluster.register(last, 'bob', { friends: ['alice'], endpoint: bobEndpoint });
  const [toAlice, toBob] = await Promise.all([alice.next('match'), bob.next('match')]);
  /** What each is offered at bob's server. */
  const at = (relays: RelayOffer[]): RelayOffer | undefined =>
    relays.find(({ serverId }) => serverId === cluster.servers.at(-1)?.id);
  return {
    ...{ alice, bob, bobDials: toBob.friendWasWaiting },
    offers: { alice: toAlice.relays, bob: toBob.relays },
    there: { alice: at(toAlice.relays), bob: at(toBob.relays) },
  };
}

describe('two peers on one server', () => {
  it('talk by it at once, from the sockets that they registered from', async () => {
    const server = await cluster.server();
    const { alice, bob, offers } = await meet([server]);
    expect(offers.alice.map(({ serverId }) => serverId)).toEqual([server.id]);
    const [one, other] = [Side.of(alice, offers.alice[0]), Side.of(bob, offers.bob[0])];
    one.say('hello');
    await eventually(() => other.heard).toEqual(['hello']);
    other.say('good day');
    await eventually(() => one.heard).toEqual(['good day']);
    expect(server.stats.relay).toMatchObject({ pairs: 1, relayedDatagrams: 2 });
  });

  it('are offered no relay where one of them refuses it', async () => {
    const server = await cluster.server();
    const { offers } = await meet([server], { relayRefused: true });
    expect(offers).toEqual({ alice: [], bob: [] });
    expect(server.stats.relay?.pairs).toBe(0);
  });
});

describe('two peers on two servers', () => {
  it('are both offered the two, that of whoever came second first', async () => {
    await cluster.balancer();
    const servers = [await cluster.server(), await cluster.server()];
    const { alice, bob, bobDials, offers, there } = await meet(servers);
    // Of two that come at once the lower key counts as the second.
    const ids = servers.map(({ id }) => id);
    if (bobDials) ids.reverse();
    expect(offers.alice.map(({ serverId }) => serverId)).toEqual(ids);
    expect(offers.bob.map(({ serverId }) => serverId)).toEqual(ids);
    const [one, other] = [Side.of(alice, there.alice), Side.of(bob, there.bob)];
    one.say('lost: this server does not know where I am');
    one.bind();
    // Servers saw alice here, so she is taken at her word for now.
    await eventually(() => one.types).toEqual(['challenge', 'bound', 'challenge']);
    expect(one.got[1]).toMatchObject({ friendBound: true });
    await eventually(() => other.types).toEqual(['bound']);
    one.say('hello');
    await eventually(() => other.heard).toEqual(['hello']);
    other.say('good day');
    await eventually(() => one.heard).toEqual(['good day']);
  });

  it('talk from where no server has seen them, once they have proven that they receive there', async () => {
    await cluster.balancer();
    const servers = [await cluster.server(), await cluster.server()];
    const { bob, there } = await meet(servers);
    const [one, other] = [await Side.elsewhere(there.alice), Side.of(bob, there.bob)];
    one.bind();
    await eventually(() => one.types).toEqual(['challenge']);
    const [challenge] = one.got;
    if (challenge?.type !== 'challenge') throw new Error('it was no challenge');
    one.bind(challenge.cookie);
    await eventually(() => one.types).toEqual(['challenge', 'bound']);
    one.say('hello');
    await eventually(() => other.heard).toEqual(['hello']);
    other.say('good day');
    await eventually(() => one.heard).toEqual(['good day']);
  });

  it('are offered addresses to reach, also of servers that listen on every address', async () => {
    await cluster.balancer();
    const listen = [{ host: '0.0.0.0', port: 0 }];
    const servers = [await cluster.server({ listen }), await cluster.server({ listen })];
    const near = servers.map(({ peerAddresses: [address] }) => ({
      peerAddresses: [{ host: '127.0.0.1', port: address?.port ?? 0 }],
    }));
    const { offers } = await meet(near);
    const ports = offers.alice.map(({ addresses }) => addressFromWire(addresses[0]));
    expect(ports).toContainEqual(near[0]?.peerAddresses[0]);
  });

  it('are offered only the server that relays', async () => {
    await cluster.balancer();
    const servers = [
      await cluster.server(),
      await cluster.server({ settings: { relay: undefined } }),
    ];
    const { alice, bob, offers } = await meet(servers);
    expect(offers.bob.map(({ serverId }) => serverId)).toEqual([servers[0]?.id]);
    const [one, other] = [Side.of(alice, offers.alice[0]), Side.of(bob, offers.bob[0])];
    other.bind();
    await eventually(() => other.types).toContain('bound');
    one.say('hello');
    await eventually(() => other.heard).toEqual(['hello']);
    expect(servers[1]?.stats.relay).toBeUndefined();
  });
});

describe('those who share a server', () => {
  const FLOOD = Buffer.alloc(1_200, 0x40).toString('latin1');

  it('are heard, every word, while two others send more than it relays', async () => {
    const limits = { ...DEFAULT_SETTINGS.relay, bytesPerSecond: 100_000 } as RelayLimits;
    const server = await cluster.server({ settings: { relay: limits } });
    const { alice, bob, offers } = await meet([server]);
    const [one, other] = [Side.of(alice, offers.alice[0]), Side.of(bob, offers.bob[0])];
    const carol = await cluster.register(server, 'carol', { friends: ['dave'] });
    const dave = await cluster.register(server, 'dave', { friends: ['carol'] });
    const flooder = Side.of(carol, (await carol.next('match')).relays[0]);
    Side.of(dave, (await dave.next('match')).relays[0]);
    const words = Array.from({ length: 50 }, (_, index) => `word ${index}`.padEnd(250));
    for (const word of words) {
      for (let count = 0; count < 100; count++) flooder.say(FLOOD);
      one.say(word);
      await eventually(() => other.heard.at(-1)).toBe(word);
    }
    expect(other.heard).toEqual(words);
    expect(server.stats.relay?.dropped.server).toBeGreaterThan(0);
  });
});

describe('what a peer sends ahead', () => {
  const datagrams = [Buffer.alloc(1200, 0xc0), Buffer.alloc(600, 0xe0)];

  it.each([
    ['one server', 1],
    ['two servers', 2],
  ])('comes to its friend with the match, on %s', async (_what, count) => {
    await cluster.balancer();
    for (let index = 0; index < count; index++) await cluster.server();
    const [first, last] = [cluster.servers[0], cluster.servers.at(-1)];
    if (first === undefined || last === undefined) throw new Error('there is no server');
    const alice = await cluster.register(first, 'alice', { friends: ['bob'] });
    await eventually(() => cluster.servers.every(({ counts }) => counts.records === 1)).toBe(true);
    const firstFlights = [{ friend: 'alice', datagrams }];
    await cluster.register(last, 'bob', { friends: ['alice'], firstFlights });
    let ahead: Buffer[] = [];
    while (ahead.length === 0) ahead = (await alice.next('match')).friendFirstFlight;
    expect(ahead).toEqual(datagrams);
  });
});

describe('strangers at a relay', () => {
  it('get nothing, and nobody gets anything from them', async () => {
    const server = await cluster.server();
    const { alice, offers } = await meet([server]);
    const one = Side.of(alice, offers.alice[0]);
    const [offer] = offers.bob;
    if (offer === undefined) throw new Error('there is no offer');
    const thief = await Side.elsewhere({ ...offer, proof: Buffer.alloc(16) });
    thief.bind();
    thief.say('short');
    one.say('for bob only');
    await eventually(() => server.stats.relay?.relayedDatagrams).toBe(1);
    await eventually(() => server.stats.relay?.dropped).toMatchObject({ forged: 1, unbound: 1 });
    expect(one.got).toEqual([]);
    expect(thief.got).toEqual([]);
  });
});
