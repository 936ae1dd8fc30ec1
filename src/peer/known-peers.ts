import { join } from 'node:path';
import { compareBytes, formatFingerprint, parseFingerprint } from '../base/identity.ts';
import { isNormalName } from '../base/name.ts';
import { readStateFile, replaceStateFile, stateFileError } from './state-file.ts';

/** How a friend's key came to be known: shown by whoever was there first, or told by the friend. */
export type Verification = 'first-use' | 'verified';

export interface KnownPeer {
  /** SHA-256 of the SubjectPublicKeyInfo. */
  readonly fingerprint: Uint8Array;
  readonly verified: Verification;
  /** When the key was first seen, in ms since 1970. */
  readonly firstSeenAt: number;
}

/**
 * The key a friend must have, and how well it is known: one named by the user is verified and
 * outweighs the one kept; undefined: whoever comes is accepted on first use.
 */
export function expectedKey(
  known: KnownPeer | undefined,
  named: Uint8Array | undefined,
): { readonly fingerprint: Uint8Array; readonly trust: 'known' | 'verified' } | undefined {
  if (named !== undefined) return { fingerprint: named, trust: 'verified' };
  if (known === undefined) return undefined;
  return {
    fingerprint: known.fingerprint,
    trust: known.verified === 'verified' ? 'verified' : 'known',
  };
}

/** What one person knows of friends' keys, kept beside the person's own key. */
export class KnownPeers {
  readonly #path: string | undefined;
  #peers: Map<string, KnownPeer>;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string | undefined, peers: Map<string, KnownPeer>) {
    this.#path = path;
    this.#peers = peers;
  }

  /**
   * @param directory the person's (`personDirectory`); undefined keeps everything in memory.
   * @throws ChattyError CHATTY_KEY_FILE
   */
  static async open(directory: string | undefined): Promise<KnownPeers> {
    if (directory === undefined) return new KnownPeers(undefined, new Map());
    const path = join(directory, 'known-peers.json');
    return new KnownPeers(path, await read(path));
  }

  get(friend: string): KnownPeer | undefined {
    return this.#peers.get(friend);
  }

  /**
   * Keeps a friend's key. A first use displaces nothing that is known; a verified key takes the
   * place of whatever was.
   * @throws ChattyError CHATTY_KEY_FILE
   */
  async remember(
    friend: string,
    fingerprint: Uint8Array,
    verified: Verification,
    wallClockMs: number,
  ): Promise<void> {
    const seen: KnownPeer = { fingerprint, verified, firstSeenAt: wallClockMs };
    this.#merge(friend, seen);
    const path = this.#path;
    if (path === undefined) return;
    const turn = this.#writing.then(async () => {
      // Another process of the same name may have written meanwhile.
      this.#peers = await read(path);
      if (this.#merge(friend, seen)) await replaceStateFile(path, format(this.#peers));
    });
    this.#writing = turn.catch(() => undefined);
    await turn;
  }

  /** Resolves when everything remembered so far is on disk, or cannot be. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** @returns whether anything has changed. */
  #merge(friend: string, seen: KnownPeer): boolean {
    const known = this.#peers.get(friend);
    if (known !== undefined && seen.verified === 'first-use') return false;
    const same = known !== undefined && compareBytes(known.fingerprint, seen.fingerprint) === 0;
    if (same && known.verified === 'verified') return false;
    this.#peers.set(friend, same ? { ...known, verified: 'verified' } : seen);
    return true;
  }
}

async function read(path: string): Promise<Map<string, KnownPeer>> {
  const text = await readStateFile(path);
  if (text === undefined) return new Map();
  const peers = parse(text);
  if (peers !== undefined) return peers;
  throw stateFileError(
    path,
    'it is not a whole list of known peers',
    'Put a copy of the file back, or delete it: friends are then accepted on first use again.',
  );
}

function format(peers: ReadonlyMap<string, KnownPeer>): string {
  const entries = [...peers].map(([name, peer]) => ({
    name,
    fingerprint: formatFingerprint(peer.fingerprint),
    verified: peer.verified,
    firstSeen: new Date(peer.firstSeenAt).toISOString(),
  }));
  return `${JSON.stringify({ version: 1, peers: entries }, undefined, 2)}\n`;
}

function parse(text: string): Map<string, KnownPeer> | undefined {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { peers: entries } = (file ?? {}) as { peers?: unknown };
  if (!Array.isArray(entries)) return undefined;
  const peers = new Map<string, KnownPeer>();
  for (const entry of entries as unknown[]) {
    const { name, fingerprint, verified, firstSeen } = (entry ?? {}) as Record<string, unknown>;
    if (typeof name !== 'string' || !isNormalName(name)) return undefined;
    const key = typeof fingerprint === 'string' ? parseFingerprint(fingerprint) : undefined;
    if (key === undefined) return undefined;
    if (verified !== 'first-use' && verified !== 'verified') return undefined;
    const firstSeenAt = typeof firstSeen === 'string' ? Date.parse(firstSeen) : NaN;
    if (Number.isNaN(firstSeenAt)) return undefined;
    peers.set(name, { fingerprint: key, verified, firstSeenAt });
  }
  return peers;
}
