import { join } from 'node:path';
import { reasonOf } from '../base/errors.ts';
import { type Identity, readIdentity } from '../base/identity.ts';
import { PEER_NAME } from '../base/role-names.ts';
import {
  createStateFile,
  fileNameFor,
  readStateFile,
  replaceStateFile,
  stateFileError,
} from './state-file.ts';

const BLOCKS =
  /^\s*(-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----)\s+(-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----)\s*$/;

/**
 * Where everything of one person's is kept. Each name in a state directory is a person of its own.
 * @param name in its one form (`normaliseName`).
 */
export function personDirectory(stateDirectory: string, name: string): string {
  return join(stateDirectory, 'people', fileNameFor(name));
}

/** A fresh key with the certificate a peer shows; it carries no name of a person. */
export async function createPeerIdentity(): Promise<Identity> {
  // The X.509 library takes longer to load than the rest of a start, and is needed once a name.
  const { createSelfSigned } = await import('../base/certificate.ts');
  return createSelfSigned(PEER_NAME);
}

/**
 * The person's key, made on first use. Several processes that start at once with the same new name
 * end with the same key.
 * @throws ChattyError CHATTY_KEY_FILE that names the file, what is wrong with it and what to do.
 */
export async function openIdentity(directory: string): Promise<Identity> {
  const path = join(directory, 'identity.pem');
  const found = await readStateFile(path);
  if (found !== undefined) return parseIdentity(path, found);
  const identity = await createPeerIdentity();
  if (await createStateFile(path, `${identity.keyPem}${identity.certPem}`)) return identity;
  const other = await readStateFile(path);
  if (other === undefined) {
    throw stateFileError(path, 'it was deleted while being read', 'Start again.');
  }
  return parseIdentity(path, other);
}

/**
 * The start time of a new session, in ms since 1970: now, but at least one above the last one used
 * with this key, so that the newer process is the higher one even after the clock was set back.
 * @throws ChattyError CHATTY_KEY_FILE
 */
export async function nextSessionStart(directory: string, wallClockMs: number): Promise<bigint> {
  const path = join(directory, 'last-session');
  const text = (await readStateFile(path)) ?? '0\n';
  if (!/^\d{1,18}\s*$/.test(text)) {
    const what = 'it should hold the start time of the last session as one number';
    throw stateFileError(path, what, 'Delete it; another one is made.');
  }
  const now = BigInt(Math.max(0, Math.floor(wallClockMs)));
  const last = BigInt(text.trim());
  const startedAt = now > last ? now : last + 1n;
  await replaceStateFile(path, `${startedAt}\n`);
  return startedAt;
}

function parseIdentity(path: string, text: string): Identity {
  const hint =
    'Put a copy of the file back, or delete it: Chatty then makes a new key, and your friends ' +
    'have to accept it.';
  const [, keyPem, certPem] = BLOCKS.exec(text) ?? [];
  if (keyPem === undefined || certPem === undefined) {
    const what = 'it does not hold one whole private key and its certificate';
    throw stateFileError(path, what, hint);
  }
  try {
    return readIdentity(`${keyPem}\n`, `${certPem}\n`);
  } catch (error) {
    throw stateFileError(path, reasonOf(error), hint, error);
  }
}
