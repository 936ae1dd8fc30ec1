import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status as GrpcStatus } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { ChildProgram } from '../../src/cli/child-program.ts';
import { clientFor } from '../../src/rpc/cluster-channel.ts';
import { RegistrationServiceClient } from '../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import {
  OperationsServiceClient,
  type StatusResponse,
} from '../../src/rpc/generated/chatty/v1/operations.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import { readTlsDirectory } from '../../src/rpc/tls-files.ts';
import { unary } from '../../src/rpc/unary-call.ts';
import { isAlive } from '../support/process.ts';
import { within } from './support/deadline.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { clustersOf, type Daemon, RealCluster } from './support/real-cluster.ts';
import { runCommand } from './support/run-command.ts';

type LogLine = Readonly<Record<string, unknown>>;

/** By then what a test waits for has happened, on a busy machine too. */
const PATIENCE_MS = 30_000;
const NAMES = ['Hildegard', 'Ambrosius'] as const;

async function logLines(file: string): Promise<LogLine[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LogLine);
}

/** The first line of the log that is as wanted; waits for it. */
async function logged(file: string, wanted: (line: LogLine) => boolean): Promise<LogLine> {
  const giveUpAt = systemClock.now() + PATIENCE_MS;
  for (;;) {
    const lines = await logLines(file);
    const found = lines.find(wanted);
    if (found !== undefined) return found;
    if (systemClock.now() > giveUpAt) throw new Error(JSON.stringify(lines, null, 1));
    await systemClock.sleep(50);
  }
}

