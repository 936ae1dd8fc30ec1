/**
 * `npx tsx test/bench/relay.ts [--quick] [--json FILE]`: what one server passes on between two peers,
 * beside a process that does nothing but forward datagrams between the same two sockets.
 */
import { Cluster } from './product/cluster.ts';
import { createClusterKeys } from './product/keys.ts';
import type { ForwarderTasks } from './relay/forwarder.ts';
import type { RelayedTasks } from './relay/relayed.ts';
import { report, type Row, writeRows } from './report.ts';
import { percentile, Worker } from './worker.ts';

const quick = process.argv.includes('--quick');
const [ROUNDS, ROUND_MS] = quick ? [3, 1_000] : [7, 3_000];
const WARM_UP_ROUNDS = 1;
const MEGABYTE = 1_000_000;

await using cluster = await Cluster.start(await createClusterKeys(), 1, 1);
await using forwarder = new Worker<ForwarderTasks>(new URL('relay/forwarder.ts', import.meta.url));
await using relayed = new Worker<RelayedTasks>(new URL('relay/relayed.ts', import.meta.url));
const [server] = cluster.servers;
if (server === undefined) throw new Error('there is no server');
const ports = await relayed.run('meet', server.peers);
const plain = await forwarder.run('forward', ports);

const subjects = [
  { name: 'chatty', to: server.peers, cpuMs: () => server.daemon.run('cpuMs', undefined) },
  { name: 'node:dgram', to: plain, cpuMs: () => forwarder.run('cpuMs', undefined) },
].map((subject) => ({ ...subject, rates: [] as number[], cpu: [] as number[] }));
for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
  for (const { to, cpuMs, rates, cpu } of subjects) {
    const before = await cpuMs();
    const { bytes, tookMs } = await relayed.run('transfer', { to, forMs: ROUND_MS });
    const spent = (await cpuMs()) - before;
    if (round < WARM_UP_ROUNDS) continue;
    rates.push(bytes / MEGABYTE / (tookMs / 1_000));
    cpu.push(spent / (bytes / MEGABYTE));
  }
}

const rows: Row[] = subjects.flatMap(({ name, rates, cpu }) => [
  { metric: 'relay', subject: name, value: percentile(rates, 0.5), unit: 'MB/s' },
  { metric: 'relay, CPU a megabyte', subject: name, value: percentile(cpu, 0.5), unit: 'ms' },
]);
const valueOf = (metric: string, subject: string): number =>
  rows.find((row) => row.metric === metric && row.subject === subject)?.value ?? NaN;
const [rate, cpu] = ['relay', 'relay, CPU a megabyte'] as const;
rows.push(
  {
    ...{ metric: 'relay, × node:dgram', subject: 'chatty', unit: '×' },
    value: valueOf(rate, 'chatty') / valueOf(rate, 'node:dgram'),
  },
  {
    ...{ metric: 'relay, megabytes a CPU second, × node:dgram', subject: 'chatty', unit: '×' },
    value: valueOf(cpu, 'node:dgram') / valueOf(cpu, 'chatty'),
  },
);
report(rows);
writeRows(rows);
process.exit();
