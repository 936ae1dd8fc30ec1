/**
 * `npx tsx test/bench/product.ts [--quick] [--json FILE]`: what a user and an operator feel, between
 * processes on loopback.
 */
import { createClusterKeys } from './product/keys.ts';
import { measureMeetings } from './product/meeting.ts';
import { measureWaiting } from './product/waiting.ts';
import { report, writeRows } from './report.ts';

const quick = process.argv.includes('--quick');
const keys = await createClusterKeys();

const rows = [
  ...(await measureMeetings(keys, quick ? 10 : 100)),
  ...(quick
    ? await measureWaiting(keys, 2_000, 50, 2_000)
    : await measureWaiting(keys, 10_000, 300, 15_000)),
];

report(rows);
writeRows(rows);
