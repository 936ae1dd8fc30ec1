import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Address } from '../base/address.ts';
import { formatAddress } from '../base/address.ts';
import type { Random } from '../base/random.ts';

/**
 * Retry tokens (RFC 9000 §8.1.4) that prove an address without any state kept for it:
 *
 * ```
 * expiry 8 (ms on our clock) | length 1 | original destination ID | HMAC-SHA-256 32
 * ```
 *
 * The HMAC also covers the address and port the Retry was sent to.
 */
const MAC_BYTES = 32;
/** Long enough for a client far away whose first answer is lost, too short to collect tokens. */
const LIFETIME_MS = 10_000;

export class RetryTokens {
  readonly #key: Uint8Array;

  constructor(random: Random) {
    this.#key = random.bytes(MAC_BYTES);
  }

  mint(originalId: Uint8Array, remote: Address, now: number): Uint8Array {
    const head = Buffer.alloc(9 + originalId.length);
    head.writeDoubleBE(now + LIFETIME_MS);
    head[8] = originalId.length;
    head.set(originalId, 9);
    return Buffer.concat([head, this.#mac(head, remote)]);
  }

  /** The original destination ID; undefined for a token not ours, of another address, or too old. */
  verify(token: Uint8Array, remote: Address, now: number): Uint8Array | undefined {
    const bytes = Buffer.from(token);
    const length = bytes.length - 9 - MAC_BYTES;
    if (length < 0 || bytes[8] !== length) return undefined;
    const head = bytes.subarray(0, 9 + length);
    if (!timingSafeEqual(bytes.subarray(9 + length), this.#mac(head, remote))) return undefined;
    return bytes.readDoubleBE() >= now ? head.subarray(9) : undefined;
  }

  #mac(head: Uint8Array, remote: Address): Buffer {
    return createHmac('sha256', this.#key).update(head).update(formatAddress(remote)).digest();
  }
}
