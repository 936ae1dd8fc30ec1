import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createClusterCa,
  createSelfSigned,
  issueCertificate,
} from '../../../src/base/certificate.ts';
import {
  compareBytes,
  formatFingerprint,
  type Identity,
  parseFingerprint,
  readIdentity,
  spkiFingerprint,
} from '../../../src/base/identity.ts';

const NAME = 'rendezvous.chatty.internal';
let ca: Identity;
let otherCa: Identity;
let leaf: Identity;
let selfSigned: Identity;

beforeAll(async () => {
  [ca, otherCa] = await Promise.all([createClusterCa(), createClusterCa()]);
  leaf = await issueCertificate(ca, NAME);
  selfSigned = await createSelfSigned(NAME);
});

/** Connects to a server that shows `shown`. @returns the error, or undefined where all is well. */
async function handshake(
  shown: Identity,
  trusted: string,
  servername: string,
): Promise<string | undefined> {
  const server = createServer({ key: shown.keyPem, cert: shown.certPem }, (socket) => {
    socket.on('error', () => undefined).end();
  });
  server.on('tlsClientError', () => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket: TLSSocket = connect({ host: '127.0.0.1', port, ca: trusted, servername });
  try {
    await once(socket, 'secureConnect');
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  } finally {
    socket.destroy();
    server.close();
  }
}

describe('certificates', () => {
  it.each([
    ['a cluster CA', () => ca],
    ['an issued one', () => leaf],
    ['a self-signed one', () => selfSigned],
  ])('%s is valid from 1970 to 9999', (_, identity) => {
    const certificate = new X509Certificate(identity().certDer);
    expect(new Date(certificate.validFrom).toISOString()).toBe('1970-01-01T00:00:00.000Z');
    expect(new Date(certificate.validTo).toISOString()).toBe('9999-12-31T23:59:59.000Z');
    expect(certificate.publicKey.asymmetricKeyType).toBe('ed25519');
  });

  it('carry the name of a role and no address', () => {
    for (const identity of [leaf, selfSigned]) {
      const certificate = new X509Certificate(identity.certDer);
      expect(certificate.subjectAltName).toBe(`DNS:${NAME}`);
      expect(certificate.checkHost(NAME)).toBe(NAME);
      expect(certificate.checkHost('loadbalancer.chatty.internal')).toBeUndefined();
      expect(certificate.ca).toBe(false);
    }
  });

  it('come with the whole chain, and each is signed by the next', () => {
    const chain = leaf.certPem.match(/-----BEGIN[^]+?END CERTIFICATE-----/g) ?? [];
    const [first, second] = chain.map((pem) => new X509Certificate(pem));
    expect(chain).toHaveLength(2);
    if (first === undefined || second === undefined) return;
    expect(new Uint8Array(first.raw)).toEqual(leaf.certDer);
    expect(first.verify(second.publicKey)).toBe(true);
    expect(first.checkIssued(second)).toBe(true);
    expect(second.verify(second.publicKey)).toBe(true);
    expect(second.ca).toBe(true);
    expect(first.verify(new X509Certificate(otherCa.certDer).publicKey)).toBe(false);
  });

  it('have serial numbers of their own', async () => {
    const others = [leaf, await issueCertificate(ca, NAME), ca, otherCa, selfSigned];
    const serials = others.map(({ certDer }) => new X509Certificate(certDer).serialNumber);
    expect(new Set(serials).size).toBe(others.length);
  });

  it('are taken by TLS for their name, under their CA', async () => {
    expect(await handshake(leaf, ca.certPem, NAME)).toBeUndefined();
    expect(await handshake(selfSigned, selfSigned.certPem, NAME)).toBeUndefined();
  });

  it('are refused by TLS for another name, or under another CA', async () => {
    expect(await handshake(leaf, ca.certPem, 'example.org')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(await handshake(leaf, otherCa.certPem, NAME)).toMatch(/SELF_SIGNED|UNABLE|SIGNATURE/);
    expect(await handshake(selfSigned, ca.certPem, NAME)).toMatch(/SELF_SIGNED|UNABLE|SIGNATURE/);
  });

  it('make no CA out of what a CA has issued', async () => {
    const forged = await issueCertificate(leaf, NAME);
    expect(await handshake(forged, ca.certPem, NAME)).toBeDefined();
  });
});

describe('identities', () => {
  it('are read back from their texts', () => {
    expect(readIdentity(leaf.keyPem, leaf.certPem)).toEqual(leaf);
  });

  it('are refused when the key belongs to another certificate', () => {
    expect(() => readIdentity(selfSigned.keyPem, leaf.certPem)).toThrow(/does not belong/);
  });

  it('are refused when key or certificate is none, or is cut short', () => {
    for (const text of ['', 'nonsense', leaf.keyPem.slice(0, 60), ca.certPem]) {
      expect(() => readIdentity(text, leaf.certPem)).toThrow(Error);
    }
    for (const text of ['', 'nonsense', leaf.certPem.slice(0, 200), leaf.keyPem]) {
      expect(() => readIdentity(leaf.keyPem, text)).toThrow(Error);
    }
  });

  it('are named by their key alone, not by the certificate around it', () => {
    expect(spkiFingerprint(leaf.certDer)).toEqual(leaf.fingerprint);
    expect(leaf.fingerprint).toHaveLength(32);
    expect(compareBytes(leaf.fingerprint, selfSigned.fingerprint)).not.toBe(0);
    expect(() => spkiFingerprint(new Uint8Array([1, 2, 3]))).toThrow(Error);
  });
});

describe('fingerprints', () => {
  it('are written for people and read back', () => {
    const fingerprint = Uint8Array.from({ length: 32 }, (_, index) => 255 - index);
    const text = formatFingerprint(fingerprint);
    expect(text).toBe('sha256-__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA');
    expect(parseFingerprint(text)).toEqual(fingerprint);
  });

  it.each([
    ['', 'nothing'],
    [`sha256-${'A'.repeat(42)}`, 'too short'],
    [`sha256-${'A'.repeat(44)}`, 'too long'],
    [`sha256-${'A'.repeat(43)}=`, 'padded'],
    [`sha256-${'A'.repeat(42)}+`, 'in plain base64'],
    [`SHA256-${'A'.repeat(43)}`, 'in capitals'],
    [` sha256-${'A'.repeat(43)}`, 'after white space'],
    [`sha256-${'A'.repeat(43)}\n`, 'before a line break'],
    [`sha512-${'A'.repeat(43)}`, 'of another hash'],
    [`sha256-${'A'.repeat(42)}B`, 'a second spelling of the same bytes'],
  ])('are not %j: %s', (text) => {
    expect(parseFingerprint(text)).toBeUndefined();
  });

  it('are ordered by their bytes, unsigned', () => {
    expect(compareBytes(Uint8Array.of(0x7f), Uint8Array.of(0x80))).toBeLessThan(0);
    expect(compareBytes(Uint8Array.of(1, 2), Uint8Array.of(1))).toBeGreaterThan(0);
    expect(compareBytes(Uint8Array.of(1), Uint8Array.of(1))).toBe(0);
  });
});
