import { isIP } from 'node:net';
import type { Address } from '../base/address.ts';
import { MAX_COOKIE_BYTES } from './address-cookie.ts';
import {
  encodeStun,
  mappedAddressOf,
  parseStun,
  StunAttribute,
  type StunMessage,
  xorMappedAddress,
} from './stun.ts';

/**
 * The longest answer, in bytes, and so the length of every question: header, XOR-MAPPED-ADDRESS of
 * an IPv6 address, cookie and FINGERPRINT.
 */
const PROBE_BYTES = 20 + (4 + 20) + (4 + MAX_COOKIE_BYTES) + (4 + 4);

/**
 * A server's answer to "what is my address?": the address the question came from, and a cookie that
 * proves it. Nothing is answered to questions shorter than the answer, so that a forged source gains
 * nothing, nor to connectivity checks, which are between peers.
 *
 * @param cookieOf mints the cookie of an address (`CookieMint.mint`).
 * @returns the datagram for `source`, or undefined: stay silent. Never throws.
 */
export function answerBinding(
  datagram: Uint8Array,
  source: Address,
  cookieOf: (source: Address) => Uint8Array,
): Uint8Array | undefined {
  if (source.port === 0 || isIP(source.host) === 0) return undefined;
  const message = parseStun(datagram);
  if (message?.kind !== 'request') return undefined;
  if (message.integrityAt !== undefined || message.attributes.has(StunAttribute.username)) {
    return undefined;
  }
  const answer = encodeStun('success', message.transactionId, {
    attributes: [
      [StunAttribute.xorMappedAddress, xorMappedAddress(source, message.transactionId)],
      [StunAttribute.addressCookie, cookieOf(source)],
    ],
  });
  return answer.length <= datagram.length ? answer : undefined;
}

/** The question `answerBinding` answers. `transactionId`: 12 unpredictable bytes, new each time. */
export function encodeServerProbe(transactionId: Uint8Array): Uint8Array {
  return encodeStun('request', transactionId, { attributes: [], minBytes: PROBE_BYTES });
}

/** A server's answer to a probe. */
export interface ServerObservation {
  /** The address the server saw. */
  readonly mapped: Address;
  /** Proves `mapped` to that server (for 60 s); a copy. */
  readonly cookie: Uint8Array;
}

/**
 * What a server says in answer to the probe `transactionId`. The caller makes sure that the answer
 * came from the address the probe went to.
 * @returns undefined where the message is no such answer.
 */
export function readServerAnswer(
  message: StunMessage,
  transactionId: Uint8Array,
): ServerObservation | undefined {
  if (message.kind !== 'success') return undefined;
  if (Buffer.compare(message.transactionId, transactionId) !== 0) return undefined;
  const mapped = mappedAddressOf(message);
  const cookie = message.attributes.get(StunAttribute.addressCookie);
  if (mapped === undefined || cookie === undefined || cookie.length > MAX_COOKIE_BYTES) {
    return undefined;
  }
  return { mapped, cookie: cookie.slice() };
}
