import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ChattyError, reasonOf } from '../base/errors.ts';

/*
 * Files of the state directory: seen whole or not at all, whatever else runs at the same time or
 * ends in the middle, and readable by their owner only.
 */

/** The whole file as text; undefined where there is none. @throws ChattyError CHATTY_KEY_FILE */
export async function readStateFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw stateFileError(path, reasonOf(error), 'Check who may read it.', error);
  }
}

/**
 * Makes a file unless there is one already, as when another process was first.
 * @returns whether this call made it.
 * @throws ChattyError CHATTY_KEY_FILE
 */
export async function createStateFile(path: string, text: string): Promise<boolean> {
  return withDraft(path, text, async (draft) => {
    try {
      await link(draft, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    } finally {
      await unlink(draft);
    }
  });
}

/** Makes a file, or puts it in the place of the one there is. @throws ChattyError CHATTY_KEY_FILE */
export async function replaceStateFile(path: string, text: string): Promise<void> {
  await withDraft(path, text, (draft) => rename(draft, path));
}

async function withDraft<Result>(
  path: string,
  text: string,
  publish: (draft: string) => Promise<Result>,
): Promise<Result> {
  const draft = `${path}.${randomUUID()}.new`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(text);
      // The name must not reach the disk before the bytes do.
      await file.sync();
    } finally {
      await file.close();
    }
    return await publish(draft);
  } catch (error) {
    await unlink(draft).catch(() => undefined);
    const hint = 'Check the directory, or name another one with --state.';
    throw stateFileError(path, `it cannot be written: ${reasonOf(error)}`, hint, error);
  }
}

/** The error for a file of the state directory that is of no use. */
export function stateFileError(
  path: string,
  what: string,
  hint: string,
  cause?: unknown,
): ChattyError {
  return new ChattyError('CHATTY_KEY_FILE', `cannot use ${path}: ${what}`, { hint, cause });
}

/**
 * A file name for any text, the same on every file system: what can be read of it, then a hash,
 * since file systems differ in what they take for the same name.
 */
export function fileNameFor(text: string): string {
  const readable = text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 32);
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 32);
  return readable === '' ? hash : `${readable}-${hash}`;
}
