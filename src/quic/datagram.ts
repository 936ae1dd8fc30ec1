/**
 * What can be told of a datagram before any key is known (RFC 8999, RFC 9000 §17, RFC 9443).
 *
 * ```
 * first byte 0–3      STUN            0x0C           relay frame of ours
 *            0x40–7F  QUIC, short header:  first | destination ID, 16 bytes of ours | …
 *            0x80–FF  QUIC, long header:   first | version 4 | length 1 | destination ID
 *                                          | length 1 | source ID | …
 *            others   not for us
 * ```
 */

/** The length of every connection ID that we issue. */
export const OUR_ID_BYTES = 16;
/** The longest connection ID of QUIC version 1 (RFC 9000 §17.2). */
const MAX_ID_BYTES = 20;
/** The least an Initial must be carried in (RFC 9000 §14.1). */
const MIN_INITIAL_BYTES = 1200;
/** The shortest destination ID a first Initial may have (RFC 9000 §7.2). */
const MIN_INITIAL_ID_BYTES = 8;
const QUIC_VERSION = 1;

export type DatagramKind = 'stun' | 'relay' | 'long' | 'short' | 'other';

export function kindOf(datagram: Uint8Array): DatagramKind {
  const first = datagram[0];
  if (first === undefined) return 'other';
  if (first >= 0x80) return 'long';
  if (first >= 0x40) return 'short';
  if (first <= 3) return 'stun';
  return first === 0x0c ? 'relay' : 'other';
}

/**
 * The destination connection ID as a string of one character a byte, which is what connections are
 * found by. Undefined where the datagram has none of a possible length.
 */
export function destinationId(datagram: Buffer, kind: 'long' | 'short'): string | undefined {
  if (kind === 'short') {
    return datagram.length > OUR_ID_BYTES
      ? datagram.toString('latin1', 1, 1 + OUR_ID_BYTES)
      : undefined;
  }
  const length = datagram[5];
  if (length === undefined || length > MAX_ID_BYTES || datagram.length < 7 + length) {
    return undefined;
  }
  return datagram.toString('latin1', 6, 6 + length);
}

/** A connection ID as `destinationId` spells it. */
export function idKey(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1');
}

/** What is read of a first datagram of an unknown connection. */
export type FirstDatagram =
  | {
      readonly kind: 'initial';
      readonly destinationId: Uint8Array;
      readonly sourceId: Uint8Array;
      /** Empty where there is none. */
      readonly token: Uint8Array;
    }
  | {
      readonly kind: 'unknown-version';
      readonly destinationId: Uint8Array;
      readonly sourceId: Uint8Array;
    };

/**
 * Reads a long-header datagram that belongs to no connection. Undefined for everything that cannot
 * begin one: too short to be an Initial (also where the version is unknown: RFC 9000 §6.1), 0-RTT,
 * Handshake, Retry, version negotiation, IDs of a wrong length, a token that runs over.
 */
export function readFirstDatagram(datagram: Buffer): FirstDatagram | undefined {
  if (datagram.length < MIN_INITIAL_BYTES) return undefined;
  const version = datagram.readUInt32BE(1);
  if (version === 0) return undefined;
  const idLength = datagram[5] ?? 0;
  const sourceAt = 7 + idLength;
  const sourceLength = datagram[sourceAt - 1] ?? 0;
  if (idLength > MAX_ID_BYTES || sourceLength > MAX_ID_BYTES) return undefined;
  const destination = datagram.subarray(6, 6 + idLength);
  const sourceId = datagram.subarray(sourceAt, sourceAt + sourceLength);
  if (version !== QUIC_VERSION) {
    return { kind: 'unknown-version', destinationId: destination, sourceId };
  }
  // Fixed bit set and type Initial.
  if (((datagram[0] ?? 0) & 0x70) !== 0x40 || idLength < MIN_INITIAL_ID_BYTES) return undefined;
  const tokenLength = readVarint(datagram, sourceAt + sourceLength);
  if (tokenLength === undefined || tokenLength.next + tokenLength.value > datagram.length) {
    return undefined;
  }
  const token = datagram.subarray(tokenLength.next, tokenLength.next + tokenLength.value);
  return { kind: 'initial', destinationId: destination, sourceId, token };
}

/** RFC 9000 §16. */
function readVarint(bytes: Buffer, at: number): { value: number; next: number } | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  const length = 1 << (first >> 6);
  if (at + length > bytes.length) return undefined;
  let value = first & 0x3f;
  for (let index = 1; index < length; index++) value = value * 256 + (bytes[at + index] ?? 0);
  return { value, next: at + length };
}

/** The answer to an unknown version (RFC 9000 §17.2.1): the IDs swapped, and what we speak. */
export function versionNegotiation(first: FirstDatagram): Uint8Array {
  return Buffer.concat([
    Uint8Array.of(0xc0, 0, 0, 0, 0, first.sourceId.length),
    first.sourceId,
    Uint8Array.of(first.destinationId.length),
    first.destinationId,
    Uint8Array.of(0, 0, 0, QUIC_VERSION),
  ]);
}
