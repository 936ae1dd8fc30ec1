import { createHmac, timingSafeEqual } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { type Address, canonicalIp, ipFromBytes, ipToBytes } from '../base/address.ts';

/*
 * STUN Binding messages (RFC 8489 §5), all numbers big endian:
 *
 *   0   2  type: 0x0001 request, 0x0011 indication, 0x0101 success, 0x0111 error
 *   2   2  length of what follows the header; a multiple of 4
 *   4   4  magic cookie 0x2112a442
 *   8  12  transaction id
 *  20   …  attributes, each: type (2), length of the value (2), value, zero to three bytes of padding
 *
 * MESSAGE-INTEGRITY (§14.5) is the HMAC-SHA1 of everything before it, FINGERPRINT (§14.7) the CRC-32
 * of everything before it XOR 0x5354554e; for either the header's length counts up to its own end.
 */

/** The attribute types in use. Below 0x8000 whoever does not know one must not act on the message. */
export const StunAttribute = {
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  xorMappedAddress: 0x0020,
  priority: 0x0024,
  /** RFC 5780 §7.6: bytes without meaning, so that no answer is longer than its question. */
  padding: 0x0026,
  fingerprint: 0x8028,
  /** Chatty's: see address-cookie.ts. */
  addressCookie: 0xcc01,
  /** Chatty's: see check-message.ts. */
  pairState: 0xcc02,
} as const;

export type StunKind = 'request' | 'indication' | 'success' | 'error';

/** A well-formed Binding message. It is worth believing only after `verifyIntegrity`. */
export interface StunMessage {
  readonly kind: StunKind;
  /** 12 bytes, a copy. */
  readonly transactionId: Uint8Array;
  /** The first value of each type, views into `raw`; nothing behind MESSAGE-INTEGRITY. */
  readonly attributes: ReadonlyMap<number, Uint8Array>;
  /** Where MESSAGE-INTEGRITY starts in `raw`; undefined: the message carries none. */
  readonly integrityAt: number | undefined;
  /** The datagram itself, valid as long as the caller's buffer is. */
  readonly raw: Uint8Array;
}

/** No datagram of ours is longer (RFC 9000 §14.1 takes 1,200 for granted everywhere). */
const MAX_MESSAGE_BYTES = 1200;
const HEADER_BYTES = 20;
const ATTRIBUTE_HEADER_BYTES = 4;
const INTEGRITY_BYTES = 20;
const FINGERPRINT_BYTES = 4;
const MAGIC = 0x2112a442;
const FINGERPRINT_XOR = 0x5354554e;
/** RFC 8489 §14.3. */
const MAX_USERNAME_BYTES = 508;

const TYPES: Readonly<Record<StunKind, number>> = {
  request: 0x0001,
  indication: 0x0011,
  success: 0x0101,
  error: 0x0111,
};
const KINDS = new Map(Object.entries(TYPES).map(([kind, type]) => [type, kind as StunKind]));
const UNDERSTOOD: ReadonlySet<number> = new Set(Object.values(StunAttribute));

/**
 * Reads a Binding message. What is malformed, of another method, over 1,200 bytes, carries a wrong
 * FINGERPRINT or a required attribute that is not understood is none (RFC 8489 §6.3). Never throws.
 */
export function parseStun(datagram: Uint8Array): StunMessage | undefined {
  const { length } = datagram;
  if (length < HEADER_BYTES || length > MAX_MESSAGE_BYTES || length % 4 !== 0) return undefined;
  const view = viewOf(datagram);
  const kind = KINDS.get(view.getUint16(0));
  if (kind === undefined || view.getUint32(4) !== MAGIC) return undefined;
  if (view.getUint16(2) !== length - HEADER_BYTES) return undefined;

  const attributes = new Map<number, Uint8Array>();
  let integrityAt: number | undefined;
  for (let at = HEADER_BYTES; at < length;) {
    // Lengths are multiples of four, so a header always fits; its value may not.
    const type = view.getUint16(at);
    const valueBytes = view.getUint16(at + 2);
    const valueAt = at + ATTRIBUTE_HEADER_BYTES;
    const next = valueAt + padded(valueBytes);
    if (next > length) return undefined;
    if (type === StunAttribute.fingerprint) {
      const isLast = next === length && valueBytes === FINGERPRINT_BYTES;
      if (!isLast || view.getUint32(valueAt) !== fingerprintOf(datagram, at)) return undefined;
    } else if (integrityAt === undefined) {
      if (type < 0x8000 && !UNDERSTOOD.has(type)) return undefined;
      if (type === StunAttribute.messageIntegrity) {
        if (valueBytes !== INTEGRITY_BYTES) return undefined;
        integrityAt = at;
      } else if (!attributes.has(type)) {
        attributes.set(type, datagram.subarray(valueAt, valueAt + valueBytes));
      }
    }
    at = next;
  }
  return {
    kind,
    transactionId: datagram.slice(8, HEADER_BYTES),
    attributes,
    integrityAt,
    raw: datagram,
  };
}

/** Whether the message was made by someone who knows `password` (short-term, RFC 8489 §9.1). */
export function verifyIntegrity(message: StunMessage, password: string): boolean {
  const { raw, integrityAt } = message;
  if (integrityAt === undefined) return false;
  const valueAt = integrityAt + ATTRIBUTE_HEADER_BYTES;
  const expected = integrityOf(raw, integrityAt, password);
  return timingSafeEqual(expected, raw.subarray(valueAt, valueAt + INTEGRITY_BYTES));
}

