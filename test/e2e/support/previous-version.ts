import { execFile } from 'node:child_process';
import { access, cp, mkdir, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const CACHE = join(ROOT, 'node_modules', '.cache', 'chatty-versions');
/** What makes a version: two commits that do not differ here are the same program. */
const PROGRAM = ['src', 'proto', 'bin'];
const DEEPEN_BY = 100;

/** The version before this one, as it can be run. */
export interface PreviousVersion {
  readonly commit: string;
  /** The folder of its commands. */
  readonly commands: URL;
}

/**
 * Builds the version before this one: the last commit whose program differs from that in the working
 * tree. It is built with this version's dependencies, once a commit. A shallow clone is deepened if
 * where it came from can be reached.
 * @returns why there is none, where the history is not here.
 */
export async function previousVersion(): Promise<PreviousVersion | string> {
  const commit = await previousCommit();
  if (commit === undefined) {
    return (
      'the version before this one cannot be had: this is no clone with its history. ' +
      'Clone with it (git clone without --depth; fetch-depth: 0)'
    );
  }
  const built = join(CACHE, commit);
  if (!(await exists(built))) await build(commit, built);
  return { commit, commands: pathToFileURL(`${join(built, 'bin')}/`) };
}

async function previousCommit(): Promise<string | undefined> {
  const isClean = await git('diff', '--quiet', 'HEAD', '--', ...PROGRAM);
  if (isClean === undefined) return git('rev-parse', '--verify', 'HEAD^{commit}');
  const before = async (): Promise<string | undefined> => {
    const changed = await git('log', '-1', '--format=%H', '--', ...PROGRAM);
    return git('rev-parse', '--verify', `${changed ?? 'HEAD'}~1^{commit}`);
  };
  const found = await before();
  if (found !== undefined || (await git('rev-parse', '--is-shallow-repository')) !== 'true') {
    return found;
  }
  await git('fetch', '--quiet', `--deepen=${DEEPEN_BY}`);
  return before();
}

/** In a folder of its own, which then becomes the cached one: two test runs may do so at once. */
async function build(commit: string, built: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'chatty-previous-'));
  try {
    const archive = join(directory, 'program.tar');
    const paths = [...PROGRAM, 'package.json', 'tsconfig.json', 'tsconfig.build.json'];
    await run('git', ['-C', ROOT, 'archive', '-o', archive, commit, ...paths]);
    await run('tar', ['-xf', archive, '-C', directory]);
    await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
    // It was checked in its own time, with its own dependencies' types.
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    const project = join(directory, 'tsconfig.build.json');
    await run(process.execPath, [tsc, '--noCheck', '-p', project]);
    await mkdir(CACHE, { recursive: true });
    const ready = await mkdtemp(join(CACHE, 'building-'));
    for (const part of ['bin', 'dist', 'package.json']) {
      await cp(join(directory, part), join(ready, part), { recursive: true });
    }
    await rename(ready, built).catch(async (error: unknown) => {
      await rm(ready, { recursive: true });
      // Another run may have been quicker.
      if (!(await exists(built))) throw error;
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** @returns what it printed; undefined if it ended with another code than 0, or is not there. */
async function git(...args: readonly string[]): Promise<string | undefined> {
  try {
    return (await run('git', ['-C', ROOT, ...args])).stdout.trim();
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
