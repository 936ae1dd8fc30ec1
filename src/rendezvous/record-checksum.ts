import { createHash } from 'node:crypto';
import type { PeerRecord } from './record.ts';

/**
 * What one record adds to its owner's digest: the first 8 bytes, big endian, of the SHA-256 of
 * session (start time as 8 bytes, nonce as 16) and sequence number (8 bytes, big endian).
 */
export function recordChecksum(record: Pick<PeerRecord, 'session' | 'seq'>): bigint {
  const bytes = Buffer.alloc(32);
  bytes.write(record.session, 'hex');
  bytes.writeBigUInt64BE(BigInt(record.seq), 24);
  return createHash('sha256').update(bytes).digest().readBigUInt64BE(0);
}
