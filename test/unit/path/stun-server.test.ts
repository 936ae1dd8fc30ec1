import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Address, ipFromBytes } from '../../../src/base/address.ts';
import { CookieMint } from '../../../src/path/address-cookie.ts';
import {
  answerBinding,
  encodeServerProbe,
  readServerAnswer,
} from '../../../src/path/stun-server.ts';
import { encodeStun, parseStun, StunAttribute } from '../../../src/path/stun.ts';

const SECRET = new Uint8Array(32).fill(7);
const TRANSACTION = Uint8Array.from({ length: 12 }, (_, index) => index);
const IPV4: Address = { host: '203.0.113.9', port: 40_000 };
const IPV6: Address = { host: '2001:db8::9', port: 40_000 };
const anyAddress = fc.record({
  host: fc
    .oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }).map((ip) => ip.with(0, 0x20)),
    )
    .map((ip) => ipFromBytes(ip) ?? ''),
  port: fc.integer({ min: 1, max: 65535 }),
});

describe('a server answering Binding requests', () => {
  const mint = new CookieMint(SECRET);
  const answer = (datagram: Uint8Array, source: Address): Uint8Array | undefined =>
    answerBinding(datagram, source, (address) => mint.mint(address, 5000));

  it.each([
    ['IPv4', IPV4],
    ['IPv6', IPV6],
    ['a link-local address with its zone', { host: 'fe80::1%eth0', port: 1024 }],
  ])('tells the address it saw, and a cookie for it: %s', (_what, source) => {
    const datagram = answer(encodeServerProbe(TRANSACTION), source);
    const message = parseStun(datagram ?? new Uint8Array());
    if (message === undefined) throw new Error('no answer');
    const observation = readServerAnswer(message, TRANSACTION);
    const seen = { host: source.host.split('%')[0], port: source.port };
    expect(observation?.mapped).toEqual(seen);
    expect(mint.check(observation?.cookie ?? new Uint8Array(), 5000)).toEqual(seen);
  });

  it('never sends more than came in', () => {
    fc.assert(
      fc.property(anyAddress, fc.integer({ min: 0, max: 200 }), (source, minBytes) => {
        const question = encodeStun('request', TRANSACTION, { attributes: [], minBytes });
        const datagram = answer(question, source);
        if (datagram !== undefined) expect(datagram.length).toBeLessThanOrEqual(question.length);
        else expect(question.length).toBeLessThan(96);
      }),
    );
  });

  it.each([
    ['a bare request of 20 bytes', encodeStun('request', TRANSACTION, { attributes: [] })],
    ['an answer', encodeStun('success', TRANSACTION, { attributes: [], minBytes: 96 })],
    [
      'a connectivity check',
      encodeStun('request', TRANSACTION, {
        attributes: [[StunAttribute.username, Buffer.from('a:b')]],
        minBytes: 120,
      }),
    ],
    ['noise', new Uint8Array(120)],
  ])('is silent to %s', (_what, datagram) => {
    expect(answer(datagram, IPV4)).toBeUndefined();
  });

  it('is silent to port 0, which nobody sends from', () => {
    expect(answer(encodeServerProbe(TRANSACTION), { ...IPV4, port: 0 })).toBeUndefined();
  });

  it('answers only the question that was asked', () => {
    const message = parseStun(answer(encodeServerProbe(TRANSACTION), IPV4) ?? new Uint8Array());
    if (message === undefined) throw new Error('no answer');
    expect(readServerAnswer(message, TRANSACTION.with(0, 99))).toBeUndefined();
  });
});

describe('an address cookie', () => {
  const mint = new CookieMint(SECRET);

  it('is these bytes', () => {
    const cookie = mint.mint(IPV4, 5000);
    expect(Buffer.from(cookie).toString('hex')).toMatchInlineSnapshot(
      `"01009c4000000005cb00710982295d34d449aa22992eea5078c58bb9"`,
    );
  });

  it('proves its address until 60 s have passed, and not before it was minted', () => {
    fc.assert(
      fc.property(anyAddress, fc.integer({ min: 0, max: 2 ** 40 }), (source, seconds) => {
        const now = (seconds % 2 ** 31) * 1000 + 1000;
        const cookie = mint.mint(source, now);
        expect(mint.check(cookie, now + 59_999)).toEqual(source);
        expect(mint.check(cookie, now + 60_000)).toBeUndefined();
        expect(mint.check(cookie, now - 1)).toBeUndefined();
      }),
    );
  });

  it('proves nothing once a bit is flipped, nor to another server', () => {
    const cookie = mint.mint(IPV6, 5000);
    for (let bit = 0; bit < cookie.length * 8; bit++) {
      const forged = cookie.with(bit >> 3, (cookie[bit >> 3] ?? 0) ^ (1 << (bit & 7)));
      expect(mint.check(forged, 5000)).toBeUndefined();
    }
    expect(new CookieMint(SECRET.with(0, 8)).check(cookie, 5000)).toBeUndefined();
  });

  it('proves nothing when it is noise of any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (noise) => {
        expect(mint.check(noise, 5000)).toBeUndefined();
      }),
    );
  });
});
