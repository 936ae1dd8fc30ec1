import { compareBytes } from '../base/identity.ts';

/** Digits that stand for one key: 10^30 is about 2^100, so nobody finds another key with the same. */
const DIGITS = 30;

/**
 * What two friends read to each other to be sure that nobody is between them: the same on both
 * sides exactly if each has the other's true key. 60 digits in groups of five, half of them for each
 * key, so that finding a key that fits one half helps nothing with the other.
 * @param fingerprints SHA-256 of each SubjectPublicKeyInfo, in either order.
 */
export function comparisonNumber(...fingerprints: [Uint8Array, Uint8Array]): string {
  const digits = fingerprints.sort(compareBytes).map(digitsOf).join('');
  return (digits.match(/.{5}/g) ?? []).join(' ');
}

function digitsOf(fingerprint: Uint8Array): string {
  const hex = Buffer.from(fingerprint.subarray(0, 16)).toString('hex');
  return (BigInt(`0x${hex}`) % 10n ** BigInt(DIGITS)).toString().padStart(DIGITS, '0');
}
