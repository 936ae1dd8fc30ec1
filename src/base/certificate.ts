import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { promisify } from 'node:util';
import { der, derBits, derContext, derIdentifier, derText } from './der.ts';
import { type Identity, readIdentity } from './identity.ts';

/*
 * Certificates (RFC 5280) with Ed25519 keys (RFC 8410), written here rather than by a library: of
 * all that a certificate can be, ours are one shape, and libraries take longer to load than all
 * else in a start.
 */

const generateKeys = promisify(generateKeyPair);

const CA_NAME = 'Chatty cluster CA';
// The first and the last instant certificates know, so that a wrong clock locks nobody out.
const VALIDITY = der(
  'sequence',
  derText('utcTime', '700101000000Z'),
  derText('generalizedTime', '99991231235959Z'),
);
const VERSION_3 = derContext(0, 'parts', der('integer', Uint8Array.of(2)));
const ED25519 = der('sequence', derIdentifier('1.3.101.112'));
const COMMON_NAME = derIdentifier('2.5.4.3');
const TRUE = der('boolean', Uint8Array.of(0xff));

/** An Ed25519 key with a self-signed certificate that carries `dnsName`. */
export async function createSelfSigned(dnsName: string): Promise<Identity> {
  const keys = await generateKeys('ed25519');
  const certificate = certify({
    subject: dnsName,
    publicKey: keys.publicKey,
    issuer: dnsName,
    signingKey: keys.privateKey,
    extensions: leafExtensions(dnsName),
  });
  return identity(keys.privateKey, certificate);
}

/** A certificate authority for one cluster. */
export async function createClusterCa(): Promise<Identity> {
  const keys = await generateKeys('ed25519');
  const certificate = certify({
    subject: CA_NAME,
    publicKey: keys.publicKey,
    issuer: CA_NAME,
    signingKey: keys.privateKey,
    extensions: [
      // An authority, of nothing but leaves.
      extension('2.5.29.19', der('sequence', TRUE, der('integer', Uint8Array.of(0))), 'critical'),
      // keyCertSign is bit 5.
      extension('2.5.29.15', derBits(Uint8Array.of(0x04), 2), 'critical'),
      extension('2.5.29.14', der('octetString', keyIdentifier(keys.publicKey))),
    ],
  });
  return identity(keys.privateKey, certificate);
}

/** A certificate for `dnsName` signed by `ca`; its `certPem` is the whole chain, leaf first. */
export async function issueCertificate(ca: Identity, dnsName: string): Promise<Identity> {
  const keys = await generateKeys('ed25519');
  const signingKey = createPrivateKey(ca.keyPem);
  const authority = derContext(0, 'bytes', keyIdentifier(createPublicKey(signingKey)));
  const certificate = certify({
    subject: dnsName,
    publicKey: keys.publicKey,
    issuer: commonNameOf(ca),
    signingKey,
    extensions: [...leafExtensions(dnsName), extension('2.5.29.35', der('sequence', authority))],
  });
  const leaf = identity(keys.privateKey, certificate);
  return { ...leaf, certPem: leaf.certPem + ca.certPem };
}

/** RFC 5280 §4.1. @returns the certificate's DER. */
function certify(parts: {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: string;
  readonly signingKey: KeyObject;
  readonly extensions: readonly Buffer[];
}): Buffer {
  const serial = randomBytes(16);
  // Positive, and of its full length.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = der(
    'sequence',
    VERSION_3,
    der('integer', serial),
    ED25519,
    distinguishedName(parts.issuer),
    VALIDITY,
    distinguishedName(parts.subject),
    parts.publicKey.export({ type: 'spki', format: 'der' }),
    derContext(3, 'parts', der('sequence', ...parts.extensions)),
  );
  return der('sequence', body, ED25519, derBits(sign(null, body, parts.signingKey)));
}

function commonNameOf({ certPem }: Identity): string {
  return /^CN=(.*)$/m.exec(new X509Certificate(certPem).subject)?.[1] ?? '';
}

function distinguishedName(commonName: string): Buffer {
  const attribute = der('sequence', COMMON_NAME, derText('utf8String', commonName));
  return der('sequence', der('set', attribute));
}

function leafExtensions(dnsName: string): Buffer[] {
  const usages = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'].map(derIdentifier);
  return [
    // No authority.
    extension('2.5.29.19', der('sequence'), 'critical'),
    // digitalSignature is bit 0.
    extension('2.5.29.15', derBits(Uint8Array.of(0x80), 7), 'critical'),
    // To serve and to call.
    extension('2.5.29.37', der('sequence', ...usages)),
    extension('2.5.29.17', der('sequence', derContext(2, 'bytes', Buffer.from(dnsName)))),
  ];
}

/** Which key of an issuer's signed (RFC 5280 §4.2.1.2, RFC 7093 §2: 160 bits of a hash will do). */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}

function extension(id: string, value: Buffer, critical?: 'critical'): Buffer {
  const flag = critical === undefined ? [] : [TRUE];
  return der('sequence', derIdentifier(id), ...flag, der('octetString', value));
}

function identity(privateKey: KeyObject, certificate: Buffer): Identity {
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return readIdentity(keyPem, new X509Certificate(certificate).toString());
}