describe('a cluster in operation', () => {
  let cluster: RealCluster;
  let balancers: Daemon[];
  const logs = (): string[] =>
    ['lb1', 'lb2', 'rv1', 'rv2', 'rv3'].map((name) => join(cluster.directory, `${name}.log`));

  async function start(role: Daemon['role'], name: string, args: readonly string[]) {
    const program = cluster.launch(role, {}, [
      ...['--log-file', join(cluster.directory, `${name}.log`)],
      ...['--operations-listen', '127.0.0.1:0', ...args],
    ]);
    return cluster.adopt(role, program);
  }

  beforeAll(async () => {
    cluster = await RealCluster.empty();
    balancers = [await start('loadbalancer', 'lb1', []), await start('loadbalancer', 'lb2', [])];
    await start('rendezvous', 'rv1', clustersOf(balancers));
    await start('rendezvous', 'rv2', clustersOf(balancers));
    // One that the second balancer has never heard of.
    await start('rendezvous', 'rv3', clustersOf(balancers.slice(0, 1)));
  });
  afterEach(everybodyLeaves);
  afterAll(() => cluster[Symbol.asyncDispose]());

  async function ask(name: string, path: string): Promise<string> {
    const file = join(cluster.directory, `${name}.log`);
    const { operations } = await logged(file, ({ event }) => event === 'listening');
    return (await fetch(`http://${String(operations)}${path}`)).text();
  }

  /** A sample of a server or balancer. */
  async function sample(name: string, metric: string): Promise<number> {
    const text = await ask(name, '/metrics');
    const line = text.split('\n').find((each) => each.startsWith(`${metric} `));
    return Number(line?.slice(metric.length + 1));
  }

  const sum = async (metric: string): Promise<number> => {
    const all = await Promise.all(['rv1', 'rv2', 'rv3'].map((name) => sample(name, metric)));
    return all.reduce((total, each) => total + each, 0);
  };

  it('shows in its figures, and in no name or address, that two have met', async () => {
    const [first, second] = NAMES;
    const one = Person.chat(cluster, first, second);
    await one.until('waiting');
    const other = Person.chat(cluster, second, first);
    await Promise.all([one.until('connected'), other.until('connected')]);
    // Each of them waits on two of the three servers.
    await expect.poll(() => sum('chatty_peers_waiting'), { timeout: PATIENCE_MS }).toBe(4);
    await expect.poll(() => sum('chatty_table_records'), { timeout: PATIENCE_MS }).toBe(12);
    const checksums = () =>
      Promise.all(['rv1', 'rv2', 'rv3'].map((name) => sample(name, 'chatty_table_checksum')));
    await expect
      .poll(async () => new Set(await checksums()).size, { timeout: PATIENCE_MS })
      .toBe(1);
    expect(Math.min(...(await checksums()))).toBeGreaterThan(0);
    expect(await sum('chatty_matches_total')).toBeGreaterThanOrEqual(2);
    expect(await sum('chatty_match_latency_seconds_count')).toBeGreaterThanOrEqual(2);
    expect(await sum('chatty_replication_lag_seconds_count')).toBeGreaterThanOrEqual(8);
    expect(await sum('chatty_registrations_total{result="accepted"}')).toBe(4);
    expect(await sum('chatty_handshakes_total{result="completed"}')).toBeGreaterThanOrEqual(4);
    expect(await sum('chatty_members{state="linked"}')).toBe(6);
    expect(await sum('chatty_relay_pairs')).toBeGreaterThan(0);
    expect(await sum('chatty_relay_dropped_total{reason="forged"}')).toBe(0);
    expect(await sum('chatty_tunnels')).toBe(0);
    expect(await sample('lb1', 'chatty_members{state="listed"}')).toBe(3);
    expect(await sample('lb2', 'chatty_members{state="listed"}')).toBe(2);
    const checked = 'chatty_health_checks_total{result="serving"}';
    expect(await sample('lb1', checked)).toBeGreaterThanOrEqual(3);
    expect(await sample('lb1', 'chatty_hand_outs_total{result="servers"}')).toBeGreaterThan(0);
    expect(await ask('rv1', '/readyz')).toBe('ready\n');
    expect(await ask('lb1', '/healthz')).toBe('ok\n');

    const observed = [...one.events, ...other.events]
      .filter(({ event }) => event === 'registered')
      .map((event) => String(event['observed']));
    expect(observed.length).toBeGreaterThanOrEqual(4);
    const told = await Promise.all(
      ['lb1', 'rv1', 'rv2', 'rv3'].map((name) => ask(name, '/metrics')),
    );
    await Promise.all([one.leave(), other.leave()]);
    const written = await Promise.all(logs().map((file) => readFile(file, 'utf8')));
    for (const text of [...told, ...written]) {
      expect(text.length).toBeGreaterThan(100);
      for (const secret of [...NAMES, ...observed]) expect(text).not.toContain(secret);
    }
  });

  it('has one JSON object a line in its logs, each with one event', async () => {
    for (const file of logs()) {
      for (const line of await logLines(file)) {
        expect(Object.keys(line)).toEqual(expect.arrayContaining(['level', 'time', 'event']));
      }
    }
  });

  it('is shown as each balancer sees it, with what they disagree on', async () => {
    const [one, two] = balancers.map((each) => each.cluster);
    const args = ['--tls', cluster.tls, '--cluster', String(one), '--cluster', String(two)];
    const { code, stdout } = await runCommand('chatty-loadbalancer', ['status', ...args, '--json']);
    expect(code).toBe(0);
    const status = JSON.parse(stdout) as {
      agree: boolean;
      balancers: { balancer: string; servers: { state: string; peers: string[] }[] }[];
      disagreements: { peers: string[]; states: Record<string, string> }[];
    };
    const [rv1, rv2, rv3] = cluster.servers.map(({ peers }) => peers);
    const listed = status.balancers.map(({ servers }) => servers.flatMap(({ peers }) => peers));
    expect(listed.map((each) => each.sort())).toEqual([[rv1, rv2, rv3].sort(), [rv1, rv2].sort()]);
    expect(status.agree).toBe(false);
    expect(status.disagreements).toEqual([
      expect.objectContaining({
        peers: [rv3],
        states: { [String(one)]: 'listed', [String(two)]: 'absent' },
      }),
    ]);
    const inWords = await runCommand('chatty-loadbalancer', ['status', ...args]);
    expect(inWords.stdout).toContain(`${String(rv3)}: listed at ${String(one)}, absent at`);
  });

  it('is shown as far as balancers answer; nobody answering is exit code 69', async () => {
    const lost = ['--tls', cluster.tls, '--cluster', '127.0.0.1:9'];
    const none = await runCommand('chatty-loadbalancer', ['status', ...lost]);
    expect(none).toMatchObject({ code: 69 });
    expect(none.stdout).toContain('127.0.0.1:9 does not answer: connection refused');
    const some = ['status', ...lost, '--cluster', String(balancers[0]?.cluster)];
    expect(await runCommand('chatty-loadbalancer', some)).toMatchObject({ code: 0 });
  });

  it('lets a balancer’s certificate look, and a server’s; only a server’s registers', async () => {
    const address = parseAddress(String(balancers[0]?.cluster)) ?? { host: '', port: 0 };
    const limits = { deadlineMs: 5_000, clock: systemClock };
    for (const role of ['loadbalancer', 'rendezvous'] as const) {
      const tls = await readTlsDirectory(cluster.tls, role);
      const looking = clientFor(OperationsServiceClient, address, tls, 'loadbalancer');
      const answer = await unary<StatusResponse>(
        (metadata, options, done) =>
          looking.status({ protocol: OWN_PROTOCOL }, metadata, options, done),
        limits,
      );
      looking.close();
      expect(answer.servers).toHaveLength(3);
      const registering = clientFor(RegistrationServiceClient, address, tls, 'loadbalancer');
      const leaving = unary(
        (metadata, options, done) =>
          registering.deregister({ id: 'a'.repeat(32), incarnation: 1n }, metadata, options, done),
        limits,
      );
      if (role === 'rendezvous') await expect(leaving).resolves.toEqual({});
      else await expect(leaving).rejects.toMatchObject({ code: GrpcStatus.PERMISSION_DENIED });
      registering.close();
    }
  });
});

