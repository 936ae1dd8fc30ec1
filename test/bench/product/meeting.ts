import type { Row } from '../report.ts';
import { pause, percentile, Worker } from '../worker.ts';
import { Cluster } from './cluster.ts';
import type { ClusterKeys } from './keys.ts';
import type { PersonTasks } from './person.ts';

const PERSON = new URL('./person.ts', import.meta.url);
/** The first one's wish has reached every server after this. */
const SETTLE_MS = 50;
const MESSAGES = 20;

/**
 * Two people in two processes, a cluster of two balancers and three servers: the one is waiting, the
 * other connects and says something at once.
 */
export async function measureMeetings(keys: ClusterKeys, runs: number): Promise<readonly Row[]> {
  await using cluster = await Cluster.start(keys, 2, 3);
  const [first = '', second = first] = cluster.loadBalancers;
  await using early = new Worker<PersonTasks>(PERSON);
  await using late = new Worker<PersonTasks>(PERSON);

  const meetings: Awaited<ReturnType<typeof meet>>[] = [];
  const meet = async (run: number) => {
    const [earlyName, lateName] = [`early-${run}`, `late-${run}`];
    const [openMs] = await Promise.all([
      early.run('open', { name: earlyName, loadBalancer: first }),
      late.run('open', { name: lateName, loadBalancer: second }),
    ]);
    await early.run('await', lateName);
    await pause(SETTLE_MS);
    const after = await late.run('connect', earlyName);
    const talkMs: number[] = [];
    for (let sent = 0; sent < MESSAGES; sent++) talkMs.push(await late.run('send', 'Again.'));
    await Promise.all([early.run('close', undefined), late.run('close', undefined)]);
    return { openMs, talkMs, ...after };
  };
  for (let run = 0; run <= runs; run++) meetings.push(await meet(run));

  const [cold, ...warm] = meetings;
  const rows: Row[] = [];
  const note = (metric: string, value: number): void => {
    rows.push({ metric, subject: 'chatty', value, unit: 'ms' });
  };
  for (const event of ['matched', 'connected', 'delivered'] as const) {
    const times = warm.map((meeting) => meeting[event] ?? NaN);
    note(`connect() to ${event}, p50`, percentile(times, 0.5));
    note(`connect() to ${event}, p95`, percentile(times, 0.95));
  }
  note('connect() to delivered, first in its process', cold?.delivered ?? NaN);
  note(
    'message to delivered, p50',
    percentile(
      warm.flatMap(({ talkMs }) => talkMs),
      0.5,
    ),
  );
  note(
    'open() to two registrations, p50',
    percentile(
      warm.map(({ openMs }) => openMs),
      0.5,
    ),
  );
  return rows;
}
