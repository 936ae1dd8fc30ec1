import { formatAddress } from '../../../src/base/address.ts';
import { Worker } from '../worker.ts';
import type { DaemonTasks } from './daemon.ts';
import type { ClusterKeys } from './keys.ts';

const DAEMON = new URL('./daemon.ts', import.meta.url);

/** A cluster on loopback, each daemon a process. */
export class Cluster implements AsyncDisposable {
  readonly #daemons: readonly Worker<DaemonTasks>[];
  /** The balancers' addresses for peers. */
  readonly loadBalancers: readonly string[];

  private constructor(daemons: readonly Worker<DaemonTasks>[], loadBalancers: readonly string[]) {
    this.#daemons = daemons;
    this.loadBalancers = loadBalancers;
  }

  static async start(keys: ClusterKeys, balancers: number, servers: number): Promise<Cluster> {
    const daemons = Array.from(
      { length: balancers + servers },
      () => new Worker<DaemonTasks>(DAEMON),
    );
    const started = await Promise.all(
      daemons.slice(0, balancers).map((daemon) => daemon.run('loadbalancer', keys.loadbalancer)),
    );
    const loadBalancers = started.map(({ cluster }) => formatAddress(cluster));
    await Promise.all(
      daemons
        .slice(balancers)
        .map((daemon) => daemon.run('rendezvous', { tls: keys.rendezvous, loadBalancers })),
    );
    return new Cluster(
      daemons,
      started.map(({ peers }) => formatAddress(peers)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon[Symbol.asyncDispose]()));
  }
}
