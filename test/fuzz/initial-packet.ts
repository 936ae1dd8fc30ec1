import { createCipheriv, createHmac } from 'node:crypto';
import type { Random } from '../../src/base/random.ts';

/** RFC 9001 §5.2. */
const INITIAL_SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const TAG_BYTES = 16;
const NUMBER_BYTES = 4;

/** HKDF-Expand-Label (RFC 8446 §7.1) of at most one block of SHA-256. */
function expandLabel(secret: Uint8Array, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Uint8Array.of(0, length, name.length), name, Uint8Array.of(0, 1)]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}

/**
 * A client's Initial, protected as it should be (RFC 9001 §5), around `frames`, whatever they are:
 * anybody can make one, so that what is inside reaches the parser of frames. Padded to 1,200 bytes.
 */
export function initialPacket(
  destinationId: Uint8Array,
  sourceId: Uint8Array,
  packetNumber: number,
  frames: Uint8Array,
): Buffer {
  const head = Buffer.concat([
    Uint8Array.of(0xc0 | (NUMBER_BYTES - 1), 0, 0, 0, 1, destinationId.length),
    destinationId,
    Uint8Array.of(sourceId.length),
    sourceId,
    Uint8Array.of(0),
  ]);
  const overhead = head.length + 2 + NUMBER_BYTES + TAG_BYTES;
  const payload = Buffer.alloc(Math.max(frames.length, 1200 - overhead));
  payload.set(frames);
  const number = Buffer.alloc(2 + NUMBER_BYTES);
  number.writeUInt16BE(0x4000 | (NUMBER_BYTES + payload.length + TAG_BYTES));
  number.writeUInt32BE(packetNumber, 2);
  const header = Buffer.concat([head, number]);

  const initial = createHmac('sha256', INITIAL_SALT).update(destinationId).digest();
  const secret = expandLabel(initial, 'client in', 32);
  const nonce = expandLabel(secret, 'quic iv', 12);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ packetNumber) >>> 0, 8);
  const seal = createCipheriv('aes-128-gcm', expandLabel(secret, 'quic key', 16), nonce);
  seal.setAAD(header);
  const sealed = Buffer.concat([seal.update(payload), seal.final(), seal.getAuthTag()]);

  const packet = Buffer.concat([header, sealed]);
  const numberAt = header.length - NUMBER_BYTES;
  const sample = packet.subarray(numberAt + 4, numberAt + 20);
  const mask = createCipheriv('aes-128-ecb', expandLabel(secret, 'quic hp', 16), null).update(
    sample,
  );
  packet[0] = (packet[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f);
  for (let index = 0; index < NUMBER_BYTES; index++) {
    const at = numberAt + index;
    packet[at] = (packet[at] ?? 0) ^ (mask[1 + index] ?? 0);
  }
  return packet;
}

function varint(random: Random): Buffer {
  const length = 1 << random.below(4);
  const bytes = Buffer.from(random.bytes(length));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | (Math.log2(length) << 6);
  return bytes;
}

/** Frames of every type there is (RFC 9000 §19) and of some there are not, with arbitrary fields. */
export function randomFrames(random: Random): Buffer {
  const frames: Uint8Array[] = [];
  for (let count = 1 + random.below(6); count > 0; count--) {
    frames.push(Uint8Array.of(random.below(0x34)));
    for (let fields = random.below(5); fields > 0; fields--) frames.push(varint(random));
    frames.push(random.bytes(random.below(40)));
  }
  return Buffer.concat(frames).subarray(0, 1000);
}

/** A CRYPTO frame at the beginning of the handshake, around `bytes`. */
export function cryptoFrame(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(0x4000 | bytes.length);
  return Buffer.concat([Uint8Array.of(0x06, 0x00), length, bytes]);
}
