import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ipFromBytes } from '../../../src/base/address.ts';
import {
  encodeStun,
  mappedAddressOf,
  parseStun,
  StunAttribute,
  type StunMessage,
  usernameOf,
  verifyIntegrity,
  xorMappedAddress,
} from '../../../src/path/stun.ts';

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex'));

// The test vectors of RFC 5769 §2.1 to §2.3, all of one transaction under one password.
const PASSWORD = 'VOkJxbRl1RmTxUk/WvJxBt';
const REQUEST = bytesOf(`
  00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
  80 22 00 10 53 54 55 4e 20 74 65 73 74 20 63 6c 69 65 6e 74
  00 24 00 04 6e 00 01 ff
  80 29 00 08 93 2f f9 b1 51 26 3b 36
  00 06 00 09 65 76 74 6a 3a 68 36 76 59 20 20 20
  00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 c1 b5 71 a2
  80 28 00 04 e5 7a 3b cf`);
const IPV4_RESPONSE = bytesOf(`
  01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
  80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
  00 20 00 08 00 01 a1 47 e1 12 a6 43
  00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 2a f9 ba 53 f0 6b e7 d7
  80 28 00 04 c0 7d 4c 96`);
const IPV6_RESPONSE = bytesOf(`
  01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
  80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
  00 20 00 14 00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9
  00 08 00 14 a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41
  80 28 00 04 c8 fb 0b 4c`);

const TRANSACTION = bytesOf('000102030405060708090a0b');

function parsed(datagram: Uint8Array): StunMessage {
  const message = parseStun(datagram);
  if (message === undefined) throw new Error('not a STUN message');
  return message;
}

