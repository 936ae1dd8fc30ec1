import { formatAddress } from '../../../src/base/address.ts';
import type { Row } from '../report.ts';
import { percentile, Worker } from '../worker.ts';
import { Cluster } from '../product/cluster.ts';
import type { ClusterKeys } from '../product/keys.ts';
import type { PeopleTasks } from './people.ts';

const PEOPLE = new URL('./people.ts', import.meta.url);
/** Who came together would ask together whether the server lives. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Of four servers one is drained, then another killed; on either half of all people wait, beside
 * another one. How long until each of them waits on two servers again; found they can be all the
 * while.
 */
export async function measureFailover(keys: ClusterKeys, people: number): Promise<readonly Row[]> {
  await using cluster = await Cluster.start(keys, 1, 4);
  await using crowd = new Worker<PeopleTasks>(PEOPLE);
  const { loadBalancers } = cluster;
  await crowd.run('open', { count: people, withinMs: KEEP_ALIVE_MS, loadBalancers });
  const [drained, killed] = cluster.servers;
  if (drained === undefined || killed === undefined) throw new Error('there are no servers');
  const leftOn = await crowd.run('watch', formatAddress(drained.peers));
  const [afterDrain] = await Promise.all([
    crowd.run('moved', undefined),
    drained.daemon.run('drain', undefined),
  ]);
  const affected = await crowd.run('watch', formatAddress(killed.peers));
  killed.daemon.kill();
  const afterKill = await crowd.run('moved', undefined);
  const row = (metric: string, value: number, unit: string): Row => ({
    ...{ metric, subject: 'chatty', value, unit },
  });
  return [
    row('waited on the server that is drained', leftOn, 'people'),
    ...[0.5, 0.99].map((share) =>
      row(`drain to waiting on two others, p${share * 100}`, percentile(afterDrain, share), 'ms'),
    ),
    row('waited on the server that is killed', affected, 'people'),
    ...[0.5, 0.99, 1].map((share) => {
      const metric = `kill -9 to waiting on two servers again, p${share * 100}`;
      return row(metric, percentile(afterKill, share), 'ms');
    }),
  ];
}
