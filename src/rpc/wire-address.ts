import { type Address, ipFromBytes, ipToBytes } from '../base/address.ts';
import type { Address as WireAddress } from './generated/chatty/v1/common.ts';

/** @throws RangeError if the host is no IP address. */
export function addressToWire(address: Address): WireAddress {
  return { ip: Buffer.from(ipToBytes(address.host)), port: address.port };
}

/** @returns undefined for what is no IP address with a port in 1–65535. */
export function addressFromWire(wire: WireAddress | undefined): Address | undefined {
  if (wire === undefined || wire.port < 1 || wire.port > 65535) return undefined;
  const host = ipFromBytes(wire.ip);
  return host === undefined ? undefined : { host, port: wire.port };
}

/** The addresses among the first `limit` of a list from the wire; what is none is left out. */
export function addressesFromWire(wires: readonly WireAddress[], limit: number): Address[] {
  return wires
    .slice(0, limit)
    .map(addressFromWire)
    .filter((address) => address !== undefined);
}
