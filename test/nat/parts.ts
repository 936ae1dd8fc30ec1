import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** What one file of tests found, for the process that began the run. */
export async function writePart(results: string, part: string, found: unknown): Promise<void> {
  await mkdir(dirname(results), { recursive: true });
  await writeFile(`${results}.${part}`, JSON.stringify(found));
}

/** The same again, and gone then; undefined where there is none. */
export async function takePart(results: string, part: string): Promise<unknown> {
  const file = `${results}.${part}`;
  const text = await readFile(file, 'utf8').catch(() => undefined);
  await rm(file, { force: true });
  return text === undefined ? undefined : (JSON.parse(text) as unknown);
}
