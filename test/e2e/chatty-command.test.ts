import { EventEmitter } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/base/address.ts';
import { main } from '../../src/cli/chatty-main.ts';
import { clusterSecrets, TestCluster } from './rendezvous-support.ts';

let cluster: TestCluster;
/** One balancer's address, the other's, and one where nobody listens. */
let lb: string;
let otherLb: string;
const NOBODY = '127.0.0.1:1';

beforeAll(async () => {
  cluster = new TestCluster(await clusterSecrets());
  const balancers = [await cluster.balancer(), await cluster.balancer()];
  [lb = '', otherLb = ''] = balancers.map(({ peerAddresses: [first] }) =>
    first === undefined ? '' : formatAddress(first),
  );
  await cluster.server();
  await cluster.server();
});
afterAll(() => cluster.end());

let state: string;
const running: Command[] = [];
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'chatty-command-'));
});
afterEach(async () => {
  for (const command of running) command.signals.emit('SIGTERM', 'SIGTERM');
  await Promise.all(running.splice(0).map(({ exit }) => exit));
  await rm(state, { recursive: true, force: true });
});

type Event = Readonly<Record<string, unknown>>;

/** One run of the command, with its streams in the test's hands. */
class Command {
  readonly stdin = new PassThrough();
  readonly signals = new EventEmitter();
  readonly exit: Promise<number>;
  readonly events: Event[] = [];
  stderr = '';
  stdout = '';
  #changed: () => void = () => undefined;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    const collect = (take: (text: string) => void): Writable =>
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          take(chunk.toString());
          done();
        },
      });
    this.exit = main(
      args,
      { CHATTY_STATE: state, ...env },
      {
        stdin: this.stdin,
        stdout: collect((text) => this.#print(text)),
        stderr: collect((text) => (this.stderr += text)),
        on: (signal, listener) => this.signals.on(signal, listener),
        off: (signal, listener) => this.signals.off(signal, listener),
        exit: () => undefined,
      },
    ).finally(() => this.#changed());
    running.push(this);
  }

  #print(text: string): void {
    this.stdout += text;
    for (const line of text.split('\n').filter((each) => each.startsWith('{'))) {
      this.events.push(JSON.parse(line) as Event);
    }
    this.#changed();
  }

  /** The first event of this name, as soon as it is there. */
  async event(name: string): Promise<Event> {
    for (;;) {
      const found = this.events.find(({ event }) => event === name);
      if (found !== undefined) return found;
      await new Promise<void>((resolve, reject) => {
        this.#changed = resolve;
        this.exit.then(
          (code) => reject(new Error(`no ${name}, exit ${code}: ${this.stderr}`)),
          reject,
        );
      });
    }
  }

  /** Everything an event of this name says in one field. */
  all(name: string, field: string): unknown[] {
    return this.events.filter(({ event }) => event === name).map((event) => event[field]);
  }
}

let pairs = 0;
/** Names nobody else in this file has. */
const names = (): [string, string] => {
  pairs += 1;
  return [`alice-${pairs}`, `bob-${pairs}`];
};
const chat = (name: string, friend: string, ...more: string[]): Command =>
  new Command([name, friend, '--lb', lb, ...more]);

describe('two people', () => {
  it('who know different load balancers talk both ways and leave when both inputs have ended', async () => {
    const [alice, bob] = names();
    const a = chat(alice, bob);
    const b = new Command([bob, alice, '--lb', otherLb]);
    a.stdin.end('one\ntwo');
    b.stdin.end('three\r\n');
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    expect(b.all('message', 'text')).toEqual(['one', 'two']);
    expect(b.all('message', 'from')).toEqual([alice, alice]);
    expect(a.all('message', 'text')).toEqual(['three']);
    expect(a.all('sent', 'id')).toEqual([1, 2]);
    expect(a.all('delivered', 'id')).toEqual([1, 2]);
    expect(await a.event('connected')).toMatchObject({
      friend: bob,
      path: 'direct',
      trust: 'first-use',
      fingerprint: expect.stringMatching(/^sha256-.{43}$/) as string,
    });
    expect(a.all('error', 'code')).toEqual([]);
    // Nothing on loopback is stored.
    expect(await readdir(state)).toEqual(['people']);
  });

  it('part as the contract says when one keeps its input open', async () => {
    const [alice, bob] = names();
    const a = chat(alice, bob);
    const b = chat(bob, alice);
    a.stdin.end('one\n');
    expect(await a.exit).toBe(0);
    expect(await b.event('disconnected')).toMatchObject({ reason: 'left' });
    b.stdin.end();
    expect(await b.exit).toBe(0);
  });

  it('part when the one with something to say has said it', async () => {
    const [alice, bob] = names();
    const a = chat(alice, bob);
    const b = chat(bob, alice);
    a.stdin.end();
    await b.event('connected');
    b.stdin.write('one\n');
    await a.event('message');
    b.stdin.end();
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
  });

  it('know each other by key the second time, and a changed key is refused until it is accepted', async () => {
    const [alice, bob] = names();
    const bobElsewhere = { CHATTY_STATE: join(state, 'elsewhere') };
    for (const trust of ['first-use', 'known']) {
      const a = chat(alice, bob);
      const b = chat(bob, alice);
      a.stdin.end();
      b.stdin.end();
      await Promise.all([a.exit, b.exit]);
      expect(a.all('connected', 'trust')).toEqual([trust]);
    }
    const b = new Command([bob, alice, '--lb', lb], bobElsewhere);
    await b.event('registered');
    const a = chat(alice, bob);
    expect(await a.exit).toBe(77);
    expect(a.all('error', 'code')).toEqual(['CHATTY_KEY_CHANGED']);
    const [, command = ''] = /chatty (trust .*)/.exec(a.stderr) ?? [];
    expect(await new Command(command.split(' ')).exit).toBe(0);
    const again = chat(alice, bob);
    expect(await again.event('connected')).toMatchObject({ trust: 'verified' });
    again.stdin.end();
    b.stdin.end();
    expect(await Promise.all([again.exit, b.exit])).toEqual([0, 0]);
  });

  it('meet by an invitation, which makes the inviter known for sure', async () => {
    const [alice, bob] = names();
    const a = new Command(['invite', alice, bob, '--lb', lb]);
    const { link } = await a.event('invitation');
    const b = new Command(['join', String(link), '--strict']);
    a.stdin.end('welcome\n');
    b.stdin.end();
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    expect(b.all('message', 'text')).toEqual(['welcome']);
    expect(b.all('connected', 'trust')).toEqual(['verified']);
    const printed = new Command(['invite', alice, bob, '--lb', lb, '--print']);
    expect(await printed.exit).toBe(0);
    expect(printed.stdout).toBe(`${String(link)}\n`);
  });

  it('may have a name that is a command, after --', async () => {
    const [, bob] = names();
    const a = new Command(['--lb', lb, '--', 'join', bob]);
    const b = chat(bob, 'join');
    a.stdin.end('hi\n');
    b.stdin.end();
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    expect(b.all('message', 'from')).toEqual(['join']);
  });
});

