import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Address } from '../../src/base/address.ts';
import { createSelfSigned } from '../../src/base/certificate.ts';
import { systemRandom } from '../../src/base/random.ts';
import { encodeServerProbe, parseStun, readServerAnswer } from '../../src/path/index.ts';
import { FRIEND_ALPN, OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import { eventually, newSession, type TestCluster, wishFor } from './rendezvous-support.ts';
import { eachWithCluster } from './support/each-cluster.ts';

/** Asks a server by STUN, from a socket of its own. */
async function askWhereFrom(server: Address | undefined) {
  if (server === undefined) throw new Error('the server has no address');
  const socket = createSocket('udp4');
  const transactionId = systemRandom.bytes(12);
  socket.send(encodeServerProbe(transactionId), server.port, server.host);
  const [datagram] = (await once(socket, 'message')) as [Buffer];
  const message = parseStun(datagram);
  const answer = message === undefined ? undefined : readServerAnswer(message, transactionId);
  if (answer === undefined) throw new Error('the answer is none');
  expect(answer.mapped.port).toBe(socket.address().port);
  socket.close();
  return { observed: answer.mapped, cookie: Buffer.from(answer.cookie) };
}

let cluster: TestCluster;
eachWithCluster((fresh) => (cluster = fresh));

describe('one server alone', () => {
  it('matches two peers who name each other', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice', { friends: ['bob'] });
    const bob = await cluster.register(server, 'bob', { friends: ['alice'] });
    const [toAlice, toBob] = await Promise.all([alice.next('match'), bob.next('match')]);
    expect(toAlice.friend).toBe('bob');
    expect(Buffer.compare(toAlice.friendKey, bob.key)).toBe(0);
    expect(toBob.friend).toBe('alice');
    expect(toBob.friendEndpoint?.candidates).toHaveLength(1);
    expect(toAlice.friendWasWaiting).not.toBe(toBob.friendWasWaiting);
    expect(toBob.friendSession).toEqual(toAlice.ownSession);
  });

  it('tells a peer where it was seen', async () => {
    const server = await cluster.server();
    const alice = await cluster.connect(server, 'alice');
    alice.hello();
    const { observed, serverId } = await alice.next('welcome');
    expect(observed?.ip).toEqual(Buffer.from([127, 0, 0, 1]));
    expect(serverId).toBe(server.id);
  });

  it('answers STUN beside QUIC, and takes what it observed there as the peer’s', async () => {
    const server = await cluster.server();
    const { observed, cookie } = await askWhereFrom(server.peerAddresses[0]);
    const alice = await cluster.register(server, 'alice', { friends: ['bob'] });
    await cluster.register(server, 'bob', { friends: ['alice'], cookies: [cookie] });
    const { friendEndpoint } = await alice.next('match');
    const ports = friendEndpoint?.candidates.map(({ address }) => address?.port);
    expect(ports).toHaveLength(2);
    expect(ports).toContain(observed.port);
  });

  it('introduces a peer to two others who want it', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice', { friends: ['bob', 'carol'] });
    const bob = await cluster.register(server, 'bob', { friends: ['alice'] });
    const carol = await cluster.register(server, 'carol', { friends: ['alice'] });
    const friends = [(await alice.next('match')).friend, (await alice.next('match')).friend];
    expect(friends).toEqual(['bob', 'carol']);
    expect((await bob.next('match')).friend).toBe('alice');
    expect((await carol.next('match')).friend).toBe('alice');
  });

  it('confirms a wish made later and matches on it', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice');
    const bob = await cluster.register(server, 'bob', { friends: ['alice'] });
    alice.wish('bob');
    expect((await alice.next('wishAccepted')).wish?.friend).toBe('bob');
    expect((await alice.next('match')).friend).toBe('bob');
    expect((await bob.next('match')).friend).toBe('alice');
  });

  it('refuses a name that is taken, at once, and again gives it when it is free', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice');
    const stranger = await cluster.connect(server, 'alice');
    stranger.hello();
    expect(await stranger.next('error')).toMatchObject({ code: 'CHATTY_NAME_TAKEN' });
    await stranger.gone;
    await alice.leave();
    await eventually(() => server.counts.records).toBe(0);
    await cluster.register(server, 'alice');
  });

  it('lets a squatter stand between nobody who know each other’s keys', async () => {
    const server = await cluster.server();
    const identity = await createSelfSigned('peer');
    const squatter = await cluster.register(server, 'alice', { friends: ['bob'] });
    const wishes = [wishFor('alice', identity.fingerprint)];
    const bob = await cluster.register(server, 'bob', { wishes });
    expect(Buffer.compare((await bob.next('wishConflict')).heldBy, squatter.key)).toBe(0);
    const alice = await cluster.register(server, 'alice', { friends: ['bob'], identity });
    expect(Buffer.compare((await bob.next('match')).friendKey, alice.key)).toBe(0);
    expect((await alice.next('match')).friend).toBe('bob');
    expect(squatter.unread).toEqual([]);
  });

  it('replaces a process by a newer one of the same name and key', async () => {
    const server = await cluster.server();
    const identity = await createSelfSigned('peer');
    const older = await cluster.register(server, 'alice', { identity });
    const bob = await cluster.register(server, 'bob', { friends: ['alice'] });
    const session = newSession();
    await cluster.register(server, 'alice', { identity, session, friends: ['bob'] });
    expect(await older.next('error')).toMatchObject({ code: 'CHATTY_REPLACED' });
    expect((await bob.next('match')).friendSession).toEqual(session);
    await older.gone;
  });

  it.each([
    ['an empty name', '', {}, 'CHATTY_USAGE'],
    ['a name with control characters', 'al\u0007ice', {}, 'CHATTY_USAGE'],
    ['its own name as a wish', 'alice', { friends: ['alice'] }, 'CHATTY_USAGE'],
    ['no credentials', 'alice', { endpoint: { ufrag: '' } }, 'CHATTY_PROTOCOL'],
    [
      'a later version only',
      'alice',
      { protocol: { ...OWN_PROTOCOL, lowestVersion: 7, highestVersion: 9 } },
      'CHATTY_VERSION',
    ],
  ])('refuses %s with a reason', async (_what, name, parts, code) => {
    const server = await cluster.server();
    const peer = await cluster.connect(server, name);
    peer.hello(parts);
    const fault = await peer.next('error');
    expect(fault.code).toBe(code);
    expect(fault.message.length).toBeGreaterThan(20);
    await peer.gone;
    expect(server.counts.records).toBe(0);
  });

  it('serves everybody else while a client says nothing', async () => {
    const server = await cluster.server();
    await cluster.connect(server, 'silent');
    const alice = await cluster.register(server, 'alice', { friends: ['bob'] });
    await cluster.register(server, 'bob', { friends: ['alice'] });
    expect((await alice.next('match')).friend).toBe('bob');
  });

  it('lives on when it is sent garbage instead of frames', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice', { friends: ['bob'] });
    const frames = [
      Buffer.from('ffffffff00', 'hex'),
      Buffer.from('00000003ffffff', 'hex'),
      Buffer.from('000000050a037f7f7f', 'hex'),
    ];
    for (const garbage of frames) {
      const hostile = await cluster.connect(server, 'mallory');
      hostile.stream.write(garbage);
      expect(await hostile.next('error')).toMatchObject({ code: 'CHATTY_PROTOCOL' });
      await hostile.gone;
    }
    const late = await cluster.register(server, 'eve');
    late.stream.write(Buffer.from('ffffffff', 'hex'));
    expect(await late.next('error')).toMatchObject({ code: 'CHATTY_PROTOCOL' });
    await cluster.register(server, 'bob', { friends: ['alice'] });
    expect((await alice.next('match')).friend).toBe('bob');
    await eventually(() => server.counts.records).toBe(2);
  });

  it('cuts off a peer that sends frames without end', async () => {
    const server = await cluster.server();
    const peer = await cluster.register(server, 'alice');
    for (let index = 0; index < 1_000; index++) peer.wish(`friend ${index % 100}`);
    expect(await peer.next('error')).toMatchObject({ code: 'CHATTY_OVERLOADED' });
    await peer.gone;
  });

  it('answers no frame of a later version, and goes on', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice');
    // A field that is not defined yet.
    alice.stream.write(Buffer.from('00000004ba3e0101', 'hex'));
    alice.wish('bob');
    expect((await alice.next('wishAccepted')).wish?.friend).toBe('bob');
  });

  it('holds as many peers as it may, and says so to the next', async () => {
    const server = await cluster.server({ settings: { maxPeers: 1 } });
    await cluster.register(server, 'alice');
    const bob = await cluster.connect(server, 'bob');
    bob.hello();
    const fault = await bob.next('error');
    expect(fault).toMatchObject({ code: 'CHATTY_OVERLOADED' });
    expect(fault.retryAfterMs).toBeGreaterThan(0);
  });

  it('tells peers to move when it drains, and stops when they have', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice');
    const drained = server.drain();
    expect((await alice.next('move')).deadlineMs).toBe(10_000);
    const late = cluster.connect(server, 'bob').then(async (bob) => {
      bob.hello();
      return bob.next('error');
    });
    expect(await late).toMatchObject({ code: 'CHATTY_NO_SERVER' });
    alice.send({ $case: 'leave', value: {} });
    await drained;
  });

  it('speaks only its own protocol', async () => {
    const server = await cluster.server();
    const alice = await cluster.register(server, 'alice');
    await expect(alice.dial(server, FRIEND_ALPN)).rejects.toThrow();
  });
});
