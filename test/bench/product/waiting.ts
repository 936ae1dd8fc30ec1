import { formatAddress } from '../../../src/base/address.ts';
import type { Row } from '../report.ts';
import { pause, percentile, Worker } from '../worker.ts';
import type { CrowdTasks } from './crowd.ts';
import type { DaemonTasks } from './daemon.ts';
import type { ClusterKeys } from './keys.ts';

const DAEMON = new URL('./daemon.ts', import.meta.url);
const CROWD = new URL('./crowd.ts', import.meta.url);
/** Joined before memory is first looked at, so that what is made once has been made. */
const FIRST = 500;
/** What is left over from joining (acknowledgements, garbage) is over after this. */
const SETTLE_MS = 500;
/** As `crowd.ts`. */
const KEEP_ALIVE_MS = 15_000;
/** In less, too little happens to be measured; longer need not be waited. */
const MIN_QUIET_MS = 1_500;
const MAX_QUIET_MS = 4_000;

/** One server with `count` peers waiting on it: joining, memory, idling and matching. */
export async function measureWaiting(
  keys: ClusterKeys,
  count: number,
  pairs: number,
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const note = (metric: string, value: number, unit: string): void => {
    rows.push({ metric, subject: 'chatty', value, unit });
  };
  await using balancer = new Worker<DaemonTasks>(DAEMON);
  const { cluster } = await balancer.run('loadbalancer', keys.loadbalancer);
  await using server = new Worker<DaemonTasks>(DAEMON);
  const loadBalancers = [formatAddress(cluster)];
  const { peers } = await server.run('rendezvous', { tls: keys.rendezvous, loadBalancers });
  await using crowd = new Worker<CrowdTasks>(CROWD);

  await crowd.run('join', { servers: [peers], first: 0, count: FIRST });
  const rssBefore = await server.run('rssBytes', undefined);
  const cpuBefore = await server.run('cpuMs', undefined);
  const joined = count - FIRST;
  const joinedFrom = performance.now();
  const rate = await crowd.run('join', { servers: [peers], first: FIRST, count: joined });
  const joinedInMs = performance.now() - joinedFrom;
  note('joins', rate, '/s');
  await pause(SETTLE_MS);
  const cpuAfter = await server.run('cpuMs', undefined);
  note("CPU a join, server's", ((cpuAfter - cpuBefore) / joined) * 1000, 'µs');

  const idle = async (metric: string, forMs: number): Promise<void> => {
    const from = await server.run('cpuMs', undefined);
    const fromAt = performance.now();
    await pause(forMs);
    const to = await server.run('cpuMs', undefined);
    note(metric, ((to - from) / (performance.now() - fromAt)) * 100, '%');
  };
  // Nobody pings before the first who joined does.
  const quietMs = Math.min(MAX_QUIET_MS, KEEP_ALIVE_MS - joinedInMs - 2 * SETTLE_MS);
  if (quietMs >= MIN_QUIET_MS) await idle(`CPU of ${count} waiting, no pings`, quietMs);
  await idle(`CPU of ${count} waiting, a ping every 15 s`, KEEP_ALIVE_MS);
  const rssAfter = await server.run('rssBytes', undefined);
  note('memory a waiting peer', (rssAfter - rssBefore) / joined / 1024, 'KiB');

  const ports = await crowd.run('pair', { servers: [peers], count: pairs });
  await pause(SETTLE_MS);
  const inServer: number[] = [];
  const atPeer: number[] = [];
  for (let index = 0; index < pairs; index++) {
    await server.run('watch', ports);
    atPeer.push(await crowd.run('wish', index));
    const tookMs = await server.run('watched', undefined);
    if (tookMs === undefined) throw new Error('the probe missed a match');
    inServer.push(tookMs);
  }
  note('match p50, in the server', percentile(inServer, 0.5), 'ms');
  note('match p99, in the server', percentile(inServer, 0.99), 'ms');
  note('match p50, wish to push at the peer', percentile(atPeer, 0.5), 'ms');
  note('match p99, wish to push at the peer', percentile(atPeer, 0.99), 'ms');
  return rows;
}