describe('a person', () => {
  it('is replaced by a newer process with the same key: 77', async () => {
    const [alice, bob] = names();
    const older = chat(alice, bob);
    await older.event('registered');
    const newer = chat(alice, bob);
    expect(await older.exit).toBe(77);
    expect(older.all('error', 'code')).toEqual(['CHATTY_REPLACED']);
    await newer.event('registered');
  });

  it('cannot take a name that is taken: 77', async () => {
    const [alice, bob] = names();
    const owner = chat(alice, bob);
    await owner.event('registered');
    const other = new Command([alice, bob, '--lb', lb], { CHATTY_STATE: join(state, 'other') });
    expect(await other.exit).toBe(77);
    expect(other.all('error', 'code')).toEqual(['CHATTY_NAME_TAKEN']);
  });

  it('who is interrupted says goodbye: 130', async () => {
    const [alice, bob] = names();
    const a = chat(alice, bob);
    const b = chat(bob, alice);
    await Promise.all([a.event('connected'), b.event('connected')]);
    a.signals.emit('SIGINT', 'SIGINT');
    expect(await a.exit).toBe(130);
    expect(await b.event('disconnected')).toMatchObject({ reason: 'interrupted' });
  });

  it('is told which line was no message, and the rest is sent', async () => {
    const [alice, bob] = names();
    const a = chat(alice, bob);
    const b = chat(bob, alice);
    b.stdin.end();
    a.stdin.write(Uint8Array.of(0xc3, 0x0a));
    a.stdin.end(`${'x'.repeat(65_537)}\n${'y'.repeat(65_536)}\n`);
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    expect(a.all('error', 'code')).toEqual(['CHATTY_NOT_UTF8', 'CHATTY_MESSAGE_TOO_LONG']);
    expect(b.all('message', 'text')).toEqual(['y'.repeat(65_536)]);
  });

  it('whose friend does not come by --timeout: 75', async () => {
    const [alice, bob] = names();
    const a = chat(alice, bob, '--timeout', '1s');
    expect(await a.exit).toBe(75);
    expect(a.all('error', 'code')).toEqual(['CHATTY_NO_FRIEND']);
  });

  it('whose load balancer is not there by --timeout: 69, with the address and why', async () => {
    const a = new Command(['alice', 'bob', '--lb', NOBODY, '--timeout', '1s']);
    expect(await a.exit).toBe(69);
    expect(a.stderr).toContain(NOBODY);
    expect(a.stderr).toContain('connection refused');
  });

  it('who has a wrong pin, or nothing but --strict: 77', async () => {
    const pin = `sha256-${'A'.repeat(43)}`;
    const pinned = new Command(['alice', 'bob', '--lb', `${lb}#${pin}`]);
    expect(await pinned.exit).toBe(77);
    expect(pinned.stderr).toContain(pin);
    expect(await chat('alice', 'bob', '--strict').exit).toBe(77);
  });

  it.each([
    ['a missing friend', ['alice']],
    ['an own name as friend', ['alice', 'alice', '--lb', NOBODY]],
    ['the same name in another normal form', ['\u00e4', 'a\u0308', '--lb', NOBODY]],
    ['no load balancer', ['alice', 'bob']],
    ['an empty name', ['', 'bob', '--lb', NOBODY]],
    ['a name too long', ['x'.repeat(65), 'bob', '--lb', NOBODY]],
    ['control characters in a name', ['alice', 'b\u001bob', '--lb', NOBODY]],
    ['a load balancer that is none', ['alice', 'bob', '--lb', 'nowhere']],
    ['a key that is none', ['alice', 'bob', '--lb', NOBODY, '--friend-key', 'x']],
    ['an unknown option', ['alice', 'bob', '--lb', NOBODY, '--what']],
    ['a link that is none', ['join', 'https://example.org']],
    ['a fingerprint that is none', ['trust', 'alice', 'bob', 'x']],
  ])('who gives %s: 64, before anything is stored', async (_, args) => {
    const command = new Command(args);
    expect(await command.exit).toBe(64);
    expect(command.stderr).toMatch(/^chatty: .+\n/);
    expect(await readdir(state)).toEqual([]);
  });

  it('who names a CA file that is none: 78', async () => {
    const a = chat('alice', 'bob', '--ca', join(state, 'none.pem'));
    expect(await a.exit).toBe(78);
    expect(a.stderr).toContain('none.pem');
  });
});