describe('STUN messages', () => {
  it('reads the request of RFC 5769 §2.1', () => {
    const message = parsed(REQUEST);
    expect(message.kind).toBe('request');
    expect(Buffer.from(message.transactionId).toString('hex')).toBe('b7e7a701bc34d686fa87dfae');
    expect(usernameOf(message)).toBe('evtj:h6vY');
    expect(verifyIntegrity(message, PASSWORD)).toBe(true);
    expect(verifyIntegrity(message, `${PASSWORD}x`)).toBe(false);
  });

  it.each([
    ['§2.2, IPv4', IPV4_RESPONSE, '192.0.2.1'],
    ['§2.3, IPv6', IPV6_RESPONSE, '2001:db8:1234:5678:11:2233:4455:6677'],
  ])('reads the response of RFC 5769 %s', (_section, datagram, host) => {
    const message = parsed(datagram);
    expect(message.kind).toBe('success');
    expect(mappedAddressOf(message)).toEqual({ host, port: 32853 });
    expect(verifyIntegrity(message, PASSWORD)).toBe(true);
  });

  it('writes these bytes', () => {
    const datagram = encodeStun('success', TRANSACTION, {
      attributes: [
        [
          StunAttribute.xorMappedAddress,
          xorMappedAddress({ host: '192.0.2.1', port: 32853 }, TRANSACTION),
        ],
      ],
      password: 'secret',
    });
    expect(Buffer.from(datagram).toString('hex')).toMatchInlineSnapshot(
      `"0101002c2112a442000102030405060708090a0b002000080001a147e112a64300080014fe5b75e9fda999b438c0e2d31a46385c9bb81bfc802800044d946158"`,
    );
  });

  it('gives back what was written', () => {
    const address = fc.record({
      host: fc.oneof(
        fc.uint8Array({ minLength: 4, maxLength: 4 }).map((ip) => ipFromBytes(ip) ?? ''),
        fc
          .uint8Array({ minLength: 16, maxLength: 16 })
          .map((ip) => ipFromBytes(ip.with(0, 0x20)) ?? ''),
      ),
      port: fc.integer({ min: 0, max: 65535 }),
    });
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.string({ maxLength: 65, unit: 'grapheme-ascii' }),
        address,
        fc.integer({ min: 0, max: 300 }),
        fc.string(),
        (transactionId, username, mapped, minBytes, password) => {
          const message = parsed(
            encodeStun('request', transactionId, {
              attributes: [
                [StunAttribute.username, Buffer.from(username)],
                [StunAttribute.xorMappedAddress, xorMappedAddress(mapped, transactionId)],
              ],
              password,
              minBytes,
            }),
          );
          expect(message.raw.length).toBeGreaterThanOrEqual(minBytes);
          expect(message.transactionId).toEqual(transactionId);
          expect(usernameOf(message)).toBe(username);
          expect(mappedAddressOf(message)).toEqual(mapped);
          expect(verifyIntegrity(message, password)).toBe(true);
        },
      ),
    );
  });

  it('does not believe an authenticated message of which any bit was flipped', () => {
    const covered = REQUEST.length - 8;
    for (let bit = 0; bit < covered * 8; bit++) {
      const datagram = REQUEST.slice();
      datagram[bit >> 3] = (datagram[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const message = parseStun(datagram);
      expect(message !== undefined && verifyIntegrity(message, PASSWORD)).toBe(false);
    }
  });

  it.each([
    ['a QUIC packet', bytesOf('c0 00 00 00 01 08 00 00 00 00 00 00 00 00 00 00 00 00 00 00')],
    ['an empty datagram', new Uint8Array()],
    ['a header cut short', REQUEST.slice(0, 16)],
    ['a length that is not the datagram’s', REQUEST.slice(0, REQUEST.length - 8)],
    ['another magic cookie', REQUEST.with(4, 0x22)],
    ['another method than Binding', REQUEST.with(1, 3)],
    [
      'a value that runs over the end',
      bytesOf('0001 0004 2112a442 000102030405060708090a0b 8022 0010'),
    ],
    [
      'an unknown attribute that must be understood',
      encodeStun('request', TRANSACTION, { attributes: [[0x7ff0, Uint8Array.of(1)]] }),
    ],
    [
      'more than 1,200 bytes',
      encodeStun('request', TRANSACTION, { attributes: [], minBytes: 1204 }),
    ],
  ])('takes %s for none', (_what, datagram) => {
    expect(parseStun(datagram)).toBeUndefined();
  });

  it('believes nothing that stands behind MESSAGE-INTEGRITY', () => {
    const bare = encodeStun('request', TRANSACTION, { attributes: [], password: 'p' });
    const withoutFingerprint = bare.slice(0, -8);
    const username = bytesOf('0006 0004 6576746a');
    const datagram = Uint8Array.of(...withoutFingerprint, ...username);
    new DataView(datagram.buffer).setUint16(2, datagram.length - 20);
    const message = parsed(datagram);
    expect(usernameOf(message)).toBeUndefined();
    expect(verifyIntegrity(message, 'p')).toBe(true);
  });

  it.each([
    ['a USERNAME that is not UTF-8', StunAttribute.username, bytesOf('ff fe')],
    ['a USERNAME over 508 bytes', StunAttribute.username, new Uint8Array(509).fill(65)],
  ])('has no user name in %s', (_what, type, value) => {
    const datagram = encodeStun('request', TRANSACTION, { attributes: [[type, value]] });
    expect(usernameOf(parsed(datagram))).toBeUndefined();
  });

  it.each([
    ['an unknown family', bytesOf('00 03 00 00 01 02 03 04')],
    ['IPv6 of 4 bytes', bytesOf('00 02 00 00 01 02 03 04')],
    ['no address', bytesOf('00 01')],
    ['an IPv4-mapped IPv6 address', bytesOf('00 02 a147 2112a442 00010203 0405f9f8 090b090f')],
  ])('has no mapped address in %s', (_what, value) => {
    const message = parsed(
      encodeStun('success', TRANSACTION, { attributes: [[StunAttribute.xorMappedAddress, value]] }),
    );
    expect(mappedAddressOf(message)).toBeUndefined();
  });
});
