import { X509Certificate } from 'node:crypto';

/** More certificates than this in one file or handshake are not looked at. */
const MAX_CERTIFICATES = 16;

/** The certificates of a PEM text, in order. @throws Error for text that holds none, or half one. */
export function parseChain(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const begun = pem.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0;
  if (blocks.length === 0 || blocks.length !== begun) {
    throw new Error('it holds no complete certificate');
  }
  return blocks.slice(0, MAX_CERTIFICATES).map((block) => new X509Certificate(block));
}

/** Whether `issuer` signed `certificate` and may sign certificates. */
function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** Whether `certificate` is a certificate authority's own, signed by itself. */
function isRoot(certificate: X509Certificate): boolean {
  return isSignedBy(certificate, certificate);
}

/**
 * The authority at the end of a chain of signatures that begins at `leaf`. Only signatures and the
 * right to sign are looked at; dates, names and purposes are for the TLS connection made with it.
 * @param others certificates to go through, in any order, trusted or not.
 * @returns the first self-signed authority reached; undefined where the chain breaks off.
 */
export function rootOf(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
): X509Certificate | undefined {
  let current = leaf;
  for (let depth = 0; depth < MAX_CERTIFICATES; depth += 1) {
    if (isRoot(current)) return current === leaf ? undefined : current;
    const below = current;
    const issuer = others.find((other) => other !== below && isSignedBy(below, other));
    if (issuer === undefined) return undefined;
    current = issuer;
  }
  return undefined;
}
