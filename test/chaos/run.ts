/**
 * `npm run chaos [-- --seed N --seconds 60 --rate 20 --json FILE]`: a cluster of real processes in a
 * network of its own, struck at random by a printed seed, while pairs keep arriving and real
 * commands chat. Ends with 0 if nobody was lost.
 *
 * The run proper is a second process, inside the network's router; this one makes the network and
 * takes it away, whatever becomes of the other.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { missing } from '../support/namespaces.ts';
import { HOSTS } from './faults.ts';
import { Network } from './network.ts';
import { breachesOf, describeFigures, figuresOf } from './report.ts';
import { storm } from './storm.ts';

const MAX_SEED = 2 ** 31;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * MAX_SEED)) },
    seconds: { type: 'string', default: '60' },
    rate: { type: 'string', default: '20' },
    json: { type: 'string' },
    /** The prefix of the network that this process is inside of. */
    inside: { type: 'string' },
  },
});
const numbers = [values.seed, values.seconds, values.rate].map(Number);
if (numbers.some((number) => !(number >= 0))) throw new RangeError('a number is none');
process.exitCode = values.inside === undefined ? await outside() : await inside(values.inside);

async function outside(): Promise<number> {
  const lacking = await missing('ip');
  if (lacking !== undefined) {
    console.error(`NO CHAOS WAS RUN: it needs ${lacking}.`);
    return process.env['CI'] === 'true' ? 1 : 0;
  }
  const network = await Network.create(HOSTS);
  try {
    const [command, ...args] = network.onRouter;
    const script = fileURLToPath(import.meta.url);
    const rest = ['--seed', values.seed, '--seconds', values.seconds, '--rate', values.rate];
    if (values.json !== undefined) rest.push('--json', values.json);
    const child = spawn(
      command,
      [
        ...[...args, process.execPath, '--import', 'tsx', script, '--inside', network.prefix],
        ...rest,
      ],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => child.kill('SIGTERM'));
    }
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 130;
  } finally {
    await network.remove();
  }
}

async function inside(prefix: string): Promise<number> {
  const network = new Network(prefix, HOSTS);
  const giveUp = (): void => void network.remove().finally(() => process.exit(130));
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', giveUp);
  process.on('disconnect', giveUp);
  const [seed = 0, seconds = 0, pairsPerSecond = 0] = numbers;
  console.log(`seed ${seed}, ${seconds} s, ${pairsPerSecond} pairs a second`);
  const findings = await storm({
    ...{ network, seed, seconds, pairsPerSecond },
    say: (line) => console.log(line),
  });
  const figures = figuresOf(findings);
  console.log(`\n${describeFigures(figures)}`);
  if (values.json === undefined) console.log(JSON.stringify(figures));
  else await writeFile(values.json, `${JSON.stringify(figures, null, 2)}\n`);
  process.off('disconnect', giveUp);
  process.disconnect();
  return breachesOf(figures).length === 0 ? 0 : 1;
}
