import { spkiFingerprint } from '../base/identity.ts';
import { type Address, scopeOf } from '../base/address.ts';
import type { Member as WireMember } from '../rpc/generated/chatty/v1/membership.ts';
import { addressesFromWire, addressToWire } from '../rpc/wire-address.ts';

/** A rendezvous server, as it registered. */
export interface Member {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly incarnation: bigint;
  readonly peerAddresses: readonly Address[];
  readonly clusterAddresses: readonly Address[];
  /** DER of its peers' port's certificate. */
  readonly certificate: Uint8Array;
}

/** A server on a host with many interfaces names a few; a list without end is no server's. */
const MAX_ADDRESSES = 8;
const MAX_CERTIFICATE_BYTES = 4_096;

/**
 * Reads a registration.
 * @param source the address the call came from: it stands in for the host of a cluster address that
 * is unspecified (`0.0.0.0:50051` means "where I call from"), and of a peer address likewise.
 * @returns the member, or a sentence about what is wrong with it.
 */
export function memberFromWire(
  wire: WireMember | undefined,
  source: string | undefined,
): { member: Member } | { fault: string } {
  if (wire === undefined) return { fault: 'the registration holds no member' };
  if (!isMemberId(wire.id)) return { fault: 'its id is not 32 hexadecimal digits' };
  if (wire.incarnation <= 0n) return { fault: 'its incarnation is not positive' };
  const peerAddresses = usable(addressesFromWire(wire.peerAddresses, MAX_ADDRESSES), source);
  if (peerAddresses.length === 0) return { fault: 'it has no address for peers' };
  const clusterAddresses = usable(addressesFromWire(wire.clusterAddresses, MAX_ADDRESSES), source);
  if (clusterAddresses.length === 0) return { fault: 'it has no address for the cluster' };
  if (!isCertificate(wire.certificate)) return { fault: 'its certificate is none' };
  const { id, incarnation, certificate } = wire;
  return { member: { id, incarnation, peerAddresses, clusterAddresses, certificate } };
}

export function isMemberId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

export function memberToWire(member: Member): WireMember {
  return {
    id: member.id,
    incarnation: member.incarnation,
    peerAddresses: member.peerAddresses.map(addressToWire),
    clusterAddresses: member.clusterAddresses.map(addressToWire),
    certificate: Buffer.from(member.certificate),
  };
}

function usable(addresses: readonly Address[], source: string | undefined): Address[] {
  return addresses.flatMap((address) => {
    const unspecified = address.host === '0.0.0.0' || address.host === '::';
    if (unspecified) return source === undefined ? [] : [{ host: source, port: address.port }];
    return scopeOf(address.host) === 'unusable' ? [] : [address];
  });
}

function isCertificate(der: Uint8Array): boolean {
  if (der.length === 0 || der.length > MAX_CERTIFICATE_BYTES) return false;
  try {
    spkiFingerprint(der);
    return true;
  } catch {
    return false;
  }
}
