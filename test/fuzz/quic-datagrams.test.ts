import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import type { Address } from '../../src/base/address.ts';
import { type Random, seededRandom, systemRandom } from '../../src/base/random.ts';
import type { QuicConnection } from '../../src/quic/index.ts';
import {
  dialServer,
  echoStreams,
  exchange,
  openEndpoint,
  openServer,
} from '../unit/quic/harness.ts';
import { cryptoFrame, initialPacket, randomFrames } from './initial-packet.ts';
import { firstInitials } from '../unit/quic/initials.ts';
import { SkippingClock } from '../unit/quic/skipping-clock.ts';
import { UdpProxy } from '../unit/quic/udp-proxy.ts';

/** `FUZZ_SEED` and `FUZZ_DATAGRAMS` repeat a run, or make a longer one. */
const SEED = Number(process.env['FUZZ_SEED'] ?? systemRandom.below(2 ** 31));
const INJECTED = Number(process.env['FUZZ_DATAGRAMS'] ?? 200_000);
const OVER_SOCKET = 4000;
/** Between two of these the event loop turns, and the honest pair gets its share. */
const BATCH = 250;
const MAX_GROWTH_BYTES = 256 * 1024 * 1024;

function fromHex(...parts: string[]): Buffer {
  return Buffer.from(parts.join(''), 'hex');
}

function padded(datagram: Buffer): Buffer {
  return Buffer.concat([datagram, Buffer.alloc(Math.max(0, 1200 - datagram.length))]);
}

const CID = '61'.repeat(16);
/** What is known to have hurt somebody, and one of each kind there is. */
const CORPUS: readonly Buffer[] = [
  Buffer.alloc(0),
  // 0-RTT of an unknown connection: ended the process of the library's JavaScript floor.
  fromHex('d000000001', '14', '62'.repeat(20), '14', '63'.repeat(20), '00'.repeat(12)),
  padded(fromHex('d000000001', '14', '62'.repeat(20), '14', '63'.repeat(20))),
  // Initials: bare, with a token longer than all, with a length longer than all.
  padded(fromHex('c000000001', '10', CID, '10', CID, '00', '44b0')),
  padded(fromHex('c000000001', '10', CID, '10', CID, 'ffffffffffffffff')),
  padded(fromHex('c000000001', '10', CID, '00', '00', 'ffffffffffffffff')),
  padded(fromHex('c000000001', 'ff', CID)),
  // Handshake, Retry, version negotiation, unknown versions.
  padded(fromHex('e000000001', '10', CID, '10', CID, '4096')),
  padded(fromHex('f000000001', '10', CID, '10', CID, '64'.repeat(40))),
  fromHex('c000000000', '10', CID, '10', CID, '00000001', 'ff00001d'),
  fromHex('8100000000', '00', '00'),
  padded(fromHex('cabababa0a', '10', CID, '08', '6465666768696a6b')),
  padded(fromHex('ff00000002', '15', '61'.repeat(21), '00')),
  // Short headers, STUN, relay frames, bytes of no protocol.
  fromHex('40', CID, '00'.repeat(20)),
  fromHex('41'),
  fromHex('0001', '0000', '2112a442', '00'.repeat(12)),
  fromHex('0101', 'ffff', '2112a442', '00'.repeat(12)),
  fromHex('0c', '01', '00'.repeat(30)),
  fromHex('16030100'),
];

/** The datagrams of real connections, both ways, as they went over the wire. */
async function captured(): Promise<Buffer[]> {
  const datagrams: Buffer[] = [];
  const server = await openServer({}, { onConnection: echoStreams });
  const proxy = await UdpProxy.open(server.address);
  const keep = (datagram: Buffer): boolean => {
    datagrams.push(Buffer.from(datagram));
    return true;
  };
  proxy.onOutgoing = keep;
  proxy.onIncoming = keep;
  for (let count = 0; count < 4; count++) {
    const connection = await dialServer(await openEndpoint(), proxy.address);
    await exchange(connection, 'x'.repeat(5000));
    connection.close();
  }
  proxy.close();
  return datagrams;
}

/** An Initial that decrypts, around frames that need not make sense. */
function protectedInitial(random: Random): Buffer {
  const frames =
    random.below(3) === 0
      ? cryptoFrame(Buffer.concat([fromHex('01000100', '0303'), random.bytes(random.below(600))]))
      : randomFrames(random);
  const sourceId = random.bytes(random.below(21));
  return initialPacket(random.bytes(8 + random.below(13)), sourceId, random.below(4), frames);
}

