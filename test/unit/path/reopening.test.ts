import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import type { NatReport } from '../../../src/path/port-prediction.ts';
import {
  Reopening,
  type ReopeningEffect,
  type ReopeningInput,
} from '../../../src/path/reopening.ts';

const FRIEND = { host: '203.0.113.7', port: 6000 };
const ELSEWHERE = { host: '203.0.113.8', port: 6000 };
const OWN = { host: '203.0.113.9', port: 7000 };
const MAPPED = { host: OWN.host, port: 7001 };
const INDEPENDENT = { mapping: 'endpoint-independent', step: 0 } as const;

/** One side's reopening, and what it wanted, by time. */
class World {
  readonly wanted: { readonly at: number; readonly type: ReopeningEffect['type'] }[] = [];
  readonly openedTo: Address[] = [];
  readonly reopening: Reopening;
  readonly #mapped: Address | undefined;
  #now = 0;

  constructor({ isSeen = true } = {}) {
    this.reopening = new Reopening(0);
    this.#mapped = isSeen ? MAPPED : undefined;
  }

  know(own: Partial<NatReport> = {}, friend: Partial<NatReport> = {}, reflexive = FRIEND): this {
    this.step({ type: 'own-nat', nat: { ...INDEPENDENT, lastObserved: OWN, ...own } });
    const nat = { ...INDEPENDENT, lastObserved: reflexive, ...friend };
    return this.step({ type: 'friend-nat', nat, reflexive });
  }

  step(input: ReopeningInput): this {
    for (const effect of this.reopening.step(input, this.#now)) {
      this.wanted.push({ at: this.#now, type: effect.type });
      if (effect.type === 'open-port') this.openedTo.push(effect.remote);
      if (effect.type === 'open-socket') this.step({ type: 'opened', mapped: this.#mapped });
    }
    return this;
  }

  /** Time passes until `end`. */
  until(end: number): this {
    for (;;) {
      const deadline = this.reopening.nextDeadline();
      if (deadline === undefined || deadline > end) break;
      this.#now = Math.max(this.#now, deadline);
      this.step({ type: 'tick' });
    }
    this.#now = end;
    return this;
  }

  path(direct: boolean, used: boolean): this {
    return this.step({ type: 'path', direct, used });
  }

  times(type: ReopeningEffect['type']): number[] {
    return this.wanted.filter((each) => each.type === type).map(({ at }) => at);
  }
}

describe('a second way in', () => {
  it('is open before the friend is told of it', () => {
    const { wanted, openedTo } = new World().know().until(1_000);
    const types = ['open-socket', 'open-port', 'open-port', 'open-port', 'tell'];
    expect(wanted).toEqual(types.map((type) => ({ at: 300, type })));
    expect(openedTo).toEqual([FRIEND, FRIEND, FRIEND]);
  });

  it('is opened as soon as it is known what the NATs do, if that is later', () => {
    expect(new World().until(2_000).know().times('open-socket')).toEqual([2_000]);
  });

  it.each<[string, Partial<NatReport>, Partial<NatReport>]>([
    ['our ports change', { mapping: 'random' }, {}],
    ['the friend’s ports change', {}, { mapping: 'sequential', step: 1 }],
    ['UDP leaves our network to port 443 only', { only443: true }, {}],
    ['UDP leaves the friend’s network to port 443 only', {}, { only443: true }],
  ])('is not opened where %s', (_why, own, friend) => {
    expect(new World().know(own, friend).until(60_000).wanted).toEqual([]);
  });

  it('is not opened where ordinary checks have found a path', () => {
    const world = new World().know().until(100).path(true, false);
    expect(world.until(60_000).wanted).toEqual([]);
  });

  it('is tried three times, and nothing of it is left', () => {
    const world = new World().know().until(3_600_000);
    expect(world.times('open-socket')).toEqual([300, 4_800, 9_300]);
    expect(world.times('open-port')).toHaveLength(9);
    expect(world.times('close-socket')).toEqual([23_800]);
  });

  it('is not told of where no server sees it', () => {
    const world = new World({ isSeen: false }).know().until(3_600_000);
    expect(world.times('tell')).toEqual([]);
    expect(world.times('open-port')).toEqual([]);
    expect(world.times('close-socket')).toHaveLength(1);
  });

  it('stays open as long as it is used, and for 10 s more', () => {
    const world = new World().know().until(500).path(true, true).until(3_600_000);
    expect(world.times('close-socket')).toEqual([]);
    world.path(true, false).until(3_605_000).path(true, true).until(3_700_000);
    expect(world.times('close-socket')).toEqual([]);
    world.path(true, false).until(3_800_000);
    expect(world.times('close-socket')).toEqual([3_710_000]);
  });

  it('is opened anew when the direct path breaks', () => {
    const world = new World().know().until(500).path(true, true).until(60_000).path(false, false);
    expect(world.until(61_000).times('open-socket')).toEqual([300, 60_300]);
  });

  it('is opened anew on another network, and when the friend is elsewhere', () => {
    const world = new World().know().until(60_000);
    expect(world.times('open-socket')).toHaveLength(3);
    world.step({ type: 'network-changed' }).until(120_000);
    expect(world.times('open-socket')).toHaveLength(6);
    world.know().until(180_000);
    expect(world.times('open-socket')).toHaveLength(6);
    world.know({}, {}, ELSEWHERE).until(240_000);
    expect(world.times('open-socket')).toHaveLength(9);
    expect(world.openedTo.at(-1)).toBe(ELSEWHERE);
  });
});

describe('a friend, or a server, that says every moment that it is elsewhere', () => {
  it('has three sockets opened in 20 s, and nine packets sent', () => {
    const world = new World();
    for (let at = 0; at < 3_600_000; at += 100) {
      world.know({}, {}, { ...FRIEND, port: 7_000 + (at % 4_001) }).until(at);
    }
    expect(world.times('open-socket').length).toBeGreaterThan(100);
    expect(world.times('open-socket').length).toBeLessThanOrEqual((3 * 3_600) / 20);
    expect(world.times('open-port').length).toBeLessThanOrEqual((9 * 3_600) / 20);
  });
});
