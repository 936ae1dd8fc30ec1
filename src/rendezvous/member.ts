import type { Address } from '../base/address.ts';
import { scopeOf } from '../base/address.ts';
import {
  type Member as WireMember,
  type MemberFact as WireFact,
  MemberState as WireState,
} from '../rpc/generated/chatty/v1/membership.ts';
import { addressesFromWire, addressToWire } from '../rpc/wire-address.ts';
import { safeNumber } from './record-codec.ts';

/** A rendezvous server. */
export interface Member {
  /** Made at start; 32 lower-case hexadecimal digits, so that the order of texts is that of bytes. */
  readonly id: string;
  /** Grows with every change of what is said here. */
  readonly incarnation: number;
  readonly peerAddresses: readonly Address[];
  readonly clusterAddresses: readonly Address[];
  /** DER of the certificate of its peers' port. */
  readonly certificate: Uint8Array;
}

/**
 * What is said of a member: it answers; a load balancer has taken it off its list; it said goodbye.
 */
export type Standing = 'alive' | 'removed' | 'left';

export interface MemberFact {
  readonly member: Member;
  readonly standing: Standing;
}

const MAX_ADDRESSES = 16;
const MAX_CERTIFICATE_BYTES = 4096;

const STANDINGS: readonly (readonly [Standing, WireState])[] = [
  ['alive', WireState.MEMBER_STATE_ALIVE],
  ['removed', WireState.MEMBER_STATE_REMOVED],
  ['left', WireState.MEMBER_STATE_LEFT],
];

export function memberToWire(member: Member): WireMember {
  return {
    id: member.id,
    incarnation: BigInt(member.incarnation),
    peerAddresses: member.peerAddresses.map(addressToWire),
    clusterAddresses: member.clusterAddresses.map(addressToWire),
    certificate: Buffer.from(member.certificate),
  };
}

/** Addresses nobody can be reached at are left out. @returns undefined for what is no member. */
export function memberFromWire(wire: WireMember | undefined): Member | undefined {
  if (wire === undefined || !/^[0-9a-f]{32}$/.test(wire.id)) return undefined;
  const incarnation = safeNumber(wire.incarnation);
  if (incarnation === undefined || wire.certificate.length > MAX_CERTIFICATE_BYTES)
    return undefined;
  return {
    id: wire.id,
    incarnation,
    peerAddresses: reachable(addressesFromWire(wire.peerAddresses, MAX_ADDRESSES)),
    clusterAddresses: reachable(addressesFromWire(wire.clusterAddresses, MAX_ADDRESSES)),
    certificate: wire.certificate,
  };
}

export function factToWire({ member, standing }: MemberFact): WireFact {
  return {
    member: memberToWire(member),
    state: STANDINGS.find(([own]) => own === standing)?.[1] ?? WireState.MEMBER_STATE_UNSPECIFIED,
  };
}

/** Facts that say nothing understood here are left out, and all beyond `limit`. */
export function factsFromWire(wires: readonly WireFact[], limit: number): MemberFact[] {
  return wires.slice(0, limit).flatMap((wire) => {
    const member = memberFromWire(wire.member);
    const standing = STANDINGS.find(([, other]) => other === wire.state)?.[0];
    return member === undefined || standing === undefined ? [] : [{ member, standing }];
  });
}

function reachable(addresses: readonly Address[]): Address[] {
  return addresses.filter(({ host }) => scopeOf(host) !== 'unusable');
}
