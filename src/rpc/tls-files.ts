import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type X509Certificate } from 'node:crypto';
import { ChattyError, reasonOf } from '../base/errors.ts';
import { type Identity, readIdentity } from '../base/identity.ts';
import { parseChain, rootOf } from './certificate-chain.ts';
import { carriesRole, type Role, roleName } from './role.ts';

/** What a program of the cluster needs to prove what it is and to check others. */
export interface ClusterTls {
  /** The cluster's certificate authority, PEM: the only root. */
  readonly caPem: string;
  /** The program's own key; its certificate is the whole chain up to and including the authority. */
  readonly identity: Identity;
}

export const CA_FILE = 'ca.pem';

/** The names of a role's certificate and key in a TLS directory. */
export function roleFiles(role: Role): { certificate: string; key: string } {
  return { certificate: `${role}.pem`, key: `${role}-key.pem` };
}

const MAKE_THEM = 'Make a new directory of keys with: chatty-local pki DIR';

/**
 * Reads `ca.pem`, `<role>.pem` (the chain, leaf first) and `<role>-key.pem` from `directory`, and
 * checks that they belong together.
 * @throws ChattyError CHATTY_KEY_FILE, which names the file, what is wrong with it and what to do.
 */
export async function readTlsDirectory(directory: string, role: Role): Promise<ClusterTls> {
  const { certificate, key } = roleFiles(role);
  const caPath = join(directory, CA_FILE);
  const certificatePath = join(directory, certificate);
  const keyPath = join(directory, key);

  const caPem = await readPem(caPath);
  const authorities = certificatesOf(caPath, caPem);
  const notAuthority = authorities.find((candidate) => !candidate.ca);
  if (notAuthority !== undefined) {
    throw keyFileError(caPath, 'it holds a certificate that is no certificate authority');
  }

  const chainPem = await readPem(certificatePath);
  const chain = certificatesOf(certificatePath, chainPem);
  const leaf = chain[0] as X509Certificate;
  if (!carriesRole(leaf, role)) {
    throw keyFileError(certificatePath, `it does not carry the DNS name ${roleName(role)}`);
  }
  const root = rootOf(leaf, [...authorities, ...chain.slice(1)]);
  if (root === undefined || !authorities.some((authority) => authority.raw.equals(root.raw))) {
    throw keyFileError(certificatePath, `it is not signed by the authority in ${caPath}`);
  }

  const keyPem = await readPem(keyPath);
  // Peers that know the authority by its pin only must find it in the chain.
  const complete = chain.some((link) => link.raw.equals(root.raw))
    ? chainPem
    : `${chainPem.trimEnd()}\n${root.toString()}`;
  try {
    return { caPem, identity: readIdentity(keyPem, complete) };
  } catch (error) {
    const mismatch = reasonOf(error).includes('does not belong');
    throw keyFileError(
      keyPath,
      mismatch
        ? `the key does not belong to the certificate in ${certificatePath}`
        : `it holds no complete private key (${reasonOf(error)})`,
      error,
    );
  }
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw keyFileError(path, missing ? 'there is no such file' : reasonOf(error), error);
  }
}

function certificatesOf(path: string, pem: string): X509Certificate[] {
  try {
    return parseChain(pem);
  } catch (error) {
    throw keyFileError(path, reasonOf(error), error);
  }
}

function keyFileError(path: string, what: string, cause?: unknown): ChattyError {
  return new ChattyError('CHATTY_KEY_FILE', `cannot use ${path}: ${what}`, {
    hint: MAKE_THEM,
    cause,
  });
}
