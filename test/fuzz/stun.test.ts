import { describe, expect, it } from 'vitest';
import type { Address } from '../../src/base/address.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { CookieMint } from '../../src/path/address-cookie.ts';
import { CheckCodec } from '../../src/path/check-message.ts';
import {
  answerBinding,
  encodeServerProbe,
  parseStun,
  PathAgent,
  readServerAnswer,
} from '../../src/path/index.ts';
import { mappedAddressOf, usernameOf } from '../../src/path/stun.ts';

const SEED = 20_251;
const DATAGRAMS = 200_000;
const ALICE = { ufrag: 'alicefrag', password: 'the-password-of-alice-1' };
const BOB = { ufrag: 'bobfrag12', password: 'the-password-of-bob-123' };
const TRANSACTION = new Uint8Array(12).fill(9);
const V6: Address = { host: '2001:db8::1', port: 4000 };

const mint = new CookieMint(new Uint8Array(32).fill(3));
const bob = new CheckCodec(BOB, ALICE);
const SEEDS: readonly Uint8Array[] = [
  new Uint8Array(),
  encodeServerProbe(TRANSACTION),
  answerBinding(encodeServerProbe(TRANSACTION), V6, (address) => mint.mint(address, 0)) ??
    new Uint8Array(),
  bob.encodeCheck(TRANSACTION, { answered: true, pathClass: 'lan', nomination: 7 }, false),
  bob.encodeCheck(TRANSACTION, { answered: false, pathClass: 'public', nomination: 0 }, true),
  bob.encodeAnswer(TRANSACTION, V6, { answered: true, pathClass: 'lan', nomination: 7 }),
];

/** A datagram that is almost one of ours: bits flipped, cut, grown, lengths changed, spliced. */
function mutated(random: Random): Uint8Array {
  let datagram = (SEEDS[random.below(SEEDS.length)] ?? new Uint8Array()).slice();
  for (let turns = 1 + random.below(4); turns > 0; turns--) {
    const at = random.below(datagram.length + 1);
    switch (random.below(6)) {
      case 0:
        if (at < datagram.length) datagram[at] = random.below(256);
        break;
      case 1:
        datagram = datagram.slice(0, at);
        break;
      case 2:
        datagram = Uint8Array.of(...datagram, ...random.bytes(random.below(64)));
        break;
      case 3: {
        const other = SEEDS[random.below(SEEDS.length)] ?? new Uint8Array();
        datagram = Uint8Array.of(...datagram.slice(0, at), ...other.slice(random.below(64)));
        break;
      }
      case 4:
        // A header that fits, so that what is inside is looked at.
        if (datagram.length >= 4) {
          new DataView(datagram.buffer).setUint16(2, Math.max(0, datagram.length - 20));
        }
        break;
      default:
        // Without FINGERPRINT, which would find every change.
        if (datagram.length > 28) {
          datagram = datagram.slice(0, -8);
          new DataView(datagram.buffer).setUint16(2, datagram.length - 20);
        }
    }
  }
  return datagram;
}

describe(`${DATAGRAMS} hostile datagrams (seed ${SEED})`, () => {
  it('are parsed, answered or dropped, and nothing is ever thrown or amplified', () => {
    const random = seededRandom(SEED);
    let understood = 0;
    let answered = 0;
    for (let index = 0; index < DATAGRAMS; index++) {
      const datagram = index % 4 === 0 ? random.bytes(random.below(200)) : mutated(random);
      const answer = answerBinding(datagram, V6, (address) => mint.mint(address, 0));
      if (answer !== undefined) {
        answered++;
        expect(answer.length).toBeLessThanOrEqual(datagram.length);
      }
      const message = parseStun(datagram);
      if (message === undefined) continue;
      understood++;
      usernameOf(message);
      const mapped = mappedAddressOf(message);
      if (mapped !== undefined) expect(mapped.port).toBeLessThanOrEqual(65_535);
      const cookie = readServerAnswer(message, TRANSACTION)?.cookie;
      if (cookie !== undefined) mint.check(cookie, 0);
    }
    // The mutations are worth their name only if many get past the first look.
    expect(understood).toBeGreaterThan(DATAGRAMS / 20);
    expect(answered).toBeGreaterThan(100);
  });

  it('leave an agent alone: none becomes a path, and it sends no more than its schedule', () => {
    const random = seededRandom(SEED + 1);
    const agent = new PathAgent(
      {
        local: ALICE,
        remote: BOB,
        remoteCandidates: [{ kind: 'srflx', address: { host: '203.0.113.9', port: 4000 } }],
        families: new Set([4, 6] as const),
        onLoopback: false,
        controlling: false,
        random,
      },
      0,
    );
    let now = 0;
    let sentBytes = 0;
    let receivedBytes = 0;
    for (let index = 0; index < DATAGRAMS; index++) {
      now += random.fraction();
      const message = parseStun(mutated(random));
      if (message === undefined) continue;
      receivedBytes += message.raw.length;
      const remote = { host: '198.51.100.7', port: random.below(65_536) };
      for (const effect of agent.step({ type: 'stun', message, remote }, now)) {
        expect(effect.type).not.toBe('checked');
        if (effect.type === 'send') sentBytes += effect.datagram.length;
      }
    }
    expect(agent.paths).toEqual([]);
    expect(receivedBytes).toBeGreaterThan(100_000);
    // Three rounds of seven checks, and answers to copies of the two checks that are authentic.
    expect(sentBytes).toBeLessThan(3 * 7 * 250 + 2000);
    expect(agent.ignored.unauthenticated).toBeGreaterThan(1000);
  });
});
