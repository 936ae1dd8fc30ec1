import type { Row } from '../report.ts';
import { percentile, Worker } from '../worker.ts';
import { Cluster } from '../product/cluster.ts';
import type { CrowdTasks } from '../product/crowd.ts';
import type { ClusterKeys } from '../product/keys.ts';

const CROWD = new URL('../product/crowd.ts', import.meta.url);
const SERVERS = 3;
const JOINS_PER_SECOND = 300;
const WARM_UP_S = 2;

/**
 * From a change at one server to when it was heard at another, while peers join at a steady rate; of
 * changes that travel together, the oldest counts. By the calendar, so to the millisecond.
 */
export async function measureReplication(keys: ClusterKeys, forS: number): Promise<readonly Row[]> {
  await using cluster = await Cluster.start(keys, 1, SERVERS);
  await using crowd = new Worker<CrowdTasks>(CROWD);
  const [first, ...others] = cluster.servers.map(({ peers }) => peers);
  if (first === undefined) throw new Error('there is no server');
  const lagsMs = async (): Promise<readonly number[]> => {
    const each = cluster.servers.map(({ daemon }) => daemon.run('lagsMs', undefined));
    return (await Promise.all(each)).flat();
  };
  const joining = { servers: [first, ...others] as const, perSecond: JOINS_PER_SECOND };
  const warmUp = JOINS_PER_SECOND * WARM_UP_S;
  await crowd.run('joinAtRate', { ...joining, first: 0, count: warmUp });
  await lagsMs();
  const count = JOINS_PER_SECOND * forS;
  const { rate, failed } = await crowd.run('joinAtRate', { ...joining, first: warmUp, count });
  const lags = await lagsMs();
  const row = (metric: string, value: number, unit: string): Row => ({
    ...{ metric, subject: 'chatty', value, unit },
  });
  return [
    row('joins while replication is measured', rate, '/s'),
    row('of which did not get in', failed, 'peers'),
    ...[0.5, 0.99, 1].map((share) =>
      row(`replication lag p${share * 100}`, percentile(lags, share), 'ms'),
    ),
  ];
}
