import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from '../../support/command.ts';

/** Makes a newer version of an artifact: all is the same but the version it says it is. */
export async function newerArtifact(artifact: string, target: string): Promise<void> {
  const folder = `${target}.folder`;
  await mkdir(folder, { recursive: true });
  await must('tar', ['-xzf', artifact, '-C', folder]);
  const file = join(folder, 'package.json');
  const contents = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(
    file,
    JSON.stringify({ ...contents, version: `${String(contents['version'])}-next` }),
  );
  const order = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
  await must('tar', [...order, '-czf', target, '-C', folder, '.']);
  await rm(folder, { recursive: true });
}
