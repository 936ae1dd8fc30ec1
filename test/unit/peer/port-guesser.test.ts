import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { seededRandom } from '../../../src/base/random.ts';
import {
  type GuessProgress,
  GuessTurn,
  type NatReport,
  PortGuess,
} from '../../../src/path/index.ts';
import { PortGuesser } from '../../../src/peer/port-guesser.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const FRIEND = { host: '203.0.113.7', port: 6000 };
const OWN = { host: '203.0.113.9', port: 7000 };

/** A guesser whose sockets are counted and whose friend is the test. */
class World {
  readonly clock = new VirtualClock();
  readonly open = new Set<Address>();
  readonly progress: GuessProgress[] = [];
  readonly heard = new Set<Address>();
  checks = 0;
  most = 0;
  readonly guesser: PortGuesser;
  #port = 50_000;

  constructor(turn = new GuessTurn()) {
    this.guesser = new PortGuesser({
      guess: new PortGuess({ turn, random: seededRandom(1) }, this.clock.now()),
      clock: this.clock,
      openSocket: () => {
        const socket = { host: '0.0.0.0', port: this.#port++ };
        this.open.add(socket);
        this.most = Math.max(this.most, this.open.size);
        return Promise.resolve(socket);
      },
      closeSocket: (socket) => {
        this.open.delete(socket);
        return Promise.resolve();
      },
      check: () => this.checks++,
      isHeardAt: (socket) => this.heard.has(socket),
      socketClosed: () => undefined,
      report: () => undefined,
      progress: (progress) => this.progress.push(progress),
    });
  }

  know(own: NatReport['mapping'], friend: NatReport['mapping']): void {
    const nat = (mapping: NatReport['mapping'], lastObserved: Address): NatReport => {
      return { mapping, step: mapping === 'sequential' ? 1 : 0, lastObserved };
    };
    this.guesser.step({ type: 'own-nat', nat: nat(own, OWN) });
    this.guesser.step({ type: 'friend-nat', nat: nat(friend, FRIEND), reflexive: FRIEND });
  }

  /** Time passes; what was opened meanwhile is there. */
  async pass(ms: number): Promise<void> {
    for (const end = this.clock.now() + ms; this.clock.now() < end;) {
      this.clock.runUntil(Math.min(end, this.clock.now() + 100));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('sockets that ports are guessed from', () => {
  it('are 256 at most, and none is left when all attempts have failed', async () => {
    const world = new World();
    world.know('random', 'endpoint-independent');
    await world.pass(60_000);
    expect(world.most).toBe(256);
    expect(world.open.size).toBe(0);
    expect(world.progress.at(-1)).toMatchObject({ plan: 'open-many', state: 'given-up' });
    expect(world.checks).toBe(6 * 256);
  });

  it('are closed but for the one that the friend was heard at, and that one in the end', async () => {
    const world = new World();
    world.know('random', 'endpoint-independent');
    await world.pass(1_000);
    expect(world.open.size).toBe(256);
    const [winner] = world.open;
    if (winner === undefined) throw new Error('no socket');
    world.heard.add(winner);
    world.guesser.step({ type: 'direct', connected: true });
    expect([...world.open]).toEqual([winner]);
    expect(world.progress.at(-1)?.state).toBe('found');
    world.guesser.close();
    expect(world.open.size).toBe(0);
  });

  it('are closed when the path is given up in the middle of it', async () => {
    const world = new World();
    world.know('random', 'endpoint-independent');
    await world.pass(500);
    world.guesser.close();
    await world.pass(60_000);
    expect(world.open.size).toBe(0);
  });

  it('belong to one friend at a time', async () => {
    const turn = new GuessTurn();
    const [one, other] = [new World(turn), new World(turn)];
    one.know('random', 'endpoint-independent');
    other.know('random', 'endpoint-independent');
    await one.pass(1_000);
    await other.pass(1_000);
    expect([one.open.size, other.open.size]).toEqual([256, 0]);
    one.guesser.close();
    await other.pass(200);
    expect(other.open.size).toBe(256);
    other.guesser.close();
  });
});
