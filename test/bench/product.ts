/**
 * `npx tsx test/bench/product.ts [--quick] [--json FILE]`: what a user and an operator feel, between
 * processes on loopback.
 */
import { measureBaselines } from './product/baselines.ts';
import { createClusterKeys } from './product/keys.ts';
import { measureMeetings } from './product/meeting.ts';
import { measureStarts } from './product/starting.ts';
import { measureWaiting } from './product/waiting.ts';
import { report, type Row, writeRows } from './report.ts';

const quick = process.argv.includes('--quick');
const keys = await createClusterKeys();

const rows: Row[] = [
  ...(await measureMeetings(keys, quick ? 10 : 100)),
  ...(await measureStarts(keys, quick ? 3 : 15)),
  ...(quick ? await measureWaiting(keys, 2_000, 50) : await measureWaiting(keys, 10_000, 500)),
  ...(await measureBaselines(keys, quick ? 30 : 300)),
];

/** How the figure compares: more than 1 is better than the other, whichever way is better. */
function ratio(metric: string, other: string, better: 'less' | 'more'): void {
  const valueOf = (subject: string): number =>
    rows.find((row) => row.metric === metric && row.subject === subject)?.value ?? NaN;
  const [ours, theirs] = [valueOf('chatty'), valueOf(other)];
  const value = better === 'less' ? theirs / ours : ours / theirs;
  rows.push({ metric: `${metric}, × ${other}`, subject: 'chatty', value, unit: '×' });
}
ratio('connect() to delivered, p50', 'node:tls', 'less');
ratio('joins', 'node:tls', 'more');
ratio('match p50, wish to push at the peer', 'grpc-js, one call', 'less');

report(rows);
writeRows(rows);
process.exit();
