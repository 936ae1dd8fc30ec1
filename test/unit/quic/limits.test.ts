import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { UnprovenAddress } from '../../../src/quic/unproven-address.ts';
import { Farewells } from '../../../src/quic/farewells.ts';
import { Census, DEFAULT_LIMITS } from '../../../src/quic/limits.ts';
import { RetryTokens } from '../../../src/quic/retry-token.ts';

describe('the census', () => {
  const limits = {
    ...DEFAULT_LIMITS,
    maxConnections: 4,
    maxConnectionsPerPrefix: 3,
    maxHandshakes: 3,
    maxHandshakesPerPrefix: 2,
  };

  it('refuses at each of its caps and no earlier', () => {
    const census = new Census(limits);
    expect([census.enter('a'), census.enter('a'), census.enter('a')]).toEqual([true, true, false]);
    census.settle('a');
    expect([census.enter('a'), census.enter('a')]).toEqual([true, false]);
    census.settle('a');
    // Three connections of one prefix is its cap, whatever their state.
    expect(census.enter('a')).toBe(false);
    expect(census.enter('b')).toBe(true);
    expect(census.enter('c')).toBe(false);
    expect([census.connections, census.handshakes]).toEqual([4, 2]);
  });

  it('is empty when all have left, settled or not', () => {
    const census = new Census(limits);
    census.enter('a');
    census.enter('b');
    census.settle('a');
    census.leave('a', true);
    census.leave('b', false);
    expect([census.connections, census.handshakes]).toEqual([0, 0]);
    expect(census.enter('a')).toBe(true);
  });
});

describe('a retry token', () => {
  const tokens = new RetryTokens(seededRandom(1));
  const id = Buffer.from('0102030405060708', 'hex');
  const client = { host: '192.0.2.7', port: 4711 };
  const token = tokens.mint(id, client, 1000);

  it('gives back the ID it was made for', () => {
    expect(tokens.verify(token, client, 11_000)).toEqual(id);
  });

  it.each([
    ['too late', token, client, 11_001],
    ['from another port', token, { ...client, port: 4712 }, 1000],
    ['from another host', token, { ...client, host: '192.0.2.8' }, 1000],
    ['cut short', token.subarray(1), client, 1000],
    ['of another endpoint', new RetryTokens(seededRandom(2)).mint(id, client, 1000), client, 1000],
    ['empty', new Uint8Array(), client, 1000],
  ])('is worth nothing %s', (_reason, bytes, from, now) => {
    expect(tokens.verify(bytes, from, now)).toBeUndefined();
  });

  it('is worth nothing with any bit changed', () => {
    for (let bit = 0; bit < token.length * 8; bit++) {
      const changed = Uint8Array.from(token);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(tokens.verify(changed, client, 1000)).toBeUndefined();
    }
  });
});

describe('an unproven address', () => {
  it('is sent three times what came from it', () => {
    const address = new UnprovenAddress({ host: '192.0.2.7', port: 1 });
    expect(address.spend(1)).toBe(false);
    address.received(100);
    expect([
      address.spend(301),
      address.spend(200),
      address.spend(101),
      address.spend(100),
    ]).toEqual([false, true, false, true]);
  });
});

describe('farewells', () => {
  it('are repeated three times, by any of the IDs', () => {
    const farewells = new Farewells();
    let sent = 0;
    farewells.remember(['a', 'b'], { datagram: new Uint8Array(3), send: () => (sent += 1) });
    for (const id of ['a', 'b', 'a', 'b', 'a']) expect(farewells.answer(id)).toBe(true);
    expect(sent).toBe(3);
    expect(farewells.answer('c')).toBe(false);
  });

  it('are forgotten when there are too many', () => {
    const farewells = new Farewells();
    for (let id = 0; id < 2000; id++) {
      farewells.remember([String(id)], { datagram: new Uint8Array(), send: () => undefined });
    }
    expect([farewells.answer('0'), farewells.answer('1999')]).toEqual([false, true]);
  });
});
