import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { TarEntry } from './tarball.ts';

/** Anybody's right to run a file. */
const ANY_EXECUTE = 0o111;

/** The regular files below a folder, by their paths in it; links are not followed. */
export async function filesBelow(
  root: string,
  wanted: (path: string) => boolean,
): Promise<TarEntry[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ file, path: relative(root, file).split(sep).join('/') }))
    .filter(({ path }) => wanted(path));
  const found: TarEntry[] = [];
  for (const { file, path } of files) {
    const executable = ((await stat(file)).mode & ANY_EXECUTE) !== 0;
    found.push({ path, content: await readFile(file), executable });
  }
  return found;
}
