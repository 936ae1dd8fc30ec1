import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RendezvousServer } from '../../src/rendezvous/rendezvous-server.ts';
import type { ClusterTls } from '../../src/rpc/tls-files.ts';
import { clusterTls, type HelloParts, startServer, TestPeer } from './rendezvous-support.ts';

let tls: ClusterTls;
let servers: RendezvousServer[] = [];
let peers: TestPeer[] = [];

beforeAll(async () => {
  tls = await clusterTls();
});

afterEach(async () => {
  await Promise.all(peers.map((peer) => peer.leave()));
  await Promise.all(servers.map((server) => server.stop()));
  peers = [];
  servers = [];
});

async function server(): Promise<RendezvousServer> {
  const started = await startServer(tls);
  servers.push(started);
  await started.ready;
  return started;
}

async function register(
  at: RendezvousServer,
  name: string,
  parts: Parameters<typeof TestPeer.register>[2] & HelloParts,
): Promise<TestPeer> {
  const peer = await TestPeer.register(at, name, parts);
  peers.push(peer);
  return peer;
}

describe('one server alone', () => {
  it('matches two peers who name each other', async () => {
    const only = await server();
    const alice = await register(only, 'alice', { friends: ['bob'] });
    const bob = await register(only, 'bob', { friends: ['alice'] });
    const [toAlice, toBob] = await Promise.all([alice.next('match'), bob.next('match')]);
    expect(toAlice.friend).toBe('bob');
    expect(Buffer.compare(toAlice.friendKey, bob.key)).toBe(0);
    expect(toBob.friend).toBe('alice');
    expect(toBob.friendEndpoint?.candidates).toHaveLength(1);
    expect(toAlice.friendWasWaiting).not.toBe(toBob.friendWasWaiting);
    expect(toBob.friendSession).toEqual(toAlice.ownSession);
  });
});
