import { formatAddress } from '../../../src/base/address.ts';
import type { Row } from '../report.ts';
import { pause, percentile, Worker } from '../worker.ts';
import { Cluster } from '../product/cluster.ts';
import type { ClusterKeys } from '../product/keys.ts';
import type { DaemonTasks } from '../product/daemon.ts';
import type { PeopleTasks } from './people.ts';

const PEOPLE = new URL('./people.ts', import.meta.url);
/** For those to leave who are registered once too often. */
const SETTLE_MS = 1_000;
/** Who came together would ask together whether the server lives. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Of three servers one is drained, or killed, on which two thirds of all people wait, beside another
 * one. How long until each of them waits on two servers again; found they can be all the while.
 */
export async function measureFailover(keys: ClusterKeys, people: number): Promise<readonly Row[]> {
  const row = (metric: string, value: number, unit: string): Row => ({
    ...{ metric, subject: 'chatty', value, unit },
  });
  const drained = await timesAfter(keys, people, (daemon) => daemon.run('drain', undefined));
  const killed = await timesAfter(keys, people, (daemon) => daemon.kill());
  return [
    row('waited on the server that is drained', drained.length, 'people'),
    ...[0.5, 0.99].map((share) =>
      row(`drain to waiting on two others, p${share * 100}`, percentile(drained, share), 'ms'),
    ),
    row('waited on the server that is killed', killed.length, 'people'),
    ...[0.5, 0.99, 1].map((share) => {
      const metric = `kill -9 to waiting on two servers again, p${share * 100}`;
      return row(metric, percentile(killed, share), 'ms');
    }),
  ];
}

/** A cluster with so many people, of which one server ends. */
async function timesAfter(
  keys: ClusterKeys,
  people: number,
  end: (daemon: Worker<DaemonTasks>) => unknown,
): Promise<readonly number[]> {
  await using cluster = await Cluster.start(keys, 1, 3);
  await using crowd = new Worker<PeopleTasks>(PEOPLE);
  const { loadBalancers, servers } = cluster;
  await crowd.run('open', { count: people, withinMs: KEEP_ALIVE_MS, loadBalancers });
  await pause(SETTLE_MS);
  const [server] = servers;
  if (server === undefined) throw new Error('there are no servers');
  const count = await server.daemon.run('waiting', undefined);
  await crowd.run('watch', { server: formatAddress(server.peers), count });
  const [times] = await Promise.all([crowd.run('moved', undefined), end(server.daemon)]);
  return times;
}
