import { randomBytes, X509Certificate } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTls, type SecureContextOptions } from 'node:tls';
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/base/address.ts';
import { createSelfSigned } from '../../src/base/certificate.ts';
import { formatFingerprint, certificateFingerprint } from '../../src/base/identity.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { clustersOf, type Daemon, RealCluster } from './support/real-cluster.ts';
import { runCommand } from './support/run-command.ts';

let cluster: RealCluster;
/** Another cluster, which has nothing to do with it. */
let foreign: RealCluster;
let lb: string;
let pin: string;
beforeAll(async () => {
  [cluster, foreign] = await Promise.all([RealCluster.start(1, 2), RealCluster.start(1, 1)]);
  lb = cluster.loadBalancers[0] ?? '';
  pin = formatFingerprint(
    certificateFingerprint(new X509Certificate(readFileSync(cluster.caFile))),
  );
});
afterEach(everybodyLeaves);
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await foreign[Symbol.asyncDispose]();
});

let people = 0;
const stranger = (): [string, string] => [`alice${++people}`, `bob${people}`];
const elsewhere = (name: string): string => join(cluster.directory, name);
const someFingerprint = (): string => `sha256-${randomBytes(32).toString('base64url')}`;

/** A chat that gives up soon. */
function tryChat(...args: string[]): ReturnType<typeof runCommand> {
  const common = ['--state', cluster.state, '--timeout', '6s'];
  return runCommand('chatty', [...stranger(), ...common, ...args]);
}

async function theyTalk(alice: Person, bob: Person): Promise<void> {
  alice.say('is it you?');
  await bob.hears('is it you?');
  bob.say('it is');
  await alice.hears('it is');
}

describe.concurrent('a load balancer', () => {
  it.each([
    ['by the CA of its cluster', () => ['--lb', lb, '--ca', cluster.caFile, '--strict']],
    ['by its pin', () => ['--lb', `${lb}#${pin}`, '--strict']],
    ['on first use', () => ['--lb', lb]],
  ])('is believed %s', async (_how, args) => {
    const { code, stdout, stderr } = await tryChat(...args());
    // A server has answered; only the friend is missing.
    expect(code, stderr).toBe(75);
    expect(stdout).toContain('"event":"registered"');
  });

  it.each([
    ['another cluster’s CA', () => ['--lb', lb, '--ca', foreign.caFile]],
    ['another pin', () => ['--lb', `${lb}#${someFingerprint()}`]],
    ['nothing known and --strict', () => ['--lb', lb, '--strict']],
  ])('is refused with %s', async (_how, args) => {
    const { code, stdout, stderr } = await tryChat(...args());
    expect(code, stderr).toBe(77);
    expect(stderr).toContain(lb);
    expect(stdout).not.toContain('"event":"registered"');
    expect(stdout).toContain('"code":"CHATTY_UNTRUSTED"');
  });

  it('says what it shows where a pin was expected', async () => {
    const expected = someFingerprint();
    const { stderr } = await tryChat('--lb', `${lb}#${expected}`);
    expect(stderr).toContain(expected);
    expect(stderr).toContain(pin);
  });

  it('on loopback is never stored, nor its cluster', async () => {
    const state = elsewhere('fresh');
    const args = [...stranger(), '--lb', `${lb}#${pin}`, '--state', state, '--timeout', '6s'];
    expect((await runCommand('chatty', args)).code).toBe(75);
    expect(await readdir(state)).toEqual(['people']);
  });

  it.each(['no such file', 'a file that is no certificate'])('with %s as CA: 78', async (what) => {
    const path =
      what === 'no such file' ? elsewhere('none.pem') : join(process.cwd(), 'package.json');
    const { code, stderr } = await tryChat('--lb', lb, '--ca', path);
    expect(code, stderr).toBe(78);
    expect(stderr).toContain(path);
  });
});

