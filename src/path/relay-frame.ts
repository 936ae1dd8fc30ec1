import { createHmac } from 'node:crypto';
import { MAX_COOKIE_BYTES } from './address-cookie.ts';

/*
 * Relay frames: how two peers talk by way of a rendezvous server, and how each tells it where it is.
 *
 *   0   1  0x0c
 *   1   1  type
 *   2   8  channel: one side of one pair of sessions at one server
 *
 *   type 0, DATA, either way:
 *  10   …  payload, 1 to 1,280 bytes: a QUIC or STUN datagram (first byte 0 to 3, or 0x40 and above)
 *
 *   type 1, BIND, to the server:
 *  10  16  proof: the first half of HMAC-SHA256 of channel and cookie, under the key that only this
 *          side and the server know; whoever overhears one can bind no address of their own by it
 *  26   1  length of the cookie, 0 to 40
 *  27   …  cookie (see address-cookie.ts), then zeros up to at least 96 bytes in all
 *
 *   type 2, BOUND, to the peer:
 *  10   1  flags; bit 0: the friend's side is bound too
 *
 *   type 3, CHALLENGE, to the peer, which sends the cookie back in a BIND:
 *  10   1  length of the cookie, 1 to 40
 *  11   …  cookie of the address that the BIND came from
 *
 *   type 4, LIMITED, to the peer: datagrams were dropped
 *  10   1  what bites: 1 the pair's rate, 2 its bytes in all, 3 its time, 4 the server's own rate
 *
 * Other types are ignored, as are bytes behind a frame and flags without meaning. A BIND is longer
 * than any answer to it. No relay frame is carried in another, so nothing is relayed twice.
 */

const FIRST_BYTE = 0x0c;
const TYPES = { data: 0, bind: 1, bound: 2, challenge: 3, limited: 4 } as const;
const CHANNEL_BYTES = 8;
const BODY_AT = 2 + CHANNEL_BYTES;
const PROOF_BYTES = 16;
const MIN_BIND_BYTES = 96;
const FRIEND_BOUND = 0x01;
const LIMITS = ['rate', 'bytes', 'time', 'server'] as const;

/** What DATA adds to a datagram. */
export const RELAY_HEADER_BYTES = BODY_AT;
/** The longest payload of DATA. */
export const MAX_RELAYED_BYTES = 1280;

/**
 * Why a server drops what it should relay: the pair's bytes a second, its bytes in all, its time, or
 * the bytes a second of all pairs.
 */
export type RelayLimit = (typeof LIMITS)[number];

/** Channels are 16 digits, in lower-case hexadecimal. Bytes are views into the datagram read. */
export type RelayFrame =
  | { readonly type: 'data'; readonly channel: string; readonly payload: Uint8Array }
  | {
      readonly type: 'bind';
      readonly channel: string;
      readonly proof: Uint8Array;
      /** Of the last challenge; undefined: none yet. */
      readonly cookie: Uint8Array | undefined;
    }
  | { readonly type: 'bound'; readonly channel: string; readonly friendBound: boolean }
  | { readonly type: 'challenge'; readonly channel: string; readonly cookie: Uint8Array }
  | { readonly type: 'limited'; readonly channel: string; readonly limit: RelayLimit };

/**
 * What a BIND with this cookie carries as proof.
 * @param key the 16 bytes that a match tells this side only (`RelayOffer.proof`).
 */
export function relayProof(
  key: Uint8Array,
  channel: string,
  cookie: Uint8Array | undefined,
): Uint8Array {
  const mac = createHmac('sha256', key).update(channel, 'hex');
  return mac
    .update(cookie ?? new Uint8Array())
    .digest()
    .subarray(0, PROOF_BYTES);
}

/** @returns the datagram of a frame that is in itself right. */
export function encodeRelayFrame(frame: RelayFrame): Buffer {
  switch (frame.type) {
    case 'data': {
      const datagram = begin(frame, BODY_AT + frame.payload.length);
      datagram.set(frame.payload, BODY_AT);
      return datagram;
    }
    case 'bind': {
      const datagram = begin(frame, MIN_BIND_BYTES);
      datagram.set(frame.proof, BODY_AT);
      setCookie(datagram, BODY_AT + PROOF_BYTES, frame.cookie ?? new Uint8Array());
      return datagram;
    }
    case 'bound': {
      const datagram = begin(frame, BODY_AT + 1);
      datagram[BODY_AT] = frame.friendBound ? FRIEND_BOUND : 0;
      return datagram;
    }
    case 'challenge': {
      const datagram = begin(frame, BODY_AT + 1 + frame.cookie.length);
      setCookie(datagram, BODY_AT, frame.cookie);
      return datagram;
    }
    case 'limited': {
      const datagram = begin(frame, BODY_AT + 1);
      datagram[BODY_AT] = LIMITS.indexOf(frame.limit) + 1;
      return datagram;
    }
  }
}

/** @returns undefined for what is no frame, of a type unknown here, or breaks a limit above. */
export function readRelayFrame(datagram: Uint8Array): RelayFrame | undefined {
  if (datagram.length <= BODY_AT || datagram[0] !== FIRST_BYTE) return undefined;
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
  const channel = bytes.toString('hex', 2, BODY_AT);
  const first = bytes[BODY_AT] ?? 0;
  switch (bytes[1]) {
    case TYPES.data:
      if (bytes.length > BODY_AT + MAX_RELAYED_BYTES || (first > 3 && first < 0x40)) break;
      return { type: 'data', channel, payload: bytes.subarray(BODY_AT) };
    case TYPES.bind: {
      const cookie = cookieAt(bytes, BODY_AT + PROOF_BYTES);
      if (bytes.length < MIN_BIND_BYTES || cookie === undefined) break;
      const proof = bytes.subarray(BODY_AT, BODY_AT + PROOF_BYTES);
      return { type: 'bind', channel, proof, cookie: cookie.length === 0 ? undefined : cookie };
    }
    case TYPES.bound:
      return { type: 'bound', channel, friendBound: (first & FRIEND_BOUND) !== 0 };
    case TYPES.challenge: {
      const cookie = cookieAt(bytes, BODY_AT);
      if (cookie === undefined || cookie.length === 0) break;
      return { type: 'challenge', channel, cookie };
    }
    case TYPES.limited: {
      const limit = LIMITS[first - 1];
      return limit === undefined ? undefined : { type: 'limited', channel, limit };
    }
  }
  return undefined;
}

/** Puts another channel into a frame, in place: the other side's, when a server passes on DATA. */
export function setRelayChannel(datagram: Uint8Array, channel: string): void {
  Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length).write(channel, 2, 'hex');
}

function begin({ type, channel }: RelayFrame, bytes: number): Buffer {
  const datagram = Buffer.alloc(bytes);
  datagram[0] = FIRST_BYTE;
  datagram[1] = TYPES[type];
  setRelayChannel(datagram, channel);
  return datagram;
}

function setCookie(datagram: Buffer, at: number, cookie: Uint8Array): void {
  datagram[at] = cookie.length;
  datagram.set(cookie, at + 1);
}

function cookieAt(bytes: Buffer, at: number): Uint8Array | undefined {
  const length = bytes[at] ?? 0;
  const end = at + 1 + length;
  return length > MAX_COOKIE_BYTES || bytes.length < end ? undefined : bytes.subarray(at + 1, end);
}
