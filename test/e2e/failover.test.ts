import { afterAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { within } from './support/deadline.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { clustersOf, type Daemon, RealCluster } from './support/real-cluster.ts';

/** Longer than anything takes that a chat could notice of a server's end. */
const AFTERMATH_MS = 3_000;
const DRAIN_MS = 10_000;
const WAIT_MS = 100_000;

afterAll(everybodyLeaves);

function first(daemons: readonly Daemon[]): Daemon {
  const [daemon] = daemons;
  if (daemon === undefined) throw new Error('there is no daemon');
  return daemon;
}

async function theyTalk(alice: Person, bob: Person, about: string): Promise<void> {
  alice.say(`${about}?`);
  await bob.hears(`${about}?`);
  bob.say(`${about}!`);
  await alice.hears(`${about}!`);
}

/** The servers somebody has been registered on, in order. */
function serversOf(person: Person): string[] {
  return person.events
    .filter(({ event }) => event === 'registered')
    .map(({ server }) => String(server));
}

async function registeredTwice(person: Person): Promise<void> {
  await person.until('registered');
  await person.until('registered', ({ server }) => server !== serversOf(person)[0]);
}

describe('during a chat', () => {
  it('every server is killed, one after the other, and nobody notices', async () => {
    await using cluster = await RealCluster.start(2, 3);
    const [one = '', other = ''] = cluster.loadBalancers;
    const alice = Person.chat(cluster, 'alice', 'bob', { loadBalancers: [one] });
    const bob = Person.chat(cluster, 'bob', 'alice', { loadBalancers: [other] });
    await theyTalk(alice, bob, 'with all servers');
    await Promise.all([registeredTwice(alice), registeredTwice(bob)]);
    for (const server of cluster.servers) {
      const marks = [alice.events.length, bob.events.length];
      await cluster.kill(server);
      for (let count = 0; count < 20; count++) alice.say(`${server.peers} ${count}`);
      await bob.hears(`${server.peers} 19`);
      await systemClock.sleep(AFTERMATH_MS / 3);
      const later = [alice.events.slice(marks[0]), bob.events.slice(marks[1])].flat();
      const kinds = new Set(later.map(({ event }) => event));
      for (const kind of ['sent', 'delivered', 'message', 'registered']) kinds.delete(kind);
      // That no server is left at last may be told; the chat itself knows nothing of it.
      if (cluster.servers.length > 0) expect([...kinds], alice.seen.join('\n')).toEqual([]);
    }
    await theyTalk(alice, bob, 'with no server at all');
    const lines = bob.heard.filter((text) => !text.endsWith('?'));
    expect(lines).toHaveLength(60);
    expect(new Set(lines).size).toBe(60);
    for (const person of [alice, bob]) {
      expect(person.count('connected')).toBe(1);
      expect(person.story).not.toContain('reconnecting');
      expect(person.story).not.toContain('disconnected');
    }
  });

  it('a load balancer is killed, and whoever comes later asks the other one', async () => {
    await using cluster = await RealCluster.start(2, 2);
    const loadBalancers = [...cluster.loadBalancers];
    const alice = Person.chat(cluster, 'alice', 'bob', { loadBalancers });
    await alice.until('registered');
    await cluster.kill(first(cluster.balancers));
    const bob = Person.chat(cluster, 'bob', 'alice', { loadBalancers });
    await theyTalk(alice, bob, 'one balancer less');
    const later = await cluster.server();
    await cluster.listed(first(cluster.balancers), [later]);
  });
});

// Servers that are killed are noticed by the next keep-alive, so these wait together.
describe.concurrent('while somebody waits', { timeout: WAIT_MS }, () => {
  it('both servers they wait on are killed; they move, and are found', async () => {
    await using cluster = await RealCluster.start(1, 4);
    const alice = Person.chat(cluster, 'alice', 'bob');
    await registeredTwice(alice);
    const before = serversOf(alice);
    for (const server of cluster.servers.filter(({ peers }) => before.includes(peers))) {
      await cluster.kill(server);
    }
    await alice.until('registered', ({ server }) => !before.includes(String(server)));
    const bob = Person.chat(cluster, 'bob', 'alice');
    await theyTalk(alice, bob, 'did you move');
    expect(alice.count('connected')).toBe(1);
  });

  it('a server is told to stop: it asks them to move, and ends in good order', async () => {
    await using cluster = await RealCluster.start(1, 3);
    const alice = Person.chat(cluster, 'alice', 'bob');
    await registeredTwice(alice);
    const before = serversOf(alice);
    const leaving = cluster.servers.find(({ peers }) => peers === before[0]);
    if (leaving === undefined) throw new Error('she waits on no server');
    const ending = await within(DRAIN_MS, 'end', cluster.stop(leaving), () => [
      leaving.program.stderr,
    ]);
    expect(ending).toEqual({ code: 0, signal: null });
    await alice.until('registered', ({ server }) => !before.includes(String(server)));
    expect(alice.story).not.toContain('error');
    expect(await cluster.ask(first(cluster.balancers))).not.toContain(leaving.peers);
    const bob = Person.chat(cluster, 'bob', 'alice');
    await theyTalk(alice, bob, 'did you notice');
  });

  it('all servers are killed and started again where they were; waiting peers find each other', async () => {
    await using cluster = await RealCluster.start(1, 2);
    const places = [...cluster.servers];
    const alice = Person.chat(cluster, 'alice', 'bob');
    await registeredTwice(alice);
    await Promise.all(places.map((server) => cluster.kill(server)));
    const mark = alice.events.length;
    // Bob comes while there is no server at all, and waits.
    const bob = Person.chat(cluster, 'bob', 'alice');
    await bob.until('waiting');
    await Promise.all(places.map((server) => cluster.server(server)));
    await alice.until('registered', () => true, mark);
    await theyTalk(alice, bob, 'all new');
  });

  it('everything is killed and started again where it was', async () => {
    await using cluster = await RealCluster.start(1, 1);
    const balancer = first(cluster.balancers);
    const server = first(cluster.servers);
    const alice = Person.chat(cluster, 'alice', 'bob');
    await alice.until('registered');
    await Promise.all([cluster.kill(balancer), cluster.kill(server)]);
    await cluster.balancer(balancer);
    await cluster.server(server);
    const bob = Person.chat(cluster, 'bob', 'alice');
    await theyTalk(alice, bob, 'all over again');
  });
});

describe.concurrent('a chat', { timeout: WAIT_MS }, () => {
  it('goes on where it was when a computer wakes up', async () => {
    await using cluster = await RealCluster.start(1, 2);
    const alice = Person.chat(cluster, 'alice', 'bob');
    const bob = Person.chat(cluster, 'bob', 'alice');
    await theyTalk(alice, bob, 'before');
    bob.program.signal('SIGSTOP');
    const lines = Array.from({ length: 50 }, (_, index) => `while you slept ${index}`);
    alice.say(...lines);
    await alice.until('reconnecting');
    bob.program.signal('SIGCONT');
    await theyTalk(alice, bob, 'after');
    expect(bob.heard).toEqual(['before?', ...lines, 'after?']);
    for (const person of [alice, bob]) expect(person.count('connected')).toBe(1);
  });

  it('begins again when both were killed and both come back', async () => {
    await using cluster = await RealCluster.start(1, 2);
    const pair = (): [Person, Person] => [
      Person.chat(cluster, 'alice', 'bob'),
      Person.chat(cluster, 'bob', 'alice'),
    ];
    const before = pair();
    await theyTalk(...before, 'before');
    for (const { program } of before) program.signal('SIGKILL');
    await Promise.all(before.map(({ program }) => program.ended));
    await theyTalk(...pair(), 'after');
  });
});

describe('started in the wrong order', () => {
  it('servers wait for balancers, and peers for both', async () => {
    await using cluster = await RealCluster.empty();
    // Its ports are free again once it has ended, and known.
    const place = await cluster.balancer();
    await cluster.kill(place);
    const servers = [0, 1].map(() => cluster.launch('rendezvous', {}, clustersOf([place])));
    const loadBalancers = [place.peers];
    const alice = Person.chat(cluster, 'alice', 'bob', { loadBalancers });
    const bob = Person.chat(cluster, 'bob', 'alice', { loadBalancers });
    await Promise.all([alice.until('waiting'), bob.until('waiting')]);
    await cluster.balancer(place);
    await Promise.all(servers.map((program) => cluster.adopt('rendezvous', program)));
    await theyTalk(alice, bob, 'late');
  });
});
