import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { ChildProgram } from '../../src/cli/child-program.ts';
import { isAlive } from '../support/process.ts';
import { Person } from './support/person.ts';
import { runCommand } from './support/run-command.ts';
import { within } from './support/deadline.ts';

const READY_MS = 30_000;
const GONE_MS = 3_000;
const STOP_MS = 5_000;

interface Ready {
  readonly loadBalancers: string[];
  readonly rendezvousServers: string[];
  readonly processes: { role: string; pid: number; peers: string; cluster: string }[];
  readonly command: string;
}

let state: string;
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), 'chatty-demo-test-'));
});
afterAll(() => rm(state, { recursive: true }));

const programs: ChildProgram[] = [];
afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.stop(systemClock, STOP_MS)));
});

async function startLocal(...args: string[]): Promise<{ local: ChildProgram; ready: Ready }> {
  const local = new ChildProgram('chatty-local', ['--json', ...args]);
  programs.push(local);
  const ready = await within(READY_MS, 'ready', local.event('ready'), () => [local.stderr]);
  return { local, ready: ready as unknown as Ready };
}

describe('chatty-local demo', () => {
  it('shows two peers find each other from different servers, and exits 0', async () => {
    const { code, stdout, stderr } = await runCommand('chatty-local', ['demo']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const first = /Alice: first server (\S+); 3 of 3 messages arrived, 3 acknowledged; exit code 0/;
    const second = /Bob: first server (\S+); 3 of 3 messages arrived, 3 acknowledged; exit code 0/;
    const [alice, bob] = [first.exec(stdout)?.[1], second.exec(stdout)?.[1]];
    expect(alice, stdout).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(bob, stdout).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(alice).not.toBe(bob);
  });

  it('works with one load balancer and one server', async () => {
    const args = ['demo', '--loadbalancers', '1', '--servers', '1'];
    const { code, stdout, stderr } = await runCommand('chatty-local', args);
    expect(code, stdout + stderr).toBe(0);
  });
});

describe('chatty-local', () => {
  it('says what runs where, and ends all of it within 3 s of SIGTERM', async () => {
    const { local, ready } = await startLocal();
    expect(ready.loadBalancers).toHaveLength(2);
    expect(ready.rendezvousServers).toHaveLength(3);
    const processesOf = (role: string): string[] =>
      ready.processes.filter((each) => each.role === role).map(({ peers }) => peers);
    expect(processesOf('loadbalancer')).toEqual(ready.loadBalancers);
    expect(processesOf('rendezvous')).toEqual(ready.rendezvousServers);
    expect(ready.command).toBe(`bin/chatty alice bob --lb ${ready.loadBalancers[0] ?? ''}`);
    for (const { pid, cluster } of ready.processes) {
      expect(isAlive(pid)).toBe(true);
      expect(cluster).toMatch(/^127\.0\.0\.1:\d+$/);
    }
    local.signal('SIGTERM');
    const ending = await within(GONE_MS, 'end', local.ended, () => [local.stderr]);
    expect(ending).toEqual({ code: 0, signal: null });
    expect(ready.processes.filter(({ pid }) => isAlive(pid))).toEqual([]);
  });

  it('reports a daemon that dies, and the rest go on', async () => {
    const { local, ready } = await startLocal('--loadbalancers', '1', '--servers', '2');
    const victim = ready.processes.find(({ role }) => role === 'rendezvous');
    process.kill(victim?.pid ?? 0, 'SIGKILL');
    await expect.poll(() => local.stderr, { timeout: READY_MS }).toContain('by SIGKILL');
    expect(local.stderr).toContain(`rendezvous at ${victim?.peers ?? ''}`);

    const alice = chat('alice', 'bob', ready);
    const bob = chat('bob', 'alice', ready);
    alice.say('still here?');
    await bob.hears('still here?');
  });

  it('runs one load balancer and one server, in which two terminals of one user chat', async () => {
    const { ready } = await startLocal('--loadbalancers', '1', '--servers', '1');
    expect(ready.processes).toHaveLength(2);
    const alice = chat('alice', 'bob', ready);
    const bob = chat('bob', 'alice', ready);
    alice.say('one');
    await bob.hears('one');
    bob.say('two');
    await alice.hears('two');
  });

  it('ends what it started when it is interrupted before it is ready', async () => {
    const local = new ChildProgram('chatty-local', ['--json']);
    programs.push(local);
    await systemClock.sleep(300);
    local.signal('SIGINT');
    await within(GONE_MS + STOP_MS, 'end', local.ended, () => [local.stderr]);
  });
});

function chat(name: string, friend: string, { loadBalancers }: Ready): Person {
  const person = new Person(
    new ChildProgram('chatty', [name, friend, '--lb', loadBalancers[0] ?? '', '--state', state]),
  );
  programs.push(person.program);
  return person;
}
