import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectedKey, KnownPeers } from '../../../src/peer/known-peers.ts';

const KEY = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'chatty-known-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const reopened = (): Promise<KnownPeers> => KnownPeers.open(directory);

describe('known peers', () => {
  it('are none at first', async () => {
    expect((await reopened()).get('bob')).toBeUndefined();
  });

  it('are still known after a restart, whatever their name is', async () => {
    const peers = await reopened();
    for (const name of ['bob', '__proto__', 'ボブ "x"']) {
      await peers.remember(name, KEY, 'first-use', 1_000);
    }
    const again = await reopened();
    for (const name of ['bob', '__proto__', 'ボブ "x"']) {
      expect(again.get(name)).toEqual({
        fingerprint: KEY,
        verified: 'first-use',
        firstSeenAt: 1_000,
      });
    }
    expect(again.get('constructor')).toBeUndefined();
  });

  it('are not displaced by another first use', async () => {
    const peers = await reopened();
    await peers.remember('bob', KEY, 'first-use', 1);
    await peers.remember('bob', OTHER, 'first-use', 2);
    expect(peers.get('bob')?.fingerprint).toEqual(KEY);
    expect((await reopened()).get('bob')?.fingerprint).toEqual(KEY);
  });

  it('become verified, which a later first use does not undo', async () => {
    const peers = await reopened();
    await peers.remember('bob', KEY, 'first-use', 1);
    await peers.remember('bob', KEY, 'verified', 2);
    await peers.remember('bob', KEY, 'first-use', 3);
    expect((await reopened()).get('bob')).toEqual({
      fingerprint: KEY,
      verified: 'verified',
      firstSeenAt: 1,
    });
  });

  it('change their key when the user verifies another', async () => {
    const peers = await reopened();
    await peers.remember('bob', KEY, 'verified', 1);
    await peers.remember('bob', OTHER, 'verified', 2);
    expect((await reopened()).get('bob')).toEqual({
      fingerprint: OTHER,
      verified: 'verified',
      firstSeenAt: 2,
    });
  });

  it('keep what another process of the same name has learned meanwhile', async () => {
    const [one, other] = [await reopened(), await reopened()];
    await one.remember('bob', KEY, 'first-use', 1);
    await other.remember('carol', OTHER, 'first-use', 1);
    const again = await reopened();
    expect(again.get('bob')).toBeDefined();
    expect(again.get('carol')).toBeDefined();
  });

  it('stay in memory without a directory', async () => {
    const peers = await KnownPeers.open(undefined);
    await peers.remember('bob', KEY, 'first-use', 1);
    expect(peers.get('bob')?.fingerprint).toEqual(KEY);
  });

  it.each([
    ['half written', '{"version":1,"peers":[{"name":"bo'],
    ['empty', ''],
    ['another thing', '[]'],
    ['with a fingerprint that is none', '{"peers":[{"name":"bob","fingerprint":"x"}]}'],
    ['null', 'null'],
  ])('are refused when the file is %s, naming it', async (_, text) => {
    const path = join(directory, 'known-peers.json');
    await writeFile(path, text);
    await expect(reopened()).rejects.toMatchObject({
      code: 'CHATTY_KEY_FILE',
      message: expect.stringContaining(path) as string,
    });
    expect(await readFile(path, 'utf8')).toBe(text);
  });
});

describe('the key a friend must have', () => {
  const known = { fingerprint: KEY, verified: 'first-use', firstSeenAt: 0 } as const;
  it.each([
    ['any, on first use', undefined, undefined, undefined],
    ['the one seen before', known, undefined, { fingerprint: KEY, trust: 'known' }],
    [
      'the one verified before',
      { ...known, verified: 'verified' as const },
      undefined,
      { fingerprint: KEY, trust: 'verified' },
    ],
    ['the one the user names', undefined, OTHER, { fingerprint: OTHER, trust: 'verified' }],
    [
      'the one the user names, not the one known',
      known,
      OTHER,
      { fingerprint: OTHER, trust: 'verified' },
    ],
  ])('is %s', (_, before, named, expected) => {
    expect(expectedKey(before, named)).toEqual(expected);
  });
});
