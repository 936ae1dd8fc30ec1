import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../support/command.ts';
import { isAlive } from '../../support/process.ts';

const NAME = /^chatty-rehearsal-(\d+)-/;

/** A new folder for all that a rehearsal writes; those of rehearsals that were killed are removed. */
export async function makeFolder(): Promise<string> {
  for (const name of await readdir(tmpdir())) {
    const maker = NAME.exec(name)?.[1];
    if (maker !== undefined && !isAlive(Number(maker))) await removeFolder(join(tmpdir(), name));
  }
  return mkdtemp(join(tmpdir(), `chatty-rehearsal-${process.pid}-`));
}

/** Removes it, and the layers that hosts booted from, which are mounted in it. */
export async function removeFolder(folder: string): Promise<void> {
  const table = await readFile('/proc/mounts', 'utf8');
  const mounts = table.split('\n').map((line) => line.split(' ')[1] ?? '');
  for (const path of mounts.filter((one) => one.startsWith(`${folder}/`)).reverse()) {
    await run('umount', ['--lazy', path]);
  }
  await rm(folder, { recursive: true, force: true });
}
