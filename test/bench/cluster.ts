/**
 * `npx tsx test/bench/cluster.ts [--quick] [--json FILE]`: what the servers do together, and what it
 * costs the more there are of them and of those who wait.
 */
import { measureFailover } from './cluster/failover.ts';
import { measureGrowth } from './cluster/growth.ts';
import { measureHandingOut } from './cluster/handing-out.ts';
import { measureReplication } from './cluster/replication.ts';
import { createClusterKeys } from './product/keys.ts';
import { report, type Row, writeRows } from './report.ts';

const quick = process.argv.includes('--quick');
const keys = await createClusterKeys();

/** At so many waiting peers, servers are compared with one another. */
const COMPARED = 3_000;
const [few, many] = quick ? [500, [1_500]] : [1_000, [COMPARED, 10_000]];
const once = { idleMs: quick ? 5_000 : 15_000, pairs: quick ? 50 : 200 };

const parts = {
  GetServers: () =>
    measureHandingOut(keys, quick ? { rounds: 3, roundMs: 1_000 } : { rounds: 7, roundMs: 3_000 }),
  replication: () => measureReplication(keys, quick ? 4 : 15),
  'one server': () => measureGrowth(keys, { servers: 1, counts: [few, ...many], ...once }),
  'three servers': () => measureGrowth(keys, { servers: 3, counts: [few, ...many], ...once }),
  'five servers': () => measureGrowth(keys, { servers: 5, counts: many.slice(0, 1), ...once }),
  failover: () => measureFailover(keys, quick ? 60 : 200),
};

const rows: Row[] = [];
for (const [part, measure] of Object.entries(parts)) {
  console.error(`measuring: ${part}`);
  rows.push(...(await measure()));
}

report(rows);
writeRows(rows);
process.exit();