describe('inside the cluster', () => {
  const port = (address: string): { host: string; port: number } => {
    const parsed = parseAddress(address);
    if (parsed === undefined) throw new RangeError(address);
    return parsed;
  };

  /** Whether a TLS client with these credentials is let into an HTTP/2 conversation. */
  async function isLetIn(address: string, credentials: SecureContextOptions): Promise<boolean> {
    const socket = connectTls({
      ...port(address),
      ...credentials,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
    });
    return new Promise((resolve) => {
      // HTTP/2's preface and an empty SETTINGS frame (RFC 9113 §3.4), answered with SETTINGS.
      socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0');
      socket.once('data', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('close', () => resolve(false));
    }).then((isIn) => {
      socket.destroy();
      return isIn === true;
    });
  }

  const credentialsOf = (of: RealCluster, role: string): SecureContextOptions => ({
    cert: readFileSync(join(of.tls, `${role}.pem`)),
    key: readFileSync(join(of.tls, `${role}-key.pem`)),
  });

  it('only certificates of its own CA are let in, on every plane of servers and balancers', async () => {
    const own = await createSelfSigned('rendezvous.chatty.internal');
    for (const { cluster: address } of [...cluster.balancers, ...cluster.servers]) {
      expect(await isLetIn(address, credentialsOf(cluster, 'rendezvous'))).toBe(true);
      expect(await isLetIn(address, credentialsOf(foreign, 'rendezvous'))).toBe(false);
      expect(await isLetIn(address, { cert: own.certPem, key: own.keyPem })).toBe(false);
      expect(await isLetIn(address, {})).toBe(false);
    }
  });

  it('a server of another cluster is never listed', async () => {
    const intruder = foreign.launch('rendezvous', {}, clustersOf(cluster.balancers));
    await expect
      .poll(() => intruder.stderr, { timeout: 20_000 })
      .toMatch(/certificate|unavailable/i);
    await cluster.listed(cluster.balancers[0] as Daemon, cluster.servers, true);
    intruder.signal('SIGKILL');
    await intruder.ended;
  });
});

describe('a friend', () => {
  it('is known by the key of the first time, and by --friend-key at once', async () => {
    const [a, b] = stranger();
    const alice = Person.chat(cluster, a, b);
    const bob = Person.chat(cluster, b, a);
    const { fingerprint, trust } = await alice.until('connected');
    expect(trust).toBe('first-use');
    await bob.until('connected');
    await Promise.all([alice.leave(), bob.leave()]);

    const args = ['--friend-key', String(fingerprint)];
    const again = [Person.chat(cluster, a, b), Person.chat(cluster, b, a)] as const;
    expect(await again[0].until('connected')).toMatchObject({ fingerprint, trust: 'known' });
    await Promise.all(again.map((person) => person.leave()));

    const state = elsewhere('new-computer');
    const careful = Person.chat(cluster, `${a}-new`, b, { args, state });
    const known = Person.chat(cluster, b, `${a}-new`);
    expect(await careful.until('connected')).toMatchObject({ fingerprint, trust: 'verified' });
    await known.until('connected');
  });

  it('with another key than --friend-key is not talked to', async () => {
    const [a, b] = stranger();
    const alice = Person.chat(cluster, a, b, { args: ['--friend-key', someFingerprint()] });
    const bob = Person.chat(cluster, b, a);
    expect(await alice.ended()).toEqual({ code: 77, signal: null });
    expect(alice.story).not.toContain('matched');
    expect(bob.story).not.toContain('matched');
  });

  it('whose key has changed is refused, until "chatty trust" accepts the new one', async () => {
    const [a, b] = stranger();
    const alice = Person.chat(cluster, a, b);
    const bob = Person.chat(cluster, b, a);
    await theyTalk(alice, bob);
    await Promise.all([alice.leave(), bob.leave()]);

    const state = elsewhere('bob-lost-his-disk');
    const newBob = Person.chat(cluster, b, a, { state });
    await newBob.until('registered');
    const wary = Person.chat(cluster, a, b);
    expect(await wary.ended()).toEqual({ code: 77, signal: null });
    expect(wary.story).not.toContain('connected');
    const error = await wary.until('error');
    expect(error['code']).toBe('CHATTY_KEY_CHANGED');
    const hint = new RegExp(`chatty trust ${a} ${b} (sha256-[\\w-]{43})`).exec(
      String(error['hint']),
    );
    expect(hint, String(error['hint'])).not.toBeNull();
    expect(wary.program.stderr).toContain(hint?.[0]);

    const trust = ['trust', a, b, hint?.[1] ?? '', '--state', cluster.state];
    expect(await runCommand('chatty', trust)).toMatchObject({ code: 0, stderr: '' });
    const trusting = Person.chat(cluster, a, b);
    await theyTalk(trusting, newBob);
    expect(await trusting.until('connected')).toMatchObject({ trust: 'verified' });
  });
});

describe('an invitation', () => {
  it('is all that a guest needs, and proves who has made it', async () => {
    const [a, b] = stranger();
    const args = ['invite', a, b, '--lb', lb, '--state', cluster.state];
    const printed = await runCommand('chatty', [...args, '--print']);
    expect(printed).toMatchObject({ code: 0, stderr: '' });
    const link = printed.stdout.trim();
    expect(link).toMatch(/^chatty:\/\/\S+$/);
    expect(link).toContain(pin);

    const host = Person.run([...args]);
    expect((await host.until('invitation'))['link']).toBe(link);
    const guest = Person.run(['join', link, '--state', elsewhere('guest')]);
    await theyTalk(host, guest);
    expect(await guest.until('connected')).toMatchObject({ friend: a, trust: 'verified' });
  });

  it('lets nobody answer in the host’s place', async () => {
    const [a, b] = stranger();
    const args = ['invite', a, b, '--lb', lb, '--state', cluster.state, '--print'];
    const link = (await runCommand('chatty', args)).stdout.trim();
    const squatter = Person.chat(cluster, a, b, { state: elsewhere('squatter') });
    await squatter.until('registered');
    const guest = Person.run(['join', link, b, '--state', elsewhere('guest')]);
    expect(await guest.ended()).toEqual({ code: 77, signal: null });
    expect(guest.story).not.toContain('connected');
    expect(squatter.story).not.toContain('matched');
  });

  it.each([
    ['cut short', (link: string) => link.slice(0, -60)],
    ['for somebody else', (link: string) => link.replace('chatty://v1/', 'chatty://v9/')],
    ['none at all', () => 'https://example.org'],
  ])('that is %s is wrong usage', async (_what, damage) => {
    const [a, b] = stranger();
    const args = ['invite', a, b, '--lb', lb, '--state', cluster.state, '--print'];
    const link = damage((await runCommand('chatty', args)).stdout.trim());
    const { code, stderr } = await runCommand('chatty', ['join', link, '--state', cluster.state]);
    expect(code, stderr).toBe(64);
    expect(stderr).toMatch(/link/);
  });

  it('to another name is wrong usage', async () => {
    const [a, b] = stranger();
    const args = ['invite', a, b, '--lb', lb, '--state', cluster.state, '--print'];
    const link = (await runCommand('chatty', args)).stdout.trim();
    const { code, stderr } = await runCommand('chatty', ['join', link, 'carol']);
    expect(code).toBe(64);
    expect(stderr).toContain(b);
  });
});
