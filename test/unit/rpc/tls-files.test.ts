import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createClusterCa,
  createSelfSigned,
  issueCertificate,
} from '../../../src/base/certificate.ts';
import { writeClusterPki } from '../../../src/rpc/cluster-pki.ts';
import { readTlsDirectory } from '../../../src/rpc/tls-files.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'chatty-tls-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

const problem = async (role: 'loadbalancer' | 'rendezvous'): Promise<string> => {
  try {
    await readTlsDirectory(directory, role);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ChattyError', code: 'CHATTY_KEY_FILE', exitCode: 78 });
    expect((error as { hint: string }).hint).toContain('chatty-local pki DIR');
    return (error as Error).message;
  }
  throw new Error('it was accepted');
};

describe('a directory of cluster keys', () => {
  it('is read back for both roles, with keys that only their owner can read', async () => {
    await writeClusterPki(directory);
    for (const role of ['loadbalancer', 'rendezvous'] as const) {
      const tls = await readTlsDirectory(directory, role);
      expect(tls.caPem).toBe(await readFile(join(directory, 'ca.pem'), 'utf8'));
      expect(tls.identity.certPem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
      expect((await stat(join(directory, `${role}-key.pem`))).mode & 0o777).toBe(0o600);
    }
    expect((await stat(join(directory, 'ca-key.pem'))).mode & 0o777).toBe(0o600);
  });

  it('is never overwritten', async () => {
    await writeClusterPki(directory);
    const before = await readFile(join(directory, 'ca-key.pem'), 'utf8');
    await expect(writeClusterPki(directory)).rejects.toThrow('never overwritten');
    expect(await readFile(join(directory, 'ca-key.pem'), 'utf8')).toBe(before);
    await readTlsDirectory(directory, 'rendezvous');
  });

  it('that does not exist is named, with the command that makes one', async () => {
    await rm(directory, { recursive: true });
    expect(await problem('rendezvous')).toContain(`${join(directory, 'ca.pem')}: there is no such`);
    await writeClusterPki(directory);
  });

  it('with a half-written key is refused by the name of the file', async () => {
    await writeClusterPki(directory);
    const path = join(directory, 'loadbalancer-key.pem');
    const whole = await readFile(path, 'utf8');
    await writeFile(path, whole.slice(0, whole.length / 2));
    expect(await problem('loadbalancer')).toContain(`${path}: it holds no complete private key`);
  });

  it('with a half-written certificate is refused by the name of the file', async () => {
    await writeClusterPki(directory);
    const path = join(directory, 'loadbalancer.pem');
    const whole = await readFile(path, 'utf8');
    await writeFile(path, whole.slice(0, whole.length - 60));
    expect(await problem('loadbalancer')).toContain(`${path}: it holds no complete certificate`);
  });

  it("with another certificate's key is refused", async () => {
    await writeClusterPki(directory);
    const other = await createSelfSigned('rendezvous.chatty.internal');
    await writeFile(join(directory, 'rendezvous-key.pem'), other.keyPem);
    expect(await problem('rendezvous')).toContain('does not belong to the certificate');
  });

  it("with the other role's certificate is refused", async () => {
    await writeClusterPki(directory);
    const wrong = await readFile(join(directory, 'loadbalancer.pem'));
    await writeFile(join(directory, 'rendezvous.pem'), wrong);
    expect(await problem('rendezvous')).toContain('DNS name rendezvous.chatty.internal');
  });

  it("with a certificate of another cluster's CA is refused", async () => {
    await writeClusterPki(directory);
    const issued = await issueCertificate(await createClusterCa(), 'rendezvous.chatty.internal');
    await writeFile(join(directory, 'rendezvous.pem'), issued.certPem);
    expect(await problem('rendezvous')).toContain('not signed by the authority in');
  });

  it('whose certificate file holds the leaf only still shows the whole chain', async () => {
    await writeClusterPki(directory);
    const path = join(directory, 'rendezvous.pem');
    const leaf = (await readFile(path, 'utf8')).split(/(?<=END CERTIFICATE-----\n)/)[0] ?? '';
    await writeFile(path, leaf);
    const tls = await readTlsDirectory(directory, 'rendezvous');
    expect(tls.identity.certPem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  });
});
