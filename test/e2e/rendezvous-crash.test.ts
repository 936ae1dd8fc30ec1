import { describe, expect, it } from 'vitest';
import { eventually, type ServerProcess, type TestCluster } from './rendezvous-support.ts';
import { eachWithCluster } from './support/each-cluster.ts';

/** What DESIGN.md promises, and as much again for a busy machine. */
const GONE_WITHIN_MS = 2 * 12_000;

let cluster: TestCluster;
eachWithCluster((fresh) => (cluster = fresh));

/** A server that holds alice, and another in this process that knows of her. */
async function holding(balancers: number) {
  for (let count = 0; count < balancers; count++) await cluster.balancer();
  const other = await cluster.server();
  const victim = await cluster.process();
  await cluster.register(victim, 'alice');
  await eventually(() => other.counts.records).toBe(1);
  return { other, victim };
}

describe.each([
  ['is killed', 'SIGKILL'],
  ['falls silent', 'SIGSTOP'],
] as const)('a server that %s', (_what, signal) => {
  const stop = (victim: ServerProcess): void => victim.signal(signal);

  it('is forgotten with its peers, so that their names are free', { timeout: 60_000 }, async () => {
    const { other, victim } = await holding(1);
    stop(victim);
    await eventually(() => other.counts.records, GONE_WITHIN_MS).toBe(0);
    await cluster.register(other, 'alice');
  });

  it('is forgotten without any load balancer too', { timeout: 60_000 }, async () => {
    const { other, victim } = await holding(1);
    await cluster.balancers[0]?.stop();
    stop(victim);
    await eventually(() => other.counts.records, GONE_WITHIN_MS).toBe(0);
  });
});

describe('a server that was cut off', () => {
  it('is known again with its peers when it is back', { timeout: 90_000 }, async () => {
    const { other, victim } = await holding(1);
    const bob = await cluster.register(other, 'bob', { friends: ['alice'] });
    victim.signal('SIGSTOP');
    await eventually(() => other.counts.records, GONE_WITHIN_MS).toBe(1);
    victim.signal('SIGCONT');
    await eventually(() => other.counts.records, GONE_WITHIN_MS).toBe(2);
    const [alice] = cluster.peers;
    alice?.wish('bob');
    expect((await bob.next('match')).friend).toBe('alice');
  });
});
