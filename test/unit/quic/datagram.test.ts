import { describe, expect, it } from 'vitest';
import {
  destinationId,
  kindOf,
  readFirstDatagram,
  versionNegotiation,
} from '../../../src/quic/datagram.ts';

const ID = '0102030405060708';

function padded(hex: string, length = 1200): Buffer {
  const datagram = Buffer.alloc(length);
  datagram.write(hex, 'hex');
  return datagram;
}

describe('a datagram by its first byte', () => {
  it.each([
    [0x00, 'stun'],
    [0x03, 'stun'],
    [0x04, 'other'],
    [0x0b, 'other'],
    [0x0c, 'relay'],
    [0x0d, 'other'],
    [0x3f, 'other'],
    [0x40, 'short'],
    [0x7f, 'short'],
    [0x80, 'long'],
    [0xff, 'long'],
  ] as const)('%i is %s', (first, kind) => {
    expect(kindOf(Uint8Array.of(first))).toBe(kind);
  });

  it('is other when there is none', () => {
    expect(kindOf(new Uint8Array())).toBe('other');
  });
});

describe('the destination ID', () => {
  it('is the 16 bytes after a short header', () => {
    expect(destinationId(Buffer.from('40' + '61'.repeat(17), 'hex'), 'short')).toBe('a'.repeat(16));
    expect(destinationId(Buffer.alloc(16, 0x40), 'short')).toBeUndefined();
  });

  it.each([
    ['of any length up to 20', `c0000000010361626300`, 'abc'],
    ['of none', 'c00000000100' + '00', ''],
    ['cut off', 'c0000000010861', undefined],
    ['too long', 'c000000001' + '15' + '61'.repeat(30), undefined],
    ['without its length', 'c000000001', undefined],
  ])('after a long header: %s', (_reason, hex, id) => {
    expect(destinationId(Buffer.from(hex, 'hex'), 'long')).toBe(id);
  });
});

describe('the first datagram of a connection', () => {
  it('is an Initial with its IDs and token', () => {
    expect(readFirstDatagram(padded(`c00000000108${ID}020a0b4003aabbcc`))).toEqual({
      kind: 'initial',
      destinationId: Buffer.from(ID, 'hex'),
      sourceId: Buffer.from('0a0b', 'hex'),
      token: Buffer.from('aabbcc', 'hex'),
    });
  });

  it.each([
    ['0-RTT', 'd000000001' + '14' + '61'.repeat(20) + '14' + '62'.repeat(20) + '00'],
    ['Handshake', `e00000000108${ID}0000`],
    ['Retry', `f00000000108${ID}0000`],
    ['version negotiation', `c00000000008${ID}0000`],
    ['an Initial without the fixed bit', `800000000108${ID}0000`],
    ['a destination ID under 8 bytes', 'c0000000010761626364656667' + '0000'],
    ['a source ID over 20 bytes', `c00000000108${ID}15`],
    ['a token longer than the datagram', `c00000000108${ID}007fff`],
  ])('is not %s', (_reason, hex) => {
    expect(readFirstDatagram(padded(hex))).toBeUndefined();
  });

  it('is 1,200 bytes or more', () => {
    expect(readFirstDatagram(padded(`c00000000108${ID}0000`, 1199))).toBeUndefined();
  });

  it('of another version is answered with what we speak, shorter by far', () => {
    const first = readFirstDatagram(padded('cabababa0a' + '02' + 'abcd' + '03' + '010203'));
    if (first === undefined) throw new Error('not read');
    expect(first.kind).toBe('unknown-version');
    expect(Buffer.from(versionNegotiation(first)).toString('hex')).toBe(
      'c000000000' + '03' + '010203' + '02' + 'abcd' + '00000001',
    );
  });
});
