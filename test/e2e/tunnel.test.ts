import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { credentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/base/address.ts';
import type { RendezvousServer } from '../../src/rendezvous/rendezvous-server.ts';
import { encodeRelayFrame, readRelayFrame, relayProof } from '../../src/path/relay-frame.ts';
import type { RelayOffer } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { TunnelServiceClient } from '../../src/rpc/generated/chatty/v1/tunnel.ts';
import { SkippingClock } from '../unit/quic/skipping-clock.ts';
import {
  certificateAt,
  eventually,
  type TestCluster,
  type TestPeer,
} from './rendezvous-support.ts';
import { eachWithCluster } from './support/each-cluster.ts';

let cluster: TestCluster;

eachWithCluster((made) => (cluster = made));

/** What a peer gets of a relay, and how it sends there. */
function sideOf(peer: TestPeer, offer: RelayOffer | undefined) {
  const heard: string[] = [];
  const take = (datagram: Uint8Array): void => {
    const frame = readRelayFrame(Buffer.from(datagram));
    if (frame?.type === 'data') heard.push(Buffer.from(frame.payload).toString('latin1', 1));
    else if (frame !== undefined) heard.push(frame.type);
  };
  peer.onTunnelled = take;
  peer.endpoint.onRelay = take;
  const channel = offer?.channel.toString('hex') ?? '';
  const send = (datagram: Uint8Array): void => {
    if (peer.tunnel !== undefined) peer.tunnel.send(datagram);
    else peer.endpoint.send(datagram, peer.connection.remote);
  };
  return {
    heard,
    bind: () => {
      const proof = relayProof(offer?.proof ?? Buffer.alloc(16), channel, undefined);
      send(encodeRelayFrame({ type: 'bind', channel, proof, cookie: undefined }));
    },
    say: (text: string) => {
      const payload = Buffer.from(`@${text}`);
      send(encodeRelayFrame({ type: 'data', channel, payload }));
    },
  };
}

describe('a peer that comes by tunnel', () => {
  it('is registered, seen nowhere, and matched', async () => {
    const server = await cluster.server();
    const alice = await cluster.connectByTunnel(server, 'alice');
    alice.hello({ friends: ['bob'] });
    expect(await alice.next('welcome')).toMatchObject({ serverId: server.id, observed: undefined });
    const bob = await cluster.register(server, 'bob', { friends: ['alice'] });
    expect((await bob.next('match')).friendEndpoint?.candidates).toEqual([]);
    expect((await alice.next('match')).relays).toHaveLength(1);
    expect(server.stats.port.tunnels.open).toBe(1);
  });

  it('is relayed by it, to one who came by UDP and to one who did not', async () => {
    const server = await cluster.server();
    const alice = await cluster.connectByTunnel(server, 'alice');
    alice.hello({ friends: ['bob', 'carol'] });
    await alice.next('welcome');
    const bob = await cluster.register(server, 'bob', { friends: ['alice'] });
    const carol = await cluster.connectByTunnel(server, 'carol');
    carol.hello({ friends: ['alice'] });
    for (const friend of [bob, carol]) {
      const [toAlice, toFriend] = await Promise.all([alice.next('match'), friend.next('match')]);
      const [one, other] = [sideOf(alice, toAlice.relays[0]), sideOf(friend, toFriend.relays[0])];
      one.bind();
      await eventually(() => one.heard).toEqual(['bound']);
      one.say('hello');
      await eventually(() => other.heard).toEqual(['hello']);
      other.say('good day');
      await eventually(() => one.heard).toEqual(['bound', 'good day']);
    }
  });

  it('is gone with its tunnel', async () => {
    const server = await cluster.server();
    const alice = await cluster.connectByTunnel(server, 'alice');
    alice.hello();
    await alice.next('welcome');
    alice.tunnel?.close();
    await eventually(() => server.counts.registered).toBe(0);
    expect(server.stats.port.tunnels.open).toBe(0);
  });

  it('is told when the server ends', async () => {
    const server = await cluster.server();
    const alice = await cluster.connectByTunnel(server, 'alice');
    alice.hello();
    await alice.next('welcome');
    await server.stop();
    expect(await alice.connection.closed).toMatchObject({ kind: 'peer' });
  });
});

/** A tunnel of no peer of ours. */
async function bareTunnel(server: RendezvousServer) {
  const [address] = server.peerAddresses;
  if (address === undefined) throw new Error('the server has no address');
  const pem = new X509Certificate(await certificateAt(address)).toString();
  const client = new TunnelServiceClient(
    formatAddress(address),
    credentials.createSsl(Buffer.from(pem)),
    { 'grpc.ssl_target_name_override': 'rendezvous.chatty.internal' },
  );
  const stream = client.carry();
  stream.on('error', () => undefined);
  return { client, stream };
}

describe('a tunnel in hostile hands', () => {
  it('carries junk to nobody, and ends over a message that is too long', async () => {
    const server = await cluster.server();
    const { client, stream } = await bareTunnel(server);
    let came = 0;
    stream.on('data', () => (came += 1));
    const junk = [0x00, 0x0c, 0x40, 0xc0, 0x7f, 0x10].map((first) => Buffer.alloc(1200, first));
    stream.write({ datagrams: [...junk, Buffer.alloc(0), Buffer.alloc(9_000, 0xc0)] });
    await eventually(() => server.stats.relay?.dropped.junk).toBe(1);
    expect(came).toBe(0);
    expect(server.stats.port.tunnels.open).toBe(1);
    stream.write({ datagrams: [Buffer.alloc(300_000, 0xc0)] });
    await eventually(() => server.stats.port.tunnels.open).toBe(0);
    client.close();
    await cluster.register(server, 'alice');
  });

  it('ends after a minute in which it carries no registration', async () => {
    const clock = new SkippingClock();
    const server = await cluster.server({ clock });
    const { client, stream } = await bareTunnel(server);
    stream.write({ datagrams: [] });
    await eventually(() => server.stats.port.tunnels.open).toBe(1);
    const alice = await cluster.connectByTunnel(server, 'alice');
    alice.hello();
    await alice.next('welcome');
    clock.skip(10_000);
    expect(server.stats.port.tunnels.open).toBe(2);
    const ended = once(stream, 'end');
    stream.resume();
    clock.skip(29_000);
    alice.wish('bob');
    await alice.next('wishAccepted');
    clock.skip(29_000);
    await ended;
    expect(server.stats.port.tunnels.open).toBe(1);
    expect(server.counts.registered).toBe(1);
    client.close();
  });

  it('is none before its handshake is done', async () => {
    const server = await cluster.server();
    const [address] = server.peerAddresses;
    if (address === undefined) throw new Error('the server has no address');
    const sockets = Array.from({ length: 20 }, () => connect(address.port, address.host));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    for (const socket of sockets) socket.write('GET / HTTP/1.1\r\n\r\n');
    await cluster.register(server, 'alice');
    expect(server.stats.port.tunnels.open).toBe(0);
    for (const socket of sockets) socket.destroy();
  });
});

describe('the port of tunnels', () => {
  it('is the number of the UDP port, and an error where that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const taken = other.address();
    if (taken === null || typeof taken === 'string') throw new Error('it listens nowhere');
    const listen = [{ host: '127.0.0.1', port: taken.port }];
    await expect(cluster.server({ listen })).rejects.toMatchObject({ code: 'CHATTY_PORT_IN_USE' });
    other.close();
    await once(other, 'close');
    const server = await cluster.server({ listen });
    expect(server.peerAddresses).toEqual(listen);
  });
});
