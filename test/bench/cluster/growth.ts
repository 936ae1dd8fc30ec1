import type { Row } from '../report.ts';
import { pause, percentile, Worker } from '../worker.ts';
import { Cluster } from '../product/cluster.ts';
import type { CrowdTasks } from '../product/crowd.ts';
import type { DaemonTasks } from '../product/daemon.ts';
import type { ClusterKeys } from '../product/keys.ts';

const CROWD = new URL('../product/crowd.ts', import.meta.url);
/** Joined before memory is first looked at, so that what is made once has been made. */
const FIRST = 300;
const SETTLE_MS = 1_000;

export interface GrowthOptions {
  readonly servers: number;
  /** How many peers wait when it is measured, growing. */
  readonly counts: readonly number[];
  /** A keep-alive period, 15 s, or a part of it. */
  readonly idleMs: number;
  /** Matches each time. */
  readonly pairs: number;
}

/** What it costs, and how long a match takes, the more peers wait on so many servers. */
export async function measureGrowth(
  keys: ClusterKeys,
  { servers, counts, idleMs, pairs }: GrowthOptions,
): Promise<readonly Row[]> {
  await using cluster = await Cluster.start(keys, 1, servers);
  await using crowd = new Worker<CrowdTasks>(CROWD);
  const [first, ...others] = cluster.servers.map(({ peers }) => peers);
  if (first === undefined) throw new Error('there is no server');
  const all = [first, ...others] as const;
  /** Of all servers together. */
  const sum = async (task: keyof DaemonTasks & ('cpuMs' | 'rssBytes')): Promise<number> => {
    const each = await Promise.all(
      cluster.servers.map(({ daemon }) => daemon.run(task, undefined)),
    );
    return each.reduce((total, one) => total + one, 0);
  };

  const rows: Row[] = [];
  await crowd.run('join', { servers: all, first: 0, count: FIRST });
  await pause(SETTLE_MS);
  const rssBefore = await sum('rssBytes');
  let waiting = FIRST;
  for (const count of counts) {
    const subject = `${servers} × ${count}`;
    const note = (metric: string, value: number, unit: string): void => {
      rows.push({ metric, subject, value, unit });
    };
    const cpuBefore = await sum('cpuMs');
    const joining = { servers: all, first: waiting, count: count - waiting };
    note('joins', await crowd.run('join', joining), '/s');
    await pause(SETTLE_MS);
    note('CPU a join', ((await sum('cpuMs')) - cpuBefore) / joining.count, 'ms');
    waiting = count;

    const [idleFrom, idleFromAt] = [await sum('cpuMs'), performance.now()];
    await pause(idleMs);
    const idleFor = performance.now() - idleFromAt;
    note('CPU idle, pings only', (((await sum('cpuMs')) - idleFrom) / idleFor) * 100, '%');
    note('memory a peer', ((await sum('rssBytes')) - rssBefore) / (waiting - FIRST) / 1024, 'KiB');

    const { first: number } = await crowd.run('pair', { servers: all, count: pairs });
    await pause(SETTLE_MS);
    const times: number[] = [];
    for (let index = number; index < number + pairs; index++) {
      times.push(await crowd.run('wish', index));
    }
    note('match p50', percentile(times, 0.5), 'ms');
    note('match p99', percentile(times, 0.99), 'ms');
  }
  return rows;
}
