import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Command } from '../../src/cli/child-program.ts';
import {
  loadBalancerSchema,
  localSchema,
  peerSchema,
  rendezvousSchema,
} from '../../src/config/schemas.ts';
import { environmentName, optionName } from '../../src/config/setting.ts';
import { personDirectory } from '../../src/peer/identity-store.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { clustersOf, RealCluster } from './support/real-cluster.ts';
import { runCommand } from './support/run-command.ts';

const NOBODY = '127.0.0.1:1';
/** In which a program on a busy computer has begun and found its servers. */
const SOON = '5s';

let cluster: RealCluster;
let lb: string;
/** What every chat needs beside its names. */
let there: string[];
beforeAll(async () => {
  cluster = await RealCluster.start(1, 2);
  lb = cluster.loadBalancers[0] ?? '';
  there = ['--lb', lb, '--state', cluster.state];
});
afterAll(async () => {
  await everybodyLeaves();
  await cluster[Symbol.asyncDispose]();
});

const COMMANDS = [
  ['chatty', peerSchema, ['alice', 'bob']],
  ['chatty-rendezvous', rendezvousSchema, []],
  ['chatty-loadbalancer', loadBalancerSchema, []],
  ['chatty-local', localSchema, []],
] as const;

describe.each(COMMANDS)('%s', (command, schema, positionals) => {
  it('explains every option and its environment variable', async () => {
    const { code, stdout, stderr } = await runCommand(command, ['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const key of Object.keys(schema)) {
      const isOn = (schema as Record<string, { default?: unknown }>)[key]?.default === true;
      expect(stdout).toContain(isOn ? `--no-${optionName(key)}` : `--${optionName(key)}`);
      expect(stdout).toContain(environmentName(key));
    }
    for (const option of ['--version', '--print-config', '--help'])
      expect(stdout).toContain(option);
  });

  it('says its version', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
    const { code, stdout } = await runCommand(command, ['--version']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${command} ${version}\n` });
  });

  it('prints its configuration from file, environment and arguments, in that order', async () => {
    const file = join(cluster.directory, `${command}.json`);
    await writeFile(file, JSON.stringify({ logLevel: 'debug', logFile: 'from-the-file' }));
    const args = [...positionals, '--print-config', '--config', file];
    const env = { CHATTY_LOG_FILE: 'from-the-environment' };
    const { code, stdout } = await runCommand(command, args, { env });
    expect(code).toBe(0);
    const printed = JSON.parse(stdout) as Record<string, unknown>;
    expect(printed).toMatchObject({ logLevel: 'debug', logFile: 'from-the-environment' });
    const again = await runCommand(command, [...args, '--log-level', 'error'], { env });
    expect(JSON.parse(again.stdout)).toMatchObject({ logLevel: 'error' });
  });

  it('warns of variables that look like its own, but not of those for the infrastructure', async () => {
    const env = { CHATTY_TIMEOUTT: '1s', CHATTY_INFRA_REGION: 'x', CHATTY_TIMEOUT: '' };
    const args = [...positionals, '--print-config'];
    const { code, stderr } = await runCommand(command, args, { env });
    expect(code).toBe(0);
    expect(stderr).toMatch(/warning: .*CHATTY_TIMEOUTT/);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

// All commands share the frame that refuses these: two of them stand for all.
describe.each(COMMANDS.slice(0, 2))('%s', (command, _schema, positionals) => {
  it.each([
    ['an unknown option', ['--frobnicate'], 64, /--frobnicate/],
    ['an argument with a bad value', ['--log-level', 'loud'], 64, /--log-level must be one of/],
    ['an argument too many', ['a', 'b', 'c'], 64, /too many arguments/],
  ])('refuses %s with the exit code for wrong usage', async (_what, args, expected, said) => {
    const { code, stderr } = await runCommand(command, [...positionals, ...args]);
    expect(code).toBe(expected);
    expect(stderr).toMatch(said);
    expect(stderr).toContain('--help');
  });

  it.each([
    ['an unknown key', '{"frobnicate":1}', /"frobnicate".*is unknown; there are .*logLevel/],
    ['a bad value', '{"logLevel":"loud"}', /"logLevel".*must be one of debug, info/],
    ['no JSON', '{"logLevel":', /JSON/],
  ])('refuses a file with %s, before it misses an option', async (what, text, said) => {
    const file = join(cluster.directory, `${command}-${what.replaceAll(' ', '-')}.json`);
    await writeFile(file, text);
    const { code, stderr } = await runCommand(command, [...positionals, '--config', file]);
    expect(code).toBe(78);
    expect(stderr).toMatch(said);
    expect(stderr).toContain(file);
  });

  it('refuses a bad value in the environment, and a file that is not there', async () => {
    const env = { CHATTY_LOG_LEVEL: 'loud' };
    const bad = await runCommand(command, [...positionals], { env });
    expect(bad.code).toBe(78);
    expect(bad.stderr).toMatch(/CHATTY_LOG_LEVEL must be one of/);
    const missing = await runCommand(command, [...positionals, '--config', '/nowhere/at/all']);
    expect(missing.code).toBe(78);
    expect(missing.stderr).toContain('/nowhere/at/all');
  });
});

describe('chatty refuses, as wrong usage,', () => {
  const long = 'é'.repeat(33);
  it.each([
    ['one’s own name as friend', ['alice', 'alice'], /own name/],
    ['one’s own name spelled otherwise', ['Ame\u0301lie', 'Am\u00e9lie'], /own name/],
    ['an empty name', ['', 'bob'], /your name.*empty/],
    ['an empty friend', ['alice', '  '], /friend's name.*empty/],
    ['a name of 66 bytes', [long, 'bob'], /your name.*longer than 64 bytes/],
    ['a friend of 66 bytes', ['alice', long], /friend's name.*longer than 64 bytes/],
    ['a name with a control character', ['al\u0007ice', 'bob'], /your name.*control/],
    ['a friend with an escape sequence', ['alice', '\u001b[31mbob'], /friend's name.*control/],
    ['no friend', ['alice'], /friend/i],
    ['no names', [], /name/i],
    ['an address without a port', ['alice', 'bob', '--lb', 'localhost'], /HOST:PORT/],
    ['a timeout that is none', ['alice', 'bob', '--timeout', 'soon'], /250ms, 5s/],
    ['a key that is none', ['alice', 'bob', '--friend-key', 'sha256-x'], /fingerprint/],
  ])('%s', async (_what, args, said) => {
    const { code, stderr } = await runCommand('chatty', ['--state', cluster.state, ...args]);
    expect(code, stderr).toBe(64);
    expect(stderr).toMatch(said);
    // What is quoted on a terminal moves no cursor.
    // eslint-disable-next-line no-control-regex -- that no control character is left is the point
    expect(stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });

  it('no load balancer', async () => {
    const state = join(cluster.directory, 'empty');
    const { code, stderr } = await runCommand('chatty', ['alice', 'bob', '--state', state]);
    expect(code).toBe(64);
    expect(stderr).toMatch(/--loadbalancer is missing[^]*CHATTY_LOADBALANCER/);
  });
});

describe.concurrent('chatty says why it cannot begin', () => {
  it('with a subcommand’s name as NAME, unless -- comes before it', async () => {
    const args = [...there, '--timeout', SOON, '--', 'trust', 'bob'];
    expect((await runCommand('chatty', args)).code).toBe(75);
    expect((await runCommand('chatty', [...there, 'trust', 'bob'])).code).toBe(64);
  });

  it('with no balancer to be reached: each address and why', async () => {
    const args = ['alice', 'bob', '--lb', NOBODY, '--lb', 'nowhere.invalid:50050'];
    const [hurried, patient] = await Promise.all([
      runCommand('chatty', [...args, '--state', cluster.state, '--timeout', SOON]),
      runCommand('chatty', [...args, '--state', cluster.state]),
    ]);
    for (const { code, stderr, stdout } of [hurried, patient]) {
      expect(code, stderr).toBe(69);
      expect(stderr).toMatch(/127\.0\.0\.1:1: .*refused/);
      expect(stderr).toMatch(/nowhere\.invalid:50050: /);
      expect(stdout).toContain('"code":"CHATTY_NO_SERVER"');
    }
  });

  it('with a balancer that has no server', async () => {
    await using lonely = await RealCluster.start(1, 0);
    const args = ['--lb', lonely.loadBalancers[0] ?? '', '--state', cluster.state];
    const { code, stderr } = await runCommand('chatty', ['a', 'b', ...args, '--timeout', SOON]);
    expect(code, stderr).toBe(69);
    expect(stderr).toMatch(/no rendezvous server/i);
  });

  it('with the cluster’s port of a balancer, in place of the one for peers', async () => {
    const args = ['alice', 'bob', '--lb', cluster.balancers[0]?.cluster ?? '', '--timeout', SOON];
    const { code, stdout, stderr } = await runCommand('chatty', args);
    expect(code, stderr).toBe(69);
    expect(stderr).toMatch(/peers ask at another port/);
    // Said when it begins and when it ends, not at each of the attempts between.
    expect(stdout.split('CHATTY_NO_SERVER')).toHaveLength(3);
  });

  it('with a friend who never comes', async () => {
    const args = ['alice', 'godot', ...there, '--timeout', SOON];
    const { code, stderr, stdout } = await runCommand('chatty', args);
    expect(code).toBe(75);
    expect(stderr).toMatch(/godot did not come in time[^]*each naming the other/);
    expect(stdout).toContain('"event":"registered"');
  });

  it('with a name that somebody else has', async () => {
    const holder = Person.chat(cluster, 'coveted', 'bob');
    await holder.until('registered');
    const state = join(cluster.directory, 'other');
    const args = ['coveted', 'bob', '--lb', lb, '--state', state];
    const { code, stderr } = await runCommand('chatty', args);
    expect(code).toBe(77);
    expect(stderr).toMatch(/waiting under this name/);
    await holder.leave();
  });

  it.each(['half of it', 'nothing'])('with %s in its key file', async (what) => {
    const name = what.replaceAll(' ', '-');
    await runCommand('chatty', [name, 'bob', ...there, '--timeout', '1ms']);
    const key = join(personDirectory(cluster.state, name), 'identity.pem');
    await truncate(key, what === 'nothing' ? 0 : 300);
    const { code, stderr } = await runCommand('chatty', [name, 'bob', ...there]);
    expect(code, stderr).toBe(78);
    expect(stderr).toContain(key);
    expect(stderr).toMatch(/delete it/i);
  });

  it('with a key file that cannot be read', async () => {
    const key = join(personDirectory(cluster.state, 'unreadable'), 'identity.pem');
    await mkdir(key, { recursive: true });
    const { code, stderr } = await runCommand('chatty', ['unreadable', 'bob', ...there]);
    expect(code, stderr).toBe(78);
    expect(stderr).toContain(key);
  });

  it('on a platform for which there is no QUIC library', async () => {
    // Node as it would be there: the library is looked for by platform and processor.
    const elsewhere = `Object.defineProperty(process,'arch',{value:'arm64'})`;
    const env = {
      NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(elsewhere)}`,
    };
    const { code, stderr } = await runCommand('chatty', ['alice', 'bob', ...there], { env });
    expect(code, stderr).toBe(78);
    expect(stderr).toMatch(/no QUIC library for \w+-arm64[^]*linux-x64/);
  });
});

