import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import { loadBalancerSchema } from '../../src/config/schemas.ts';
import { environmentName, optionName } from '../../src/config/setting.ts';
import { fetchServers } from '../../src/rpc/balancer-client.ts';
import { writeClusterPki } from '../../src/rpc/cluster-pki.ts';

// The command as a process of its own, from the sources, so that no build has to be fresh.
const COMMAND = `
  const { main } = await import('./src/cli/loadbalancer-main.ts');
  const { runAsProcess } = await import('./src/cli/run-as-process.ts');
  await runAsProcess(main);
`;
const LOOPBACK = [
  ...['--listen', '127.0.0.1:0', '--cluster-listen', '127.0.0.1:0'],
  ...['--operations-listen', 'off'],
];

let directory: string;
let keys: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'chatty-command-'));
  keys = join(directory, 'keys');
  await writeClusterPki(keys);
});
afterAll(() => rm(directory, { recursive: true }));

const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'close');
  }
});

interface Running {
  readonly child: ChildProcess;
  /** The first line of stdout. */
  readonly line: Promise<string>;
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

function start(args: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(
    process.execPath,
    [
      '--import',
      'tsx',
      '--input-type=module',
      '--eval',
      COMMAND,
      '--',
      'chatty-loadbalancer',
      ...args,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], ...env } },
  );
  children.push(child);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const lines = createInterface(child.stdout);
  const line = new Promise<string>((resolve) => {
    lines.once('line', resolve);
    // A command that ends without a word has said nothing.
    lines.once('close', () => resolve(''));
  });
  const ended = once(child, 'close').then(() => ({ code: child.exitCode, stdout, stderr }));
  return { child, line, ended };
}

const run = (args: readonly string[], env?: Record<string, string>): Running['ended'] =>
  start(args, env).ended;

describe('chatty-loadbalancer', () => {
  it('says when it is ready, answers peers, and exits 0 on SIGTERM', async () => {
    const { child, line, ended } = start(['--tls', keys, ...LOOPBACK]);
    const ready = JSON.parse(await line) as Record<string, string>;
    expect(ready).toEqual({
      event: 'ready',
      peers: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
      cluster: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
    });
    const address = parseAddress(ready['peers'] ?? '') ?? { host: '', port: 0 };
    const trust = { kind: 'ca', pem: await readFile(join(keys, 'ca.pem'), 'utf8') } as const;
    const question = { address, trust, deadlineMs: 5_000, clock: systemClock };
    await expect(fetchServers(question)).rejects.toMatchObject({ code: 'CHATTY_NO_SERVER' });

    child.kill('SIGTERM');
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    const events = stderr
      .trim()
      .split('\n')
      .map((text) => (JSON.parse(text) as { event: string }).event);
    expect(events).toEqual(['listening', 'ready', 'stopping', 'stopped']);
  });

  it('takes its settings from file, environment and arguments, and shows them', async () => {
    const file = join(directory, 'settings.json');
    await writeFile(file, JSON.stringify({ listen: ['[::1]:1'], logLevel: 'debug', tls: 'file' }));
    const { code, stdout } = await run(['--tls', 'args', '--print-config'], {
      CHATTY_CONFIG: file,
      CHATTY_LOG_LEVEL: 'error',
    });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      listen: ['[::1]:1'],
      clusterListen: ['0.0.0.0:50051'],
      advertise: [],
      tls: 'args',
      operationsListen: '127.0.0.1:9464',
      logLevel: 'error',
      logFile: null,
    });
  });

  it('lists every option with its variable in --help', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    for (const key of Object.keys(loadBalancerSchema)) {
      expect(stdout).toContain(`--${optionName(key)} `);
      expect(stdout).toContain(environmentName(key));
    }
  });

  it('refuses a port in use, and says which', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const address = `127.0.0.1:${port}`;
    const { code, stderr, stdout } = await run([
      ...['--tls', keys, '--listen', '127.0.0.1:0', '--cluster-listen', address],
    ]);
    taken.close();
    expect(code).toBe(78);
    expect(stdout).toBe('');
    expect(stderr).toContain(`cannot listen on ${address}: the port is in use`);
    expect(stderr.trim().split('\n')).toHaveLength(2);
  });

  it('refuses a half-written key file, and says which', async () => {
    const broken = join(directory, 'broken');
    await writeClusterPki(broken);
    const path = join(broken, 'loadbalancer-key.pem');
    await writeFile(path, (await readFile(path, 'utf8')).slice(0, 40));
    const { code, stderr } = await run(['--tls', broken, ...LOOPBACK]);
    expect(code).toBe(78);
    expect(stderr).toContain(`cannot use ${path}: it holds no complete private key`);
    expect(stderr).toContain('chatty-local pki DIR');
  });

  it.each([
    ['a missing option', [], {}, 64, '--tls is missing'],
    ['an unknown option', ['--tlss', 'x'], {}, 64, "unknown option '--tlss'"],
    ['a bad argument', ['--tls', 'x', '--listen', '1'], {}, 64, '--listen must be HOST:PORT'],
    ['a bad variable', ['--tls', 'x'], { CHATTY_LISTEN: '1' }, 78, 'CHATTY_LISTEN must be HOST'],
    ['no file', ['--config', '/none.json'], {}, 78, '/none.json: there is no such file'],
  ])('ends for %s', async (_what, args, env, exit, message) => {
    const { code, stderr } = await run(args, env);
    expect(code).toBe(exit);
    expect(stderr).toContain(message);
  });
});
