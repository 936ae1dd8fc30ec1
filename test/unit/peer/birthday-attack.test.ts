import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { type GuessProgress, GuessTurn, PortGuess } from '../../../src/path/index.ts';
import { PortGuesser } from '../../../src/peer/port-guesser.ts';
import type { QuicEndpoint } from '../../../src/quic/index.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { firstAddress, openEndpoint } from '../quic/harness.ts';

const FRIEND = { host: '203.0.113.7', port: 6000 };
const OWN = { host: '203.0.113.9', port: 7000 };
/** As long as a check is. */
const CHECK = new Uint8Array(100);
const ATTACKS = 5;
/** Some 80 bytes a socket. */
const ALLOWED_BYTES = 500_000;

/** Guesses ports from real sockets until it is given up. @returns how many sockets there were. */
async function attack(endpoint: QuicEndpoint, sink: Address): Promise<number> {
  const clock = new VirtualClock();
  const opening = new Set<Promise<unknown>>();
  let opened = 0;
  let progress: GuessProgress | undefined;
  const guesser = new PortGuesser({
    guess: new PortGuess({ turn: new GuessTurn(), random: seededRandom(1) }, clock.now()),
    clock,
    openSocket: () => {
      opened++;
      const socket = endpoint.openSocket(4);
      opening.add(socket);
      return socket;
    },
    closeSocket: (local) => endpoint.closeSocket(local),
    // All of them to this computer.
    check: (_remote, local) => void endpoint.send(CHECK, sink, local),
    isHeardAt: () => false,
    socketClosed: () => undefined,
    report: () => undefined,
    progress: (told) => (progress = told),
  });
  guesser.step({ type: 'own-nat', nat: { mapping: 'random', step: 0, lastObserved: OWN } });
  const nat = { mapping: 'endpoint-independent', step: 0, lastObserved: FRIEND } as const;
  guesser.step({ type: 'friend-nat', nat, reflexive: FRIEND });
  while (progress?.state !== 'given-up') {
    clock.runUntil(clock.now() + 100);
    await Promise.all(opening);
    opening.clear();
  }
  guesser.close();
  return opened;
}

interface Held {
  readonly sockets: number;
  readonly bytes: number;
}

async function atRest(): Promise<Held> {
  setFlagsFromString('--expose-gc');
  for (let count = 0; count < 5; count++) {
    (runInNewContext('gc') as () => void)();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  const sockets = process.getActiveResourcesInfo().filter((name) => name.startsWith('UDP')).length;
  return { sockets, bytes: heapUsed + external };
}

describe('after attacks by birthday', () => {
  it('sockets and memory are what they were', async () => {
    const [endpoint, sink] = [await openEndpoint(), await openEndpoint()];
    // What is compiled and allocated once for all.
    await attack(endpoint, firstAddress(sink));
    const before = await atRest();
    let opened = 0;
    for (let count = 0; count < ATTACKS; count++) {
      opened += await attack(endpoint, firstAddress(sink));
    }
    expect(opened).toBeGreaterThanOrEqual(ATTACKS * 4 * 256);
    const after = await atRest();
    expect(after.sockets).toBe(before.sockets);
    expect(after.bytes - before.bytes).toBeLessThan(ALLOWED_BYTES);
  });
});
