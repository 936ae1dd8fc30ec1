import { createHash } from 'node:crypto';
import type { TableDigest } from './peer-table.ts';
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

/**
 * What one owner adds to the checksum of the whole table: the first 8 bytes, big endian, of the
 * SHA-256 of its id (as text), count and checksum (8 bytes each, big endian). A peer's records on two
 * servers may be alike, and must not take each other out.
 */
export function ownerChecksum(owner: string, { count, checksum }: TableDigest): bigint {
  const numbers = Buffer.alloc(16);
  numbers.writeBigUInt64BE(BigInt(count), 0);
  numbers.writeBigUInt64BE(checksum, 8);
  return createHash('sha256').update(owner).update(numbers).digest().readBigUInt64BE(0);
}
