import type { Address } from '../base/address.ts';

/**
 * What stands for a relay among a friend's addresses: "this network" (RFC 1122 §3.2.1.3), so that no
 * packet comes from there, none is ever sent there, and no server can name it as a candidate.
 * @param index which of the relays that one path knows, from 0 to 254.
 */
export function relayAddress(index: number): Address {
  return { host: `0.0.0.${index + 1}`, port: 1 };
}
