import { describe, expect, it } from 'vitest';
import { createSelfSigned } from '../../src/base/certificate.ts';
import { eventually, newSession, type TestCluster } from './rendezvous-support.ts';
import { eachWithCluster } from './support/each-cluster.ts';

let cluster: TestCluster;
eachWithCluster((fresh) => (cluster = fresh));

describe('several servers', () => {
  it('match peers on two of them, each from its own server', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    const alice = await cluster.register(one, 'alice', { friends: ['bob'] });
    const bob = await cluster.register(two, 'bob', { friends: ['alice'] });
    const [toAlice, toBob] = await Promise.all([alice.next('match'), bob.next('match')]);
    expect(toAlice.friend).toBe('bob');
    expect(toBob.friend).toBe('alice');
    expect(Number(toAlice.friendWasWaiting) + Number(toBob.friendWasWaiting)).toBe(1);
  });

  it('have exactly one of two dial at once, of 50 pairs that come together', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    const pairs = Array.from({ length: 50 }, (_, index) => [`a${index}`, `b${index}`] as const);
    const dialling = pairs.map(async ([a, b]) => {
      const [first, second] = await Promise.all([
        cluster.register(one, a, { friends: [b] }),
        cluster.register(two, b, { friends: [a] }),
      ]);
      const matches = await Promise.all([first.next('match'), second.next('match')]);
      return matches.filter(({ friendWasWaiting }) => friendWasWaiting).length;
    });
    expect(new Set(await Promise.all(dialling))).toEqual(new Set([1]));
  });

  it('give a newcomer the peers there are before it serves', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    await cluster.register(one, 'alice', { friends: ['dave'] });
    const bob = await cluster.register(two, 'bob', { friends: ['dave'] });
    const newcomer = await cluster.server();
    expect(newcomer.counts.records).toBe(2);
    const dave = await cluster.register(newcomer, 'dave', { friends: ['alice', 'bob'] });
    const friends = [(await dave.next('match')).friend, (await dave.next('match')).friend];
    expect(friends.sort()).toEqual(['alice', 'bob']);
    expect((await bob.next('match')).friend).toBe('dave');
  });

  it('forget a peer everywhere when its connection closes', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    const alice = await cluster.register(one, 'alice');
    await eventually(() => two.counts.records).toBe(1);
    await alice.leave();
    await eventually(() => [one.counts.records, two.counts.records]).toEqual([0, 0]);
  });

  it('forget the peers of a server that stops', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    await cluster.register(one, 'alice');
    await eventually(() => two.counts.records).toBe(1);
    await one.stop();
    await eventually(() => two.counts.records).toBe(0);
  });

  it('keep a peer with two registrations until the last is gone', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    const parts = { identity: await createSelfSigned('peer'), session: newSession() };
    const here = await cluster.register(one, 'alice', { ...parts, friends: ['bob'] });
    await cluster.register(two, 'alice', { ...parts, friends: ['bob'] });
    await eventually(() => one.counts.records).toBe(2);
    await here.leave();
    await eventually(() => one.counts.records).toBe(1);
    const bob = await cluster.register(one, 'bob', { friends: ['alice'] });
    expect((await bob.next('match')).friend).toBe('alice');
  });

  it('refuse a name that is taken on another of them', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    await cluster.register(one, 'alice');
    await eventually(() => two.counts.records).toBe(1);
    const stranger = await cluster.connect(two, 'alice');
    stranger.hello();
    expect(await stranger.next('error')).toMatchObject({ code: 'CHATTY_NAME_TAKEN' });
  });

  it('leave a name to one of two strangers who took it at once', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    const first = await cluster.connect(one, 'alice');
    const second = await cluster.connect(two, 'alice');
    first.hello();
    second.hello();
    const refused = await Promise.race([first.next('error'), second.next('error')]);
    expect(refused).toMatchObject({ code: 'CHATTY_NAME_TAKEN' });
    await eventually(() => [one.counts.records, two.counts.records]).toEqual([1, 1]);
  });

  it('replace a process by a newer one on another of them', async () => {
    await cluster.balancer();
    const [one, two] = [await cluster.server(), await cluster.server()];
    const identity = await createSelfSigned('peer');
    const older = await cluster.register(one, 'alice', { identity });
    await cluster.register(two, 'alice', { identity });
    expect(await older.next('error')).toMatchObject({ code: 'CHATTY_REPLACED' });
  });

  it('register with every load balancer: one that goes is not missed', async () => {
    const [first] = [await cluster.balancer(), await cluster.balancer()];
    const one = await cluster.server();
    await first.stop();
    const two = await cluster.server();
    const alice = await cluster.register(one, 'alice', { friends: ['bob'] });
    const bob = await cluster.register(two, 'bob', { friends: ['alice'] });
    expect((await alice.next('match')).friend).toBe('bob');
    expect((await bob.next('match')).friend).toBe('alice');
  });

  it('register with a load balancer that starts later than they do', async () => {
    const early = await cluster.balancer();
    const gone = await cluster.balancer();
    const [address] = gone.clusterAddresses;
    await gone.stop();
    const one = await cluster.server();
    // Only now is there one at the address that the server was given.
    if (address === undefined) throw new Error('the balancer had no address');
    await cluster.balancer(address);
    await early.stop();
    const loadBalancers = [`dns:///localhost:${address.port}`];
    const two = await cluster.server({ loadBalancers });
    const alice = await cluster.register(one, 'alice', { friends: ['bob'] });
    const bob = await cluster.register(two, 'bob', { friends: ['alice'] });
    expect((await alice.next('match')).friend).toBe('bob');
    expect((await bob.next('match')).friend).toBe('alice');
  });
});
