import { expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { GuessTurn, PortGuess } from '../../../src/path/port-guess.ts';

const OWN = { host: '203.0.113.9', port: 7000 };
const FRIEND = { host: '203.0.113.7', port: 5000 };

/** Guesses at a friend whose ports count up. */
class World {
  readonly ports: number[] = [];
  readonly #guess = new PortGuess({ turn: new GuessTurn(), random: seededRandom(1) }, 0);
  #now = 0;

  constructor() {
    const nat = { mapping: 'endpoint-independent', step: 0, lastObserved: OWN } as const;
    this.#step({ type: 'own-nat', nat });
  }

  /** A server tells of the friend's report. */
  hear(port: number): this {
    const lastObserved: Address = { ...FRIEND, port };
    const nat = { mapping: 'sequential', step: 1, lastObserved } as const;
    return this.#step({ type: 'friend-nat', nat, reflexive: FRIEND });
  }

  until(end: number): this {
    for (;;) {
      const deadline = this.#guess.nextDeadline(this.#now);
      if (deadline === undefined || deadline > end) break;
      this.#now = deadline;
      this.#step({ type: 'tick' });
    }
    this.#now = end;
    return this;
  }

  #step(input: Parameters<PortGuess['step']>[0]): this {
    for (const effect of this.#guess.step(input, this.#now)) {
      if (effect.type === 'guess') this.ports.push(effect.remote.port);
    }
    return this;
  }
}

it('ports after an old report are not aimed at as long as a fresh one may come', () => {
  // The friend's first checks have some of them: where our router has answered these, none is left.
  expect(new World().hear(6000).until(1_200).ports).toEqual([]);
  expect(new World().hear(6000).until(1_200).hear(6010).until(1_210).ports[0]).toBe(6011);
  expect(new World().hear(6000).until(2_000).ports[0]).toBe(6001);
});

it('a server that goes on to tell of an old report is not believed', () => {
  const world = new World().hear(6000).until(300).hear(6010).until(350).hear(6000).until(700);
  expect(world.ports.slice(0, 8)).toEqual([6011, 6012, 6013, 6014, 6015, 6016, 6017, 6018]);
  expect(world.ports.filter((port) => port <= 6010)).toEqual([]);
});
