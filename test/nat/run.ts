/**
 * `npm run test:nat [-- --full --only NAME --runs N --seed N --json FILE --markdown] [PART…]`: the laboratory.
 * Without --full it runs one cell of each kind; NAME is a part of cells' names, or several
 * with commas between them; each cell is run N times. PART is routers,
 * matrix, doctor, port-mapping, endurance, roaming or bench; default all, but bench only with --full. Ends with 0 if all came out as it is expected today.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { missing, removeAbandoned } from '../support/namespaces.ts';
import { LABORATORY } from './namespaces.ts';
import { environmentOf } from './options.ts';
import { takePart } from './parts.ts';
import {
  type CellResult,
  describeResults,
  type Endurance,
  markdownOf,
  type Move,
} from './results.ts';

const VITEST = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
const CONFIG = fileURLToPath(new URL('vitest.config.ts', import.meta.url));
const MAX_SEED = 2 ** 31;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string' },
    runs: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * MAX_SEED)) },
    json: { type: 'string', default: 'bench-results/nat.json' },
    /** Prints the matrix as tables for a page, too. */
    markdown: { type: 'boolean', default: false },
  },
});
process.exitCode = await main();

async function main(): Promise<number> {
  const lacking = await missing('ip', 'nft', 'cc', 'miniupnpd');
  if (lacking !== undefined) {
    console.error(`NO NAT WAS TESTED: the laboratory needs ${lacking}.`);
    return process.env['CI'] === 'true' ? 1 : 0;
  }
  const { full, only, json: results } = values;
  const bench = full || positionals.some((part) => part.startsWith('bench'));
  const [seed, runs] = [Number(values.seed), Number(values.runs)];
  console.log(`seed ${seed}`);
  await rm(results, { force: true });
  const child = spawn(process.execPath, [VITEST, 'run', '--config', CONFIG, ...positionals], {
    stdio: 'inherit',
    env: { ...process.env, ...environmentOf({ full, bench, only, runs, seed, results }) },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, 'exit')) as [number | null];
  // What it was killed before it could take away.
  await removeAbandoned(LABORATORY);
  const cells = ((await takePart(results, 'cells')) ?? []) as CellResult[];
  const endurance = (await takePart(results, 'endurance')) as Endurance | undefined;
  const moves = ((await takePart(results, 'moves')) ?? []) as Move[];
  if (cells.length > 0 || endurance !== undefined || moves.length > 0) {
    const found = { seed, at: new Date().toISOString(), cells, endurance, moves };
    await writeFile(results, `${JSON.stringify(found, null, 2)}\n`);
    console.log(`\n${describeResults(found)}`);
    if (values.markdown) console.log(`\n${markdownOf(cells)}`);
  }
  return code ?? 130;
}
