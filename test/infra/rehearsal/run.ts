/**
 * `npm run rehearse [-- --short --plant rule|port|ca --json FILE]`: the cluster on AWS, deployed,
 * booted, talked through, upgraded and destroyed without a cloud. Ends with 0 if all went as it has
 * to.
 *
 * The rehearsal proper is a second process, inside the namespace that is its internet; this one makes
 * what needs the real one (the image of the hosts, the artifact), and takes away what was made,
 * whatever becomes of the other.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { newerArtifact } from './artifacts.ts';
import { makeFolder, removeFolder } from './folder.ts';
import { image } from './image.ts';
import {
  makeNamespace,
  ownPrefix,
  removeAbandoned,
  removeNamespaces,
} from '../../support/namespaces.ts';
import { inside, REHEARSAL } from './namespaces.ts';
import { Operator } from './operator.ts';
import { PLANTS, type Plant } from './plant.ts';
import { Rehearsal } from './rehearsal.ts';
import { Failure, Report, seconds, type Step } from './report.ts';
import { lacking } from './requirements.ts';

type Order = { prefix: string; folder: string; startedAt: number; steps: Step[] };

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    plant: { type: 'string' },
    json: { type: 'string' },
    /** The order of the process that made the namespace which this one is inside of. */
    inside: { type: 'string' },
  },
});
const plant = values.plant as Plant | undefined;
if (plant !== undefined && !(plant in PLANTS)) {
  throw new RangeError(`--plant takes one of ${Object.keys(PLANTS).join(', ')}`);
}
process.exitCode =
  values.inside === undefined ? await outer() : await inner(JSON.parse(values.inside) as Order);

async function outer(): Promise<number> {
  const missing = await lacking();
  if (missing.length > 0) {
    console.error(`NOTHING WAS REHEARSED: it needs ${missing.join(', ')}.`);
    return process.env['CI'] === 'true' ? 1 : 0;
  }
  await removeAbandoned(REHEARSAL);
  const order = {
    prefix: ownPrefix(REHEARSAL),
    folder: await makeFolder(),
    startedAt: Date.now(),
    steps: [],
  };
  const leave = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => leave.abort());
  }
  try {
    return await direct(order, leave.signal);
  } finally {
    await removeNamespaces((name) => name.startsWith(order.prefix));
    await removeFolder(order.folder);
  }
}

/** Prepares, and starts the rehearsal proper; its exit code. */
async function direct(order: Order, signal: AbortSignal): Promise<number> {
  const { folder, prefix, startedAt, steps } = order;
  const report = new Report(
    () => Date.now() - startedAt,
    (line) => console.log(line),
    steps,
  );
  const made = image();
  made.catch(() => undefined);
  await report.step('The operator prepares (npm run deploy:prepare)', async (tell) => {
    const artifact = join(folder, 'artifact.tar.gz');
    await new Operator(folder, '').prepare(artifact);
    await newerArtifact(artifact, join(folder, 'newer.tar.gz'));
    tell('the keys of a cluster, an artifact, and a newer one for later');
  });
  if (signal.aborted) return 130;
  const router = `${prefix}internet`;
  await makeNamespace(router);
  const [command, ...args] = inside(router);
  const script = fileURLToPath(import.meta.url);
  const rest = process.argv.slice(2);
  const child = spawn(
    command,
    [
      ...args,
      process.execPath,
      '--import',
      'tsx',
      script,
      ...rest,
      '--inside',
      JSON.stringify(order),
    ],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  signal.addEventListener('abort', () => child.kill('SIGTERM'));
  made.then(
    ({ path }) => child.send({ image: path }),
    (error: unknown) => child.send({ error: String(error) }),
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 130;
}

async function inner({ prefix, folder, startedAt, steps }: Order): Promise<number> {
  const report = new Report(
    () => Date.now() - startedAt,
    (line) => console.log(line),
    steps,
  );
  const imagePath = once(process, 'message').then(([message]) => {
    const { image: path, error } = message as { image?: string; error?: string };
    if (path === undefined)
      throw new Failure(`the image of the hosts could not be made: ${error ?? ''}`);
    return path;
  });
  imagePath.catch(() => undefined);
  const rehearsal = new Rehearsal(
    {
      ...{ prefix, folder, image: imagePath, isShort: values.short, plant },
      artifacts: [join(folder, 'artifact.tar.gz'), join(folder, 'newer.tar.gz')],
    },
    report,
  );
  const giveUp = (): void => void rehearsal.close().finally(() => process.exit(130));
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', giveUp);
  process.on('disconnect', giveUp);
  if (plant !== undefined) console.log(`PLANTED: ${PLANTS[plant]}`);
  let failure: string | undefined;
  try {
    await rehearsal.play();
  } catch (error) {
    failure =
      error instanceof Failure
        ? error.message
        : String(error instanceof Error ? error.stack : error);
  }
  const took = seconds(report.now());
  console.log(
    failure === undefined
      ? `\nAll went as it has to, in ${took}.`
      : `\nFAILED after ${took}:\n${failure}`,
  );
  if (values.json !== undefined) {
    await writeFile(
      values.json,
      `${JSON.stringify({ ok: failure === undefined, failure, steps: report.steps }, null, 2)}\n`,
    );
  }
  process.off('disconnect', giveUp);
  await rehearsal.close();
  process.disconnect();
  return failure === undefined ? 0 : 1;
}
