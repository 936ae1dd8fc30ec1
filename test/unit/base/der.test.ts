import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import { der, derBits, derContext, derIdentifier, derText } from '../../../src/base/der.ts';

describe('DER', () => {
  it.each([
    ['an empty sequence', der('sequence'), '3000'],
    ['true', der('boolean', Uint8Array.of(0xff)), '0101ff'],
    ['text', derText('utf8String', 'é'), '0c02c3a9'],
    ['the identifier of Ed25519', derIdentifier('1.3.101.112'), '06032b6570'],
    [
      'the identifier of RSA, whose arcs take several bytes',
      derIdentifier('1.2.840.113549'),
      '06062a864886f70d',
    ],
    ['bits of which some do not count', derBits(Uint8Array.of(0x80), 7), '03020780'],
    [
      'a part that the context explains',
      derContext(0, 'parts', der('integer', Uint8Array.of(2))),
      'a003020102',
    ],
    ['bytes that the context explains', derContext(2, 'bytes', Buffer.from('a')), '820161'],
    ['a sequence of parts', der('sequence', der('sequence'), der('set')), '300430003100'],
  ])('writes %s', (_what, bytes, hex) => {
    expect(bytes.toString('hex')).toBe(hex);
  });

  it.each([
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65_536, '0483010000'],
  ])('writes the length %i in as many bytes as it takes', (length, head) => {
    const written = der('octetString', new Uint8Array(length));
    expect(written.toString('hex', 0, written.length - length)).toBe(head);
  });

  it('is read by others, however long what it holds', async () => {
    for (const length of [1, 60, 100, 200, 300]) {
      const name = `${'a'.repeat(length)}.example`;
      const certificate = new X509Certificate((await createSelfSigned(name)).certDer);
      expect(certificate.subjectAltName).toBe(`DNS:${name}`);
      expect(certificate.verify(certificate.publicKey)).toBe(true);
    }
  });
});
