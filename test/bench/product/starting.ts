import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Row } from '../report.ts';
import { percentile } from '../worker.ts';
import { Cluster } from './cluster.ts';
import type { ClusterKeys } from './keys.ts';

const CHATTY = fileURLToPath(new URL('../../../bin/chatty', import.meta.url));

/** `bin/chatty`, as it was built, from the start of its process to its first registration. */
export async function measureStarts(keys: ClusterKeys, runs: number): Promise<readonly Row[]> {
  await using cluster = await Cluster.start(keys, 1, 2);
  const [loadBalancer = ''] = cluster.loadBalancers;
  const directory = await mkdtemp(join(tmpdir(), 'chatty-bench-'));
  const times: Record<'new' | 'known' | 'node', number[]> = { new: [], known: [], node: [] };
  const start = (name: string): Promise<number> =>
    registeredAfterMs([
      ...[CHATTY, name, 'nobody', '--json'],
      ...['--lb', loadBalancer, '--state', directory],
    ]);
  try {
    await start('known');
    for (let run = 0; run < runs; run++) {
      times.new.push(await start(`new-${run}`));
      times.known.push(await start('known'));
      times.node.push(await nothingAfterMs());
    }
  } finally {
    await rm(directory, { recursive: true });
  }
  const row = (subject: string, who: keyof typeof times, metric: string): Row => ({
    metric,
    subject,
    value: percentile(times[who], 0.5),
    unit: 'ms',
  });
  return [
    row('chatty', 'new', 'process start to registered, new name'),
    row('chatty', 'known', 'process start to registered, known name'),
    row('node -e 0', 'node', 'process start to registered, known name'),
  ];
}

async function registeredAfterMs(args: readonly string[]): Promise<number> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  let afterMs: number | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    const { event } = JSON.parse(line) as { event: string };
    if (event !== 'registered') continue;
    afterMs ??= performance.now() - startedAt;
    child.kill('SIGTERM');
  }
  await ended;
  if (afterMs === undefined) throw new Error('chatty did not register');
  return afterMs;
}

async function nothingAfterMs(): Promise<number> {
  const startedAt = performance.now();
  await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit');
  return performance.now() - startedAt;
}
