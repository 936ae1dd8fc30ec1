import { createHmac } from 'node:crypto';
import type { RecordKey } from './record.ts';

/** What one side of a pair is told of the relay between the two at one server. */
export interface RelayGrant {
  /** In every frame of that side's; 16 hexadecimal digits. */
  readonly channel: string;
  /** 16 bytes: the key of that side's proofs (`relayProof`). */
  readonly proofKey: Uint8Array;
}

/** The two sides of a relayed pair, the same way round whoever names them. */
export type RelayPair = readonly [RecordKey, RecordKey];

const LABEL = 'chatty relay 1';
const CHANNEL_BYTES = 8;
const PROOF_KEY_BYTES = 16;

export function pairOf(one: RecordKey, other: RecordKey): RelayPair {
  return isBefore(one, other) ? [one, other] : [other, one];
}

/**
 * The grants of a pair at the server whose secret this is. Every server that knows the secret comes
 * to the same, so that a match can name a relay elsewhere without asking there.
 *
 * K = HMAC-SHA256(secret, "chatty relay 1" and, of each side: key (32 bytes), session (24), length of
 * the name (2, big endian), name); of side i, HMAC-SHA256(K, i as one byte) begins with the channel (8)
 * and the key of its proofs (16).
 */
export function relayGrants(
  secret: Uint8Array,
  pair: RelayPair,
): readonly [RelayGrant, RelayGrant] {
  const mac = createHmac('sha256', secret).update(LABEL);
  for (const { key, session, name } of pair) {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(Buffer.byteLength(name));
    mac.update(key, 'hex').update(session, 'hex').update(length).update(name);
  }
  const pairKey = mac.digest();
  const grantOf = (side: number): RelayGrant => {
    const bytes = createHmac('sha256', pairKey).update(Uint8Array.of(side)).digest();
    const proofKey = bytes.subarray(CHANNEL_BYTES, CHANNEL_BYTES + PROOF_KEY_BYTES);
    return { channel: bytes.toString('hex', 0, CHANNEL_BYTES), proofKey };
  };
  return [grantOf(0), grantOf(1)];
}

function isBefore(one: RecordKey, other: RecordKey): boolean {
  if (one.key !== other.key) return one.key < other.key;
  if (one.session !== other.session) return one.session < other.session;
  return one.name < other.name;
}
