/**
 * `npm run bench [-- --quick]`: every figure the README quotes. Prints them as tables, and writes
 * them to bench-results/, one JSON object a line, with what they were measured on.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { report, type Row } from './report.ts';

const PARTS = ['quic', 'product', 'cluster', 'relay'] as const;
const RESULTS = fileURLToPath(new URL('../../bench-results/', import.meta.url));

const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, help: { type: 'boolean' } },
});
if (values.help === true) {
  console.log('npm run bench: every figure, in about 9 minutes; -- --quick: fewer, in 3');
  process.exit();
}
const flags = values.quick === true ? ['--quick'] : [];

/** Each part is a program of its own, so that none inherits another's memory. */
async function run(part: (typeof PARTS)[number]): Promise<readonly Row[]> {
  const directory = await mkdtemp(join(tmpdir(), 'chatty-bench-'));
  const file = join(directory, 'rows');
  try {
    const script = fileURLToPath(new URL(`${part}.ts`, import.meta.url));
    const args = ['--import', 'tsx', script, ...flags, '--json', file];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`the ${part} part ended with exit code ${String(code)}`);
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line) as Row);
  } finally {
    await rm(directory, { recursive: true });
  }
}

const processors = cpus();
const machine = `${processors.length} × ${processors[0]?.model ?? 'unknown'}, Node ${process.version}`;
console.log(machine);
const lines: string[] = [JSON.stringify({ machine, at: new Date().toISOString() })];
for (const part of PARTS) {
  const rows = await run(part);
  console.log();
  report(rows);
  lines.push(...rows.map((row) => JSON.stringify({ part, ...row })));
}
await mkdir(RESULTS, { recursive: true });
await writeFile(join(RESULTS, 'latest.jsonl'), `${lines.join('\n')}\n`);
