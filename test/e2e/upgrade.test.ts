import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseHostPort } from '../../src/base/address.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { previousVersion, type PreviousVersion } from './support/previous-version.ts';
import { type Daemon, RealCluster } from './support/real-cluster.ts';
import { TestPeer } from './rendezvous-support.ts';

const previous = await previousVersion();
if (typeof previous === 'string') {
  // What a clone was given is neither a tool nor a right: a copy without history is tested, too.
  console.warn(`THE UPGRADE IS NOT TESTED: ${previous}.`);
}
const NONE: PreviousVersion = { commit: '', commands: new URL('file:///') };
const { commit, commands: before } = typeof previous === 'string' ? NONE : previous;
/** The commands of either version; of this one where they always are. */
const COMMANDS = { before, now: undefined };
const WAIT_MS = 100_000;

const peers: TestPeer[] = [];

/** A peer that waits on this very server. */
async function waitsOn(server: Daemon, name: string, friend: string): Promise<TestPeer> {
  const address = parseHostPort(server.peers);
  const peer = await TestPeer.connect({ peerAddresses: address ? [address] : [] }, name, {});
  peers.push(peer);
  peer.hello({ friends: [friend] });
  await peer.next('welcome');
  return peer;
}

async function theyTalk(alice: Person, bob: Person): Promise<void> {
  alice.say('Which version are you?');
  await bob.hears('Which version are you?');
  bob.say('Does it matter?');
  await alice.hears('Does it matter?');
}

afterEach(async () => {
  await everybodyLeaves();
  await Promise.all(peers.splice(0).map((peer) => peer.leave()));
});

describe.skipIf(typeof previous === 'string')(`beside the version before (${commit})`, () => {
  describe.each(['before', 'now'] as const)('under a balancer of %s', (version) => {
    let cluster: RealCluster;
    /** A server of either version. */
    let servers: Record<'before' | 'now', Daemon>;

    beforeAll(async () => {
      cluster = await RealCluster.empty();
      const balancer = await cluster.balancer({ commands: COMMANDS[version] });
      servers = {
        before: await cluster.server({ commands: before }),
        now: await cluster.server(),
      };
      await cluster.listed(balancer, cluster.servers);
    });
    afterAll(() => cluster[Symbol.asyncDispose]());

    it.each([
      ['before', 'now'],
      ['now', 'before'],
    ] as const)('who waits on a server of %s is found by who comes to one of %s', async (a, b) => {
      const [early, late] = [`waiting on ${a}`, `coming to ${b}`];
      const one = await waitsOn(servers[a], early, late);
      const other = await waitsOn(servers[b], late, early);
      const [toOne, toOther] = await Promise.all([one.next('match'), other.next('match')]);
      expect(toOne.friend).toBe(late);
      expect(toOther.friend).toBe(early);
    });

    it.each([
      ['before', 'now'],
      ['now', 'before'],
      ['before', 'before'],
    ] as const)('a chat of %s and one of %s that comes later talk', async (one, other) => {
      const [early, late] = [`early ${one} of ${other}`, `late ${other} of ${one}`];
      const alice = Person.chat(cluster, early, late, { commands: COMMANDS[one] });
      await alice.until('registered');
      const bob = Person.chat(cluster, late, early, { commands: COMMANDS[other] });
      await theyTalk(alice, bob);
    });
  });

  it(
    'a cluster is upgraded server by server, then its balancer, while somebody waits',
    { timeout: WAIT_MS },
    async () => {
      await using cluster = await RealCluster.empty();
      const balancer = await cluster.balancer({ commands: before });
      await Promise.all([1, 2].map(() => cluster.server({ commands: before })));
      const old = [...cluster.servers];
      await cluster.listed(balancer, old);
      const alice = Person.chat(cluster, 'alice', 'bob', { commands: before });
      await alice.until('registered');
      for (const server of old) {
        await cluster.server();
        expect(await cluster.stop(server)).toEqual({ code: 0, signal: null });
      }
      await cluster.listed(balancer, cluster.servers, true);
      expect(await cluster.stop(balancer)).toEqual({ code: 0, signal: null });
      const upgraded = await cluster.balancer({ peers: balancer.peers, cluster: balancer.cluster });
      await cluster.listed(upgraded, cluster.servers, true);
      const bob = Person.chat(cluster, 'bob', 'alice');
      await theyTalk(alice, bob);
      expect(alice.story).not.toContain('error');
      const last = alice.events.findLast(({ event }) => event === 'registered');
      expect(cluster.servers.map((server) => server.peers)).toContain(last?.['server']);
    },
  );
});