describe('several servers under a supervisor', () => {
  let cluster: RealCluster;
  let file: string;
  let supervisor: ChildProgram;

  beforeAll(async () => {
    cluster = await RealCluster.empty();
    await cluster.balancer();
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  function supervise(name: string, args: readonly string[] = []): void {
    file = join(cluster.directory, `${name}.log`);
    supervisor = cluster.launch('rendezvous', {}, [
      ...clustersOf(cluster.balancers),
      ...['--processes', '2', '--log-file', file, ...args],
    ]);
  }
  const ready = (): Promise<Daemon> => cluster.adopt('rendezvous', supervisor);
  const workers = async (): Promise<number[]> => {
    const started = (await logLines(file)).filter(({ event }) => event === 'worker started');
    return started.map((line) => Number(line['process']));
  };

  it('are ready one by one, each started anew when it dies, and drained together', async () => {
    supervise('restarts');
    const both = [await ready(), await ready()];
    const [balancer] = cluster.balancers;
    if (balancer === undefined) throw new Error('no balancer');
    await cluster.listed(balancer, both);
    const [first = 0] = await workers();
    process.kill(first, 'SIGKILL');
    const third = await ready();
    expect(await logged(file, ({ event }) => event === 'worker ended')).toMatchObject({
      process: first,
      signal: 'SIGKILL',
      code: null,
    });
    await cluster.listed(balancer, [third]);
    const all = await workers();
    expect(all).toHaveLength(3);
    expect(all.filter(isAlive)).toHaveLength(2);

    supervisor.signal('SIGTERM');
    const ending = within(PATIENCE_MS, 'end', supervisor.ended, () => [supervisor.stderr]);
    expect(await ending).toEqual({ code: 0, signal: null });
    expect(all.filter(isAlive)).toEqual([]);
    const events = (await logLines(file)).map(({ event }) => event);
    expect(events.filter((event) => event === 'stopped')).toHaveLength(2);
  });

  it('end when their supervisor is gone', async () => {
    supervise('orphans');
    await ready();
    await ready();
    const all = await workers();
    supervisor.signal('SIGKILL');
    await expect.poll(() => all.filter(isAlive), { timeout: PATIENCE_MS }).toEqual([]);
    const stops = (await logLines(file)).filter(({ event }) => event === 'stopping');
    expect(stops.map(({ reason }) => reason)).toEqual(all.map(() => 'the supervisor is gone'));
  });

  it('are ended and started anew when they outgrow their memory', async () => {
    // No program of Node's fits in there.
    supervise('memory', ['--max-memory', '1MiB']);
    const ended = ({ event }: LogLine): boolean => event === 'worker ended';
    expect(await logged(file, ended)).toMatchObject({ signal: 'SIGKILL', code: null });
    await expect.poll(workers, { timeout: PATIENCE_MS }).toHaveLength(4);
    supervisor.signal('SIGTERM');
    expect(await supervisor.ended).toEqual({ code: 0, signal: null });
    expect(supervisor.stderr).toContain('over its bound of 1048576');
    expect((await workers()).filter(isAlive)).toEqual([]);
  });

  it('are not tried for ever where they cannot begin', async () => {
    const { code, stderr } = await runCommand('chatty-rendezvous', [
      ...['--processes', '2', '--tls', cluster.directory, ...clustersOf(cluster.balancers)],
      ...['--listen', '127.0.0.1:0', '--cluster-listen', '127.0.0.1:0'],
    ]);
    expect(code).toBe(78);
    expect(stderr).toMatch(/ca\.pem: there is no such file/);
  });
});
