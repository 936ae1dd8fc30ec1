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
 * One of four servers is killed, on which half of all people wait beside another one: how long until
 * each waits on two servers again. Found they can be all the while.
 */
export async function measureFailover(keys: ClusterKeys, people: number): Promise<readonly Row[]> {
  await using cluster = await Cluster.start(keys, 1, 4);
  await using crowd = new Worker<PeopleTasks>(PEOPLE);
  const { loadBalancers } = cluster;
  await crowd.run('open', { count: people, withinMs: KEEP_ALIVE_MS, loadBalancers });
  const [victim] = cluster.servers;
  if (victim === undefined) throw new Error('there is no server');
  const affected = await crowd.run('watch', formatAddress(victim.peers));
  victim.daemon.kill();
  const times = await crowd.run('moved', undefined);
  const row = (metric: string, value: number, unit: string): Row => ({
    ...{ metric, subject: 'chatty', value, unit },
  });
  return [
    row('waited on the server that is killed', affected, 'people'),
    ...[0.5, 0.99, 1].map((share) =>
      row(
        `kill -9 to waiting on two servers again, p${share * 100}`,
        percentile(times, share),
        'ms',
      ),
    ),
  ];
}
