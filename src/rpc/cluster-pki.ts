import { link, mkdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createClusterCa, issueCertificate } from '../base/certificate.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import { ROLES, roleName } from './role.ts';
import { CA_FILE, roleFiles } from './tls-files.ts';

const CA_KEY_FILE = 'ca-key.pem';

/**
 * Makes a cluster's certificate authority, and a certificate and key for each role, in `directory`
 * (made if missing). Keys are readable by their owner only. Files appear whole or not at all, and
 * `ca.pem` appears last.
 * @throws ChattyError CHATTY_KEY_FILE if one of the files exists already or cannot be written.
 */
export async function writeClusterPki(directory: string): Promise<void> {
  const ca = await createClusterCa();
  const files: [name: string, text: string, mode: number][] = [[CA_KEY_FILE, ca.keyPem, 0o600]];
  for (const role of ROLES) {
    const issued = await issueCertificate(ca, roleName(role));
    const names = roleFiles(role);
    files.push([names.key, issued.keyPem, 0o600], [names.certificate, issued.certPem, 0o644]);
  }
  files.push([CA_FILE, ca.certPem, 0o644]);

  const written: string[] = [];
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const [name, text, mode] of files) {
      const path = join(directory, name);
      await writeNew(path, text, mode);
      written.push(path);
    }
  } catch (error) {
    // Half a set of keys is of no use and would stand in the way of the next attempt.
    await Promise.allSettled(written.map((path) => unlink(path)));
    const existing = (error as NodeJS.ErrnoException).code === 'EEXIST';
    throw new ChattyError(
      'CHATTY_KEY_FILE',
      existing
        ? `${directory} holds keys already; they are never overwritten`
        : `cannot write keys to ${directory}: ${reasonOf(error)}`,
      {
        hint: existing ? 'Name an empty or a new directory.' : 'Name a directory you can write to.',
        cause: error,
      },
    );
  }
}

/** Writes a file that must not exist yet, so that it is seen whole or not at all. */
async function writeNew(path: string, text: string, mode: number): Promise<void> {
  const draft = `${path}.${process.pid}.new`;
  try {
    await writeFile(draft, text, { mode, flag: 'wx' });
    await link(draft, path);
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}