/** One datagram near to those in `seeds`. */
function mutate(seeds: readonly Buffer[], random: Random): Buffer {
  const pick = (): Buffer => seeds[random.below(seeds.length)] ?? Buffer.alloc(0);
  let datagram = Buffer.from(pick());
  for (let count = random.below(4); count > 0; count--) {
    const at = random.below(Math.max(1, datagram.length));
    switch (random.below(7)) {
      case 0:
        datagram[at] = (datagram[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        datagram[at] = random.below(256);
        break;
      case 2:
        datagram = datagram.subarray(0, at);
        break;
      case 3:
        datagram = Buffer.concat([datagram.subarray(0, at), pick().subarray(at)]);
        break;
      case 4:
        datagram = Buffer.concat([datagram, random.bytes(random.below(64))]);
        break;
      case 5:
        // The header alone, which decides where it goes.
        datagram[random.below(Math.min(48, Math.max(1, datagram.length)))] = random.below(256);
        break;
      default:
        // Another connection ID: a first datagram of another connection.
        if (datagram.length > 22) datagram.set(random.bytes(8), 6);
    }
  }
  return datagram;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

async function rssAtRest(): Promise<number> {
  for (let count = 0; count < 5; count++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage.rss();
}

it(`lives through ${INJECTED} hostile datagrams while an honest pair talks (seed ${SEED})`, async () => {
  const random = seededRandom(SEED);
  const seeds = [...CORPUS, ...(await captured())];
  const clock = new SkippingClock();
  const server = await openServer({ clock }, { onConnection: echoStreams });
  const client = await openEndpoint();
  const proxy = await UdpProxy.open(server.address);
  // What the honest pair says is mutated too, so that it finds the living connection.
  const live: Buffer[] = [];
  const overhear = (datagram: Buffer): boolean => {
    if (live.length < 50) live.push(Buffer.from(datagram));
    else live[random.below(50)] = Buffer.from(datagram);
    return true;
  };
  proxy.onOutgoing = overhear;
  proxy.onIncoming = overhear;
  const honest = await dialServer(client, proxy.address);
  await exchange(honest, 'before');
  const initials = await firstInitials(400);
  const before = await rssAtRest();
  const next = (): Buffer => {
    switch (random.below(16)) {
      case 0:
        return protectedInitial(random);
      case 1:
        return Buffer.from(initials[random.below(initials.length)] ?? '');
      case 2:
      case 3:
        return mutate(initials, random);
      case 4:
      case 5:
      case 6:
        return mutate(live, random);
      default:
        return mutate(seeds, random);
    }
  };

  let over = false;
  const talk = talkUntil(honest, () => over);
  for (let sent = 0; sent < INJECTED; sent += BATCH) {
    for (let count = 0; count < BATCH; count++) {
      const remote: Address = {
        host: `127.${random.below(256)}.${random.below(256)}.1`,
        port: 1 + random.below(65_535),
      };
      const datagram = next();
      // One in eight comes from where the other side of the honest pair is, to either of them.
      switch (random.below(16)) {
        case 0:
          server.endpoint.receive(datagram, { host: '127.0.0.1', port: proxy.port });
          break;
        case 1:
          client.receive(datagram, proxy.address);
          break;
        default:
          server.endpoint.receive(datagram, remote);
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
    // Half-open handshakes meet their end, as they would in a day of this.
    if (sent % 20_000 === 0) clock.skip(6000);
  }

  const attacker = createSocket('udp4').bind(0, '127.0.0.1');
  await once(attacker, 'listening');
  for (let sent = 0; sent < OVER_SOCKET; sent++) {
    attacker.send(next(), server.address.port, server.address.host);
    if (sent % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  attacker.close();
  over = true;
  const exchanges = await talk;

  expect(await exchange(honest, 'after')).toBe('after');
  proxy.close();
  expect(exchanges).toBeGreaterThan(INJECTED / BATCH / 50);
  clock.skip(6000);
  const { stats } = server.endpoint;
  expect(stats).toMatchObject({ connections: 1, handshakes: 0, faults: 0 });
  expect(stats.datagramsIn).toBeGreaterThanOrEqual(0.9 * INJECTED);
  // The deep paths were reached, not only the first checks.
  expect(stats.dropped.invalid).toBeGreaterThan(INJECTED / 100);
  expect(stats.accepted).toBeGreaterThan(INJECTED / 1000);
  expect((await rssAtRest()) - before).toBeLessThan(MAX_GROWTH_BYTES);
}, 300_000);

/** Exchanges messages until `over` says so. @returns how many; throws if one comes back changed. */
async function talkUntil(connection: QuicConnection, over: () => boolean): Promise<number> {
  let count = 0;
  while (!over()) {
    const text = `message ${count}`;
    if ((await exchange(connection, text)) !== text) throw new Error(`${text} came back changed`);
    count += 1;
  }
  return count;
}
