import { formatAddress, parseHostPort } from './address.ts';
import { formatFingerprint, parseFingerprint } from './identity.ts';

/** Where a load balancer is, as users name it. */
export interface BalancerAddress {
  /** An IP address or a host name. */
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the SubjectPublicKeyInfo of the cluster's CA, where the user named it. */
  readonly pin?: Uint8Array;
}

/**
 * Reads `HOST:PORT` or `[IPv6]:PORT`, with `#sha256-…` after it where the cluster's CA is pinned.
 * @returns undefined where the text is none.
 */
export function parseBalancerAddress(text: string): BalancerAddress | undefined {
  const hash = text.indexOf('#');
  const address = parseHostPort(hash === -1 ? text : text.slice(0, hash));
  if (address === undefined || address.port === 0) return undefined;
  if (hash === -1) return address;
  const pin = parseFingerprint(text.slice(hash + 1));
  return pin === undefined ? undefined : { ...address, pin };
}

/** The inverse of `parseBalancerAddress`. */
export function formatBalancerAddress(address: BalancerAddress): string {
  const place = formatAddress(address);
  return address.pin === undefined ? place : `${place}#${formatFingerprint(address.pin)}`;
}
