import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Address, formatAddress } from '../../src/base/address.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { systemRandom } from '../../src/base/random.ts';
import type { Member } from '../../src/rendezvous/member.ts';
import { Registrar } from '../../src/rendezvous/registrar.ts';
import { SkippingClock } from '../unit/quic/skipping-clock.ts';
import { type ClusterSecrets, clusterSecrets, TestCluster } from './rendezvous-support.ts';

let secrets: ClusterSecrets;
let cluster: TestCluster;
let registrar: Registrar | undefined;

beforeEach(async () => {
  secrets = await clusterSecrets();
  cluster = new TestCluster(secrets);
});

afterEach(async () => {
  registrar?.stop();
  await cluster.end();
});

/** Time that goes by when the test says so, also for who sleeps. */
class TestClock extends SkippingClock {
  override sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const timer = this.setTimer(delayMs, resolve);
      signal?.addEventListener('abort', () => {
        timer.cancel();
        reject(signal.reason as Error);
      });
    });
  }
}

describe('a name of load balancers', () => {
  it('is resolved every 10 s: addresses that appear are registered with, those that vanish are left', async () => {
    const here = await cluster.balancer();
    const [address] = here.clusterAddresses;
    if (address === undefined) throw new Error('the balancer has no address');
    const there: Address = { host: '::1', port: address.port };
    await cluster.balancer(there);
    const [first, second] = [formatAddress(address), formatAddress(there)];

    const clock = new TestClock();
    const events: string[] = [];
    let behindName: readonly string[] | Error = ['127.0.0.1'];
    let asked = 0;
    const server = await cluster.server({ loadBalancers: [] });
    const member: Member = {
      id: server.id,
      incarnation: 1,
      peerAddresses: server.peerAddresses,
      clusterAddresses: server.clusterAddresses,
      certificate: secrets.server.identity.certDer,
    };
    registrar = new Registrar({
      loadBalancers: [`dns:///balancers.example:${address.port}`],
      ...{ tls: secrets.server, clock, random: systemRandom, logger: silentLogger },
      member: () => member,
      resolve: (name) => {
        asked += 1;
        expect(name).toBe('balancers.example');
        return behindName instanceof Error
          ? Promise.reject(behindName)
          : Promise.resolve(behindName);
      },
      handlers: {
        balancers: (balancers) => events.push(`behind the name: ${balancers.join(' ')}`),
        registered: (balancer) => events.push(`registered with ${balancer}`),
        failed: (balancer) => events.push(`failed with ${balancer}`),
      },
    });
    registrar.start();
    await expect
      .poll(() => events)
      .toEqual([`behind the name: ${first}`, `registered with ${first}`]);

    const afterTenSeconds = async (): Promise<string[]> => {
      events.length = 0;
      const before = asked;
      clock.skip(9_900);
      expect(asked).toBe(before);
      clock.skip(200);
      await expect.poll(() => asked).toBe(before + 1);
      return events;
    };

    behindName = ['127.0.0.1', '::1'];
    await afterTenSeconds();
    await expect.poll(() => events).toContain(`behind the name: ${first} ${second}`);
    await expect.poll(() => events).toContain(`registered with ${second}`);

    behindName = ['::1'];
    await afterTenSeconds();
    await expect.poll(() => events).toContain(`behind the name: ${second}`);
    events.length = 0;
    clock.skip(5_100);
    await expect.poll(() => events).toEqual([`registered with ${second}`]);

    // A name that cannot be resolved for a while changes nothing.
    behindName = new Error('no such name');
    await afterTenSeconds();
    await expect.poll(() => events).toContain(`behind the name: ${second}`);
  });
});
