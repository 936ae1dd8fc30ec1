import { type Address, formatAddress } from '../../../src/base/address.ts';
import { Worker } from '../worker.ts';
import type { DaemonTasks } from './daemon.ts';
import type { ClusterKeys } from './keys.ts';

const DAEMON = new URL('./daemon.ts', import.meta.url);

interface RunningServer {
  readonly daemon: Worker<DaemonTasks>;
  /** Where its peers reach it. */
  readonly peers: Address;
}

/** A cluster on loopback, each daemon a process. */
export class Cluster implements AsyncDisposable {
  /** The balancers' addresses for peers. */
  readonly loadBalancers: readonly string[];
  readonly servers: readonly RunningServer[];
  readonly balancers: readonly Worker<DaemonTasks>[];
  readonly #daemons: readonly Worker<DaemonTasks>[];

  private constructor(
    daemons: readonly Worker<DaemonTasks>[],
    loadBalancers: readonly string[],
    servers: readonly RunningServer[],
  ) {
    this.balancers = daemons.slice(0, loadBalancers.length);
    this.#daemons = daemons;
    this.loadBalancers = loadBalancers;
    this.servers = servers;
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
    const running = await Promise.all(
      daemons.slice(balancers).map(async (daemon): Promise<RunningServer> => {
        const options = { tls: keys.rendezvous, loadBalancers };
        const { peers } = await daemon.run('rendezvous', options);
        return { daemon, peers };
      }),
    );
    return new Cluster(
      daemons,
      started.map(({ peers }) => formatAddress(peers)),
      running,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon[Symbol.asyncDispose]()));
  }
}
