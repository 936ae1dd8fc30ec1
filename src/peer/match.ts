import type { Address } from '../base/address.ts';
import type { Endpoint, SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { MatchFound, RelayOffer as WireOffer } from '../rpc/generated/chatty/v1/rendezvous.ts';
import { isSessionId } from '../rpc/session-id.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';

/** A server that relays between this peer and the friend. */
export interface RelayOffer {
  readonly serverId: string;
  readonly addresses: readonly Address[];
  /** Of our side, in hexadecimal. */
  readonly channel: string;
  /** What our proofs are made with. */
  readonly key: Uint8Array;
}

/** Of one server, so many addresses are believed. */
const MAX_RELAY_ADDRESSES = 8;
const MAX_RELAYS = 2;
const CHANNEL_BYTES = 8;
const KEY_BYTES = 16;
/** What one wish may bring along. */
const MAX_FIRST_FLIGHT = 2;
const MAX_DATAGRAM_BYTES = 1200;

/** A match as this peer believes it, every field checked. */
export interface Match {
  readonly session: SessionId;
  /** The friend's fingerprint. */
  readonly key: Uint8Array;
  readonly endpoint: Endpoint;
  readonly friendWasWaiting: boolean;
  /** Best first; absent: none. */
  readonly relays?: readonly RelayOffer[];
  /** What the friend's wish brought along: as if it had come over a relay. */
  readonly firstFlight?: readonly Uint8Array[];
}

/** Checks what a server says of a match. @returns undefined for what cannot be one. */
export function readMatch(found: MatchFound): Match | undefined {
  const { friendSession, friendEndpoint, friendKey } = found;
  if (!isSessionId(friendSession) || friendKey.length !== 32) return undefined;
  if (friendEndpoint === undefined) return undefined;
  return {
    session: friendSession,
    key: friendKey,
    endpoint: friendEndpoint,
    friendWasWaiting: found.friendWasWaiting,
    relays: found.relays.flatMap(readOffer).slice(0, MAX_RELAYS),
    firstFlight: found.friendFirstFlight
      .filter(({ length }) => length > 0 && length <= MAX_DATAGRAM_BYTES)
      .slice(0, MAX_FIRST_FLIGHT),
  };
}

function readOffer({ serverId, addresses, channel, proof }: WireOffer): RelayOffer[] {
  if (channel.length !== CHANNEL_BYTES || proof.length !== KEY_BYTES) return [];
  const believed = addressesFromWire(addresses, MAX_RELAY_ADDRESSES);
  return [{ serverId, addresses: believed, channel: channel.toString('hex'), key: proof }];
}
