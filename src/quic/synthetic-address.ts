import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';

// What quiche sees in place of real addresses (the range of RFC 5737, which no packet goes to).
// Connections are told apart by their IDs, so all of them can share these.
const CLASS_ADDRESSES: Readonly<Record<PathClass, Address>> = {
  lan: { host: '192.0.2.1', port: 1 },
  public: { host: '192.0.2.2', port: 2 },
  relay: { host: '192.0.2.3', port: 3 },
};

/** Our own end of every carried connection. */
export const CARRIED_LOCAL: Address = { host: '192.0.2.100', port: 100 };

/** The address by which a carried connection knows its peer on paths of `pathClass`. */
export function addressOfClass(pathClass: PathClass): Address {
  return CLASS_ADDRESSES[pathClass];
}

/** The inverse of `addressOfClass`. */
export function classOfAddress(host: string): PathClass | undefined {
  if (host === CLASS_ADDRESSES.lan.host) return 'lan';
  if (host === CLASS_ADDRESSES.public.host) return 'public';
  return host === CLASS_ADDRESSES.relay.host ? 'relay' : undefined;
}