describe('the daemons say why they cannot begin', () => {
  const daemons: Command[] = ['chatty-loadbalancer', 'chatty-rendezvous'];
  const argsFor = (command: Command, ...args: string[]): string[] => [
    ...(command === 'chatty-rendezvous' ? clustersOf(cluster.balancers) : []),
    ...['--listen', '127.0.0.1:0', '--cluster-listen', '127.0.0.1:0'],
    ...args,
  ];

  it.each(daemons)('%s without keys', async (command) => {
    const { code, stderr } = await runCommand(command, argsFor(command));
    expect(code).toBe(64);
    expect(stderr).toMatch(/--tls is missing[^]*CHATTY_TLS/);
  });

  it.each(daemons)('%s with half a key', async (command) => {
    const tls = join(cluster.directory, `${command}-half`);
    await cp(cluster.tls, tls, { recursive: true });
    const keys = (await readdir(tls)).filter((each) => each.endsWith('-key.pem'));
    for (const key of keys) await truncate(join(tls, key), 60);
    const { code, stderr } = await runCommand(command, argsFor(command, '--tls', tls));
    expect(code).toBe(78);
    expect(stderr).toMatch(/-key\.pem: .*no complete private key/);
  });

  it.each(daemons)('%s with its ports in use', async (command) => {
    const role = command.slice('chatty-'.length);
    const [taken] = [...cluster.balancers, ...cluster.servers].filter((each) => each.role === role);
    const { code, stderr } = await runCommand(command, [
      ...(command === 'chatty-rendezvous' ? clustersOf(cluster.balancers) : []),
      ...['--listen', '127.0.0.1:0', '--cluster-listen', taken?.cluster ?? ''],
      ...['--tls', cluster.tls],
    ]);
    expect(code, stderr).toBe(78);
    expect(stderr).toContain(taken?.cluster ?? 'none');
    expect(stderr).toMatch(/in use/);
  });

  it('chatty-rendezvous with its UDP port in use', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const listen = `127.0.0.1:${socket.address().port}`;
    const { code, stderr } = await runCommand('chatty-rendezvous', [
      ...clustersOf(cluster.balancers),
      ...['--listen', listen, '--cluster-listen', '127.0.0.1:0', '--tls', cluster.tls],
    ]);
    socket.close();
    expect(code, stderr).toBe(78);
    expect(stderr).toContain(listen);
    expect(stderr).toMatch(/in use/);
  });
});