export interface StunEncoding {
  readonly attributes: readonly (readonly [type: number, value: Uint8Array])[];
  /** Adds MESSAGE-INTEGRITY under this password. */
  readonly password?: string;
  /** Adds PADDING where the message would be shorter; a multiple of 4. */
  readonly minBytes?: number;
}

/** A Binding message that ends with FINGERPRINT. `transactionId` is 12 bytes. */
export function encodeStun(
  kind: StunKind,
  transactionId: Uint8Array,
  encoding: StunEncoding,
): Uint8Array {
  const attributes = [...encoding.attributes];
  const fixed =
    HEADER_BYTES +
    (encoding.password === undefined ? 0 : ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES) +
    ATTRIBUTE_HEADER_BYTES +
    FINGERPRINT_BYTES;
  let total = attributes.reduce(
    (sum, [, value]) => sum + ATTRIBUTE_HEADER_BYTES + padded(value.length),
    fixed,
  );
  if (total < (encoding.minBytes ?? 0)) {
    const missing = padded((encoding.minBytes ?? 0) - total);
    attributes.push([StunAttribute.padding, new Uint8Array(missing - ATTRIBUTE_HEADER_BYTES)]);
    total += missing;
  }

  const datagram = new Uint8Array(total);
  const view = viewOf(datagram);
  view.setUint16(0, TYPES[kind]);
  view.setUint16(2, total - HEADER_BYTES);
  view.setUint32(4, MAGIC);
  datagram.set(transactionId, 8);
  let at = HEADER_BYTES;
  const append = (type: number, value: Uint8Array): void => {
    view.setUint16(at, type);
    view.setUint16(at + 2, value.length);
    datagram.set(value, at + ATTRIBUTE_HEADER_BYTES);
    at += ATTRIBUTE_HEADER_BYTES + padded(value.length);
  };
  for (const [type, value] of attributes) append(type, value);
  if (encoding.password !== undefined) {
    append(StunAttribute.messageIntegrity, integrityOf(datagram, at, encoding.password));
  }
  const fingerprint = new Uint8Array(FINGERPRINT_BYTES);
  viewOf(fingerprint).setUint32(0, fingerprintOf(datagram, at));
  append(StunAttribute.fingerprint, fingerprint);
  return datagram;
}

/** The value of USERNAME. @returns undefined where there is none, or none that is UTF-8. */
export function usernameOf(message: StunMessage): string | undefined {
  const value = message.attributes.get(StunAttribute.username);
  if (value === undefined || value.length > MAX_USERNAME_BYTES) return undefined;
  const text = Buffer.from(value).toString('utf8');
  return Buffer.byteLength(text) === value.length && !text.includes('\ufffd') ? text : undefined;
}

/** What XOR-MAPPED-ADDRESS says (RFC 8489 §14.2). @returns undefined where it is absent or wrong. */
export function mappedAddressOf(message: StunMessage): Address | undefined {
  const value = message.attributes.get(StunAttribute.xorMappedAddress);
  if (value === undefined || value.length < 4) return undefined;
  const bytes = xorAddress(value.subarray(4), message.transactionId);
  const isIpv6 = value[1] === 2;
  if (bytes.length !== (isIpv6 ? 16 : 4) || (!isIpv6 && value[1] !== 1)) return undefined;
  const host = ipFromBytes(bytes);
  // An IPv4-mapped address in an IPv6 field is one nobody can have been seen from.
  if (host === undefined || isIPv6(host) !== isIpv6) return undefined;
  return { host, port: viewOf(value).getUint16(2) ^ (MAGIC >>> 16) };
}

/** The value of XOR-MAPPED-ADDRESS. @throws RangeError if `address` holds no IP address. */
export function xorMappedAddress(address: Address, transactionId: Uint8Array): Uint8Array {
  const ip = ipToBytes(canonicalIp(address.host));
  const value = new Uint8Array(4 + ip.length);
  value[1] = ip.length === 4 ? 1 : 2;
  viewOf(value).setUint16(2, address.port ^ (MAGIC >>> 16));
  value.set(xorAddress(ip, transactionId), 4);
  return value;
}

function xorAddress(ip: Uint8Array, transactionId: Uint8Array): Uint8Array {
  const mask = Uint8Array.of(0x21, 0x12, 0xa4, 0x42, ...transactionId);
  return ip.map((byte, index) => byte ^ (mask[index] ?? 0));
}

function integrityOf(datagram: Uint8Array, at: number, password: string): Uint8Array {
  const end = at + ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES;
  return createHmac('sha1', password)
    .update(upTo(datagram, at, end))
    .digest();
}

function fingerprintOf(datagram: Uint8Array, at: number): number {
  const end = at + ATTRIBUTE_HEADER_BYTES + FINGERPRINT_BYTES;
  return (crc32(upTo(datagram, at, end)) ^ FINGERPRINT_XOR) >>> 0;
}

/** The message up to `at`, its header as if it ended at `end`. */
function upTo(datagram: Uint8Array, at: number, end: number): Uint8Array {
  const covered = datagram.slice(0, at);
  viewOf(covered).setUint16(2, end - HEADER_BYTES);
  return covered;
}

// `zlib.crc32` is younger than the oldest Node we run on.
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
