import { createHash } from 'node:crypto';

/**
 * The SubjectPublicKeyInfo of a certificate (RFC 5280 §4.1), found by walking over what is before
 * it. TLS has parsed the certificate in full by then: parsing it once more with `node:crypto` would
 * cost more time than all other work of our side of a handshake.
 *
 * ```
 * Certificate 30 { TBSCertificate 30 { [0] version A0, serialNumber 02, signature 30, issuer 30,
 *                                      validity 30, subject 30, subjectPublicKeyInfo 30, … } … }
 * ```
 */
const BEFORE_KEY = [0xa0, 0x02, 0x30, 0x30, 0x30, 0x30];
const SEQUENCE = 0x30;

/** All of an Ed25519 SubjectPublicKeyInfo but the key of 32 bytes (RFC 8410 §4). */
const ED25519_HEAD = Buffer.from('302a300506032b6570032100', 'hex');
const ED25519_BYTES = ED25519_HEAD.length + 32;

/**
 * SHA-256 of the SubjectPublicKeyInfo of a DER certificate.
 * @returns undefined where the bytes are no certificate with an Ed25519 key.
 */
export function ed25519Fingerprint(certDer: Uint8Array): Uint8Array | undefined {
  const certificate = element(certDer, 0);
  if (certificate?.tag !== SEQUENCE) return undefined;
  const body = element(certDer, certificate.contentAt);
  if (body?.tag !== SEQUENCE) return undefined;
  let at = body.contentAt;
  for (const tag of BEFORE_KEY) {
    const field = element(certDer, at);
    if (field?.tag !== tag) return undefined;
    at = field.endsAt;
  }
  const key = element(certDer, at);
  if (key === undefined || key.endsAt - at !== ED25519_BYTES) return undefined;
  const spki = certDer.subarray(at, key.endsAt);
  if (Buffer.compare(spki.subarray(0, ED25519_HEAD.length), ED25519_HEAD) !== 0) return undefined;
  return new Uint8Array(createHash('sha256').update(spki).digest());
}

interface Element {
  readonly tag: number;
  readonly contentAt: number;
  readonly endsAt: number;
}

/** The DER element at `at` (X.690 §8.1); undefined where there is no whole one. */
function element(der: Uint8Array, at: number): Element | undefined {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  // Certificates are far below 16 MiB.
  if (lengthBytes > 3 || first === 0x80) return undefined;
  let length = lengthBytes === 0 ? first : 0;
  for (let index = 0; index < lengthBytes; index++) {
    const byte = der[at + 2 + index];
    if (byte === undefined) return undefined;
    length = length * 256 + byte;
  }
  const contentAt = at + 2 + lengthBytes;
  const endsAt = contentAt + length;
  return endsAt > der.length ? undefined : { tag, contentAt, endsAt };
}
