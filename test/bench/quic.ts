/**
 * `npx tsx test/bench/quic.ts [--quick] [--json FILE]`: our endpoint beside the JavaScript floor of
 * the same library and beside TLS over TCP, between two processes on loopback, with a certificate
 * of Ed25519 demanded of both sides.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createSelfSigned } from '../../src/base/certificate.ts';
import type { Client } from './quic/contender.ts';
import { type ContenderName, contenders } from './quic/contenders.ts';
import { handshakeRate, handshakes, hold, roundTrip, writesPerSecond } from './quic/measure.ts';
import { report, type Row, writeRows } from './report.ts';

interface Usage {
  readonly rssBytes: number;
  readonly cpuMs: number;
  /** The same after the answer was worked out. */
  readonly cpuAfterMs: number;
}

interface Work {
  readonly handshakes: number;
  readonly concurrent: number;
  readonly roundTrips: number;
  readonly messages: number;
  readonly bulkBytes: number;
  readonly held: number;
}

const quick = process.argv.includes('--quick');
const CHUNK_BYTES = 64 * 1024;
const SETTLE_MS = 6000;
const IDLE_MS = quick ? 2000 : 5000;
const FULL: Work = quick
  ? {
      handshakes: 50,
      concurrent: 300,
      roundTrips: 300,
      messages: 200_000,
      bulkBytes: 64e6,
      held: 1000,
    }
  : {
      handshakes: 300,
      concurrent: 3000,
      roundTrips: 2000,
      messages: 1e6,
      bulkBytes: 400e6,
      held: 10_000,
    };
const SLOW: Work = quick
  ? { handshakes: 10, concurrent: 40, roundTrips: 50, messages: 2000, bulkBytes: 1e6, held: 0 }
  : { handshakes: 40, concurrent: 200, roundTrips: 200, messages: 10_000, bulkBytes: 5e6, held: 0 };
const NAMES: readonly (readonly [ContenderName, Work])[] = [
  ['chatty 1200', FULL],
  ['chatty 1350', { ...FULL, held: 0 }],
  ['JavaScript floor', SLOW],
  ['node:tls', FULL],
];

const rows: Row[] = [];
const identity = await createSelfSigned('client.invalid');

async function startServer(name: ContenderName) {
  const child = fork(new URL('./quic/server.ts', import.meta.url), [name], {
    execArgv: ['--import', 'tsx', '--expose-gc'],
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const usage = async (): Promise<Usage> => {
    child.send('usage');
    return ((await once(child, 'message')) as [Usage])[0];
  };
  return { port, usage, stop: () => child.kill() };
}

type Note = (metric: string, value: number, unit: string) => void;

async function measure(client: Client, work: Work, note: Note): Promise<void> {
  const { p50, p99 } = await handshakes(client, work.handshakes);
  note('handshake p50', p50, 'ms');
  note('handshake p99', p99, 'ms');
  note('handshakes', await handshakeRate(client, work.concurrent), '/s');
  note('100 B round trip p50', await roundTrip(client, work.roundTrips), 'ms');
  note('100 B messages', await writesPerSecond(client, 100, work.messages), '/s');
  const chunks = Math.ceil(work.bulkBytes / CHUNK_BYTES);
  const bytes = (await writesPerSecond(client, CHUNK_BYTES, chunks)) * CHUNK_BYTES;
  note('bulk', bytes / 1e6, 'MB/s');
}

async function measureHeld(name: ContenderName, count: number, note: Note): Promise<void> {
  const server = await startServer(name);
  const client = await contenders[name].client(identity, server.port);
  await hold(client, 100);
  const before = await server.usage();
  await hold(client, count);
  // The garbage of so many handshakes has to be given back to the system first.
  await server.usage();
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const held = await server.usage();
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const idle = await server.usage();
  note('memory a held connection', (held.rssBytes - before.rssBytes) / count / 1024, 'KiB');
  note(`CPU of ${count} held`, ((idle.cpuMs - held.cpuAfterMs) / IDLE_MS) * 100, '%');
  server.stop();
}

for (const [name, work] of NAMES) {
  const note: Note = (metric, value, unit) => rows.push({ metric, subject: name, value, unit });
  const server = await startServer(name);
  await measure(await contenders[name].client(identity, server.port), work, note);
  server.stop();
  if (work.held > 0) await measureHeld(name, work.held, note);
}

const value = (metric: string, subject: ContenderName): number =>
  rows.find((row) => row.metric === metric && row.subject === subject)?.value ?? NaN;
const ratio = (metric: string, other: ContenderName, inverse: boolean): void => {
  const [ours, theirs] = [value(metric, 'chatty 1200'), value(metric, other)];
  const subject = 'chatty 1200';
  rows.push({
    metric: `${metric}, × ${other}`,
    subject,
    value: inverse ? theirs / ours : ours / theirs,
    unit: '×',
  });
};
ratio('handshake p50', 'node:tls', true);
ratio('bulk', 'JavaScript floor', false);
ratio('100 B messages', 'JavaScript floor', false);

report(rows);
writeRows(rows);
process.exit();
