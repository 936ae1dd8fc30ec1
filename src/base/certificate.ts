import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { type Identity, readIdentity } from './identity.ts';

// From the first to the last day certificates know, so that a wrong clock locks nobody out.
const NOT_BEFORE = new Date(0);
const NOT_AFTER = new Date(Date.UTC(9999, 11, 31, 23, 59, 59));
const ED25519 = { name: 'Ed25519' } as const;

/** An Ed25519 key with a self-signed certificate that carries `dnsName`. */
export async function createSelfSigned(dnsName: string): Promise<Identity> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${dnsName}`,
      keys,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: ED25519,
      extensions: await leafExtensions(dnsName, keys.publicKey, keys.publicKey),
    },
    webcrypto,
  );
  return identity(keys, certificate);
}

/** A certificate authority for one cluster. */
export async function createClusterCa(): Promise<Identity> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=Chatty cluster CA',
      keys,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: ED25519,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        ...(await keyIdentifiers(keys.publicKey, keys.publicKey)),
      ],
    },
    webcrypto,
  );
  return identity(keys, certificate);
}

/** A certificate for `dnsName` signed by `ca`; its `certPem` is the whole chain, leaf first. */
export async function issueCertificate(ca: Identity, dnsName: string): Promise<Identity> {
  const issuer = new x509.X509Certificate(ca.certPem);
  const keys = await generateKeys();
  const signingKey = await importSigningKey(ca.keyPem);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=${dnsName}`,
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: ED25519,
      extensions: await leafExtensions(dnsName, keys.publicKey, issuer.publicKey),
    },
    webcrypto,
  );
  const leaf = await identity(keys, certificate);
  return { ...leaf, certPem: leaf.certPem + ca.certPem };
}

async function leafExtensions(
  dnsName: string,
  own: x509.PublicKeyType,
  issuer: x509.PublicKeyType,
): Promise<x509.Extension[]> {
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([
      x509.ExtendedKeyUsage.serverAuth,
      x509.ExtendedKeyUsage.clientAuth,
    ]),
    new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: dnsName }]),
    ...(await keyIdentifiers(own, issuer)),
  ];
}

/** Strict verifiers ask for them (RFC 5280 §4.2.1.1, §4.2.1.2). */
async function keyIdentifiers(
  own: x509.PublicKeyType,
  issuer: x509.PublicKeyType,
): Promise<x509.Extension[]> {
  return Promise.all([
    x509.SubjectKeyIdentifierExtension.create(own, false, webcrypto),
    x509.AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
  ]);
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ED25519, true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}

function importSigningKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(keyPem);
  return webcrypto.subtle.importKey('pkcs8', der, ED25519, false, ['sign']);
}

async function identity(
  keys: webcrypto.CryptoKeyPair,
  certificate: x509.X509Certificate,
): Promise<Identity> {
  const der = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return readIdentity(
    `${x509.PemConverter.encode(der, 'PRIVATE KEY')}\n`,
    `${certificate.toString('pem')}\n`,
  );
}
