import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';

/** A key pair with its self-signed or issued certificate, as TLS wants them. */
export interface Identity {
  /** PKCS #8, PEM. Secret. */
  readonly keyPem: string;
  /** The certificate (leaf first where it is a chain), PEM. */
  readonly certPem: string;
  /** DER of the leaf. */
  readonly certDer: Uint8Array;
  /** SHA-256 of the leaf's SubjectPublicKeyInfo: the public name of the key, 32 bytes. */
  readonly fingerprint: Uint8Array;
}

/** SHA-256 of the SubjectPublicKeyInfo of a DER certificate. @throws on anything that is none. */
export function spkiFingerprint(certDer: Uint8Array): Uint8Array {
  return certificateFingerprint(new X509Certificate(certDer));
}

export function certificateFingerprint(certificate: X509Certificate): Uint8Array {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return new Uint8Array(createHash('sha256').update(spki).digest());
}

/**
 * Reads a key and certificate and checks that they belong together.
 * @throws Error with a plain reason for text that is no key or certificate, or a pair that is none.
 */
export function readIdentity(keyPem: string, certPem: string): Identity {
  const certificate = new X509Certificate(certPem);
  if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) {
    throw new Error('the private key does not belong to the certificate');
  }
  return {
    keyPem,
    certPem,
    certDer: new Uint8Array(certificate.raw),
    fingerprint: certificateFingerprint(certificate),
  };
}

/** How fingerprints are written for people and files: `sha256-` and base64url, without padding. */
export function formatFingerprint(fingerprint: Uint8Array): string {
  return `sha256-${Buffer.from(fingerprint).toString('base64url')}`;
}

/**
 * The inverse of `formatFingerprint`: one text a fingerprint, so the last character's two spare bits
 * are 0. @returns undefined where the text is none.
 */
export function parseFingerprint(text: string): Uint8Array | undefined {
  const match = /^sha256-([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/.exec(text);
  return match?.[1] === undefined ? undefined : new Uint8Array(Buffer.from(match[1], 'base64url'));
}

/** Bytewise order, as the protocol compares fingerprints and ids: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}
