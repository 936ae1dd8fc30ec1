import { execFileSync } from 'node:child_process';
import {
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesBelow } from '../../infra/file-tree.ts';
import { tarball } from '../../infra/tarball.ts';

const LONG = `${'a-folder/'.repeat(14)}${'name'.repeat(20)}`;
const FILES: readonly [path: string, content: string, mode: number][] = [
  ['bin/program', '#!/bin/sh\n', 0o755],
  ['dist/module.js', 'x'.repeat(513), 0o644],
  ['dist/empty', '', 0o644],
  [LONG, 'far down', 0o600],
];

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'chatty-tarball-'))));
afterAll(() => rm(folder, { recursive: true }));

/** A folder with the files, made in the order given. */
async function made(name: string, files: typeof FILES, changedAt: number): Promise<string> {
  const root = join(folder, name);
  for (const [path, content, mode] of files) {
    const file = join(root, path);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, content);
    await chmod(file, mode);
    await utimes(file, changedAt, changedAt);
  }
  await symlink('program', join(root, 'bin', 'link'));
  return root;
}

describe('the artifact', () => {
  it('has the same bytes whenever and in whatever order its files were made', async () => {
    const one = await made('one', FILES, 1);
    const other = await made('other', [...FILES].reverse(), 1_700_000_000);
    const bytes = tarball(await filesBelow(one, () => true));
    expect(Buffer.compare(bytes, tarball(await filesBelow(other, () => true)))).toBe(0);
    await writeFile(join(other, 'dist/empty'), '!');
    expect(Buffer.compare(bytes, tarball(await filesBelow(other, () => true)))).not.toBe(0);
  });

  it('is what tar unpacks', async () => {
    const source = await made('source', FILES, 1);
    const archive = join(folder, 'archive.tar.gz');
    await writeFile(archive, tarball(await filesBelow(source, (path) => path !== 'dist/empty')));
    const target = join(folder, 'target');
    await mkdir(target);
    execFileSync('tar', ['-xzf', archive, '-C', target]);
    for (const [path, content, mode] of FILES) {
      if (path === 'dist/empty') continue;
      expect(await readFile(join(target, path), 'utf8')).toBe(content);
      const executable = ((await stat(join(target, path))).mode & 0o100) !== 0;
      expect([path, executable]).toEqual([path, mode === 0o755]);
    }
    const listed = execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' });
    expect(listed.trim().split('\n')).toEqual([LONG, 'bin/program', 'dist/module.js']);
  });

  it('cannot hold a path that is too long', () => {
    const path = 'x'.repeat(101);
    const entry = { path, content: new Uint8Array(), executable: false };
    expect(() => tarball([entry])).toThrow(RangeError);
  });
});
