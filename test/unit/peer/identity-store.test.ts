import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatFingerprint } from '../../../src/base/identity.ts';
import {
  nextSessionStart,
  openIdentity,
  personDirectory,
} from '../../../src/peer/identity-store.ts';

let state: string;
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'chatty-state-'));
});
afterEach(() => rm(state, { recursive: true, force: true }));

const fingerprintOf = async (name: string): Promise<string> =>
  formatFingerprint((await openIdentity(personDirectory(state, name))).fingerprint);

describe('the key of a name', () => {
  it('is made once and is the same from then on', async () => {
    expect(await fingerprintOf('alice')).toBe(await fingerprintOf('alice'));
  });

  it('is another for each name, whatever the file system thinks of their spelling', async () => {
    const names = [
      'alice',
      'Alice',
      'ALICE',
      'älice',
      '../alice',
      'a/b',
      '.',
      'アリス',
      'CON',
      '😀',
    ];
    const keys = await Promise.all(names.map(fingerprintOf));
    expect(new Set(keys).size).toBe(names.length);
    expect(await readdir(state)).toEqual(['people']);
    for (const entry of await readdir(join(state, 'people'))) {
      expect(entry).toMatch(/^[a-z0-9-]{1,65}$/);
    }
  });

  it('is readable by its owner only, and nothing else is left beside it', async () => {
    const directory = personDirectory(state, 'alice');
    await openIdentity(directory);
    expect((await stat(join(directory, 'identity.pem'))).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    expect(await readdir(directory)).toEqual(['identity.pem']);
  });

  it('is one key when many start at once with the same new name', async () => {
    const keys = await Promise.all(Array.from({ length: 20 }, () => fingerprintOf('alice')));
    expect(new Set(keys).size).toBe(1);
  });

  it('is one key when two processes start at once with the same new name', async () => {
    const module = new URL('../../../src/peer/identity-store.ts', import.meta.url).href;
    const program = `
      const { openIdentity, personDirectory } = await import(${JSON.stringify(module)});
      const { fingerprint } = await openIdentity(personDirectory(${JSON.stringify(state)}, 'alice'));
      console.log(Buffer.from(fingerprint).toString('hex'));`;
    const run = async (): Promise<string> =>
      (
        await promisify(execFile)(process.execPath, [
          ...['--import', 'tsx', '--input-type=module', '--eval'],
          program,
        ])
      ).stdout;
    const [first, second] = await Promise.all([run(), run()]);
    expect(first).toMatch(/^[0-9a-f]{64}\n$/);
    expect(second).toBe(first);
  });

  it.each<[string, (text: string, other: string) => string]>([
    ['half written', (text) => text.slice(0, text.length / 2)],
    ['empty', () => ''],
    ['without its certificate', (text) => text.slice(0, text.indexOf('-----BEGIN CERT'))],
    [
      "another's certificate",
      (text, other) =>
        text.slice(0, text.indexOf('-----BEGIN CERT')) +
        other.slice(other.indexOf('-----BEGIN CERT')),
    ],
    ['no PEM at all', () => 'hello'],
    ['a key with a changed byte', (text) => text.replace(/\n.{10}/, '\n##########')],
  ])('is refused when its file is %s, naming it', async (_, damage) => {
    await openIdentity(personDirectory(state, 'bob'));
    const path = join(personDirectory(state, 'alice'), 'identity.pem');
    await openIdentity(personDirectory(state, 'alice'));
    const other = await readFile(join(personDirectory(state, 'bob'), 'identity.pem'), 'utf8');
    const damaged = damage(await readFile(path, 'utf8'), other);
    await writeFile(path, damaged);
    await expect(fingerprintOf('alice')).rejects.toMatchObject({
      code: 'CHATTY_KEY_FILE',
      exitCode: 78,
      message: expect.stringContaining(path) as string,
      hint: expect.stringContaining('delete it') as string,
    });
    expect(await readFile(path, 'utf8')).toBe(damaged);
  });

  it('is refused where the state directory is none', async () => {
    const file = join(state, 'file');
    await writeFile(file, '');
    await expect(openIdentity(personDirectory(file, 'alice'))).rejects.toMatchObject({
      code: 'CHATTY_KEY_FILE',
    });
  });
});

describe('the start of a session', () => {
  it('is now', async () => {
    expect(await nextSessionStart(state, 1_700_000_000_000.5)).toBe(1_700_000_000_000n);
  });

  it('is at least one above the last one, even after the clock was set back', async () => {
    await nextSessionStart(state, 5_000);
    expect(await nextSessionStart(state, 5_000)).toBe(5_001n);
    expect(await nextSessionStart(state, 100)).toBe(5_002n);
    expect(await nextSessionStart(state, 9_000)).toBe(9_000n);
  });

  it('says which file is damaged and what to do', async () => {
    await writeFile(join(state, 'last-session'), '12\0');
    await expect(nextSessionStart(state, 1)).rejects.toMatchObject({
      code: 'CHATTY_KEY_FILE',
      message: expect.stringContaining(join(state, 'last-session')) as string,
    });
  });
});
