import { describe, expect, it } from 'vitest';
import { type Random, seededRandom } from '../../../src/base/random.ts';
import {
  ServerPool,
  type ServerPoolEffect,
  type ServerPoolInput,
} from '../../../src/peer/server-pool.ts';
import type { Server } from '../../../src/rpc/generated/chatty/v1/loadbalancer.ts';

const serverOf = (id: string): Server => ({
  id,
  addresses: [],
  certificate: Buffer.alloc(0),
});

/** Every delay is its longest. */
const longest: Random = {
  bytes: () => new Uint8Array(),
  below: (max) => max - 1,
  fraction: () => 1,
};

const register = (id: string): ServerPoolEffect => ({ type: 'register', server: serverOf(id) });
const leave = (id: string): ServerPoolEffect => ({ type: 'leave', id });
const discover: ServerPoolEffect = { type: 'discover' };

const servers = (...ids: string[]): ServerPoolInput => ({
  type: 'servers',
  servers: ids.map(serverOf),
});
const registered = (id: string): ServerPoolInput => ({ type: 'registered', id });
const failed = (id: string): ServerPoolInput => ({ type: 'failed', id });
const tick: ServerPoolInput = { type: 'tick' };

function poolOf(wanted = 2): ServerPool {
  return new ServerPool({ wanted, random: longest });
}

/** Registered on `a` and `b` at 0; the next question to the balancers is a minute away. */
function standing(): ServerPool {
  const pool = poolOf();
  pool.step(servers('a', 'b', 'c'), 0);
  pool.step(registered('a'), 0);
  pool.step(registered('b'), 0);
  pool.step(tick, 1_000);
  return pool;
}

describe('the first registrations', () => {
  it('tries a cached server and asks the balancers at once', () => {
    expect(poolOf().step(servers('cached'), 0)).toEqual([register('cached'), discover]);
  });

  it('takes the round-robin choice first, and the next 300 ms later', () => {
    const pool = poolOf();
    expect(pool.step(servers('a', 'b', 'c'), 0)).toEqual([register('a'), discover]);
    expect(pool.step(tick, 299)).not.toContainEqual(register('b'));
    expect(pool.step(tick, 300)).toContainEqual(register('b'));
  });

  it('takes the next as soon as the first stands', () => {
    const pool = poolOf();
    pool.step(servers('a', 'b'), 0);
    expect(pool.step(registered('a'), 20)).toEqual([register('b')]);
  });

  it('takes the next 300 ms after the first has begun, also when that has failed', () => {
    const pool = poolOf();
    pool.step(servers('a', 'b'), 0);
    expect(pool.step(failed('a'), 20)).toEqual([register('b')]);
  });

  it('takes as many as are missing at once when one stands', () => {
    const pool = poolOf(3);
    pool.step(servers('a', 'b', 'c', 'd'), 0);
    expect(pool.step(registered('a'), 20)).toEqual([register('b'), register('c')]);
  });

  it('is content with the number wanted', () => {
    const pool = standing();
    expect(pool.registered).toEqual(['a', 'b']);
    expect(pool.step(servers('d', 'e'), 1_001)).toEqual([]);
    expect(pool.nextDeadline()).toBeGreaterThan(10_000);
  });

  it('never registers twice with one server', () => {
    const pool = poolOf();
    pool.step(servers('a'), 0);
    pool.step(registered('a'), 10);
    const effects = [1_000, 2_000, 4_000].flatMap((at) => pool.step(servers('a', 'a'), at));
    expect(effects.filter(({ type }) => type === 'register')).toEqual([]);
  });

  it('tries others beside attempts that take longer than a second, four in all', () => {
    const pool = poolOf();
    pool.step(servers('dead1', 'dead2', 'c', 'd', 'e'), 0);
    expect(pool.step(tick, 300)).toContainEqual(register('dead2'));
    expect(pool.step(tick, 999)).not.toContainEqual(register('c'));
    expect(pool.step(tick, 1_000)).toContainEqual(register('c'));
    expect(pool.step(tick, 1_300)).toContainEqual(register('d'));
    expect(pool.step(tick, 9_000)).toEqual([discover]);
  });

  it('leaves the one too many that came of that', () => {
    const pool = poolOf(1);
    pool.step(servers('slow', 'b'), 0);
    pool.step(tick, 1_000);
    pool.step(registered('b'), 1_100);
    expect(pool.step(registered('slow'), 1_200)).toEqual([leave('slow')]);
    expect(pool.step(failed('slow'), 1_200)).toEqual([]);
    expect(pool.registered).toEqual(['b']);
  });
});

describe('when a registration ends', () => {
  it('takes another server at once, and asks the balancers if that takes 300 ms', () => {
    const pool = standing();
    expect(pool.step(failed('a'), 60_000)).toEqual([register('c')]);
    expect(pool.step(tick, 60_299)).toEqual([]);
    expect(pool.step(tick, 60_300)).toEqual([discover]);
  });

  it('asks no balancer where another server takes this peer', () => {
    const pool = standing();
    pool.step(failed('a'), 60_000);
    expect(pool.step(registered('c'), 60_020)).toEqual([]);
    expect(pool.nextDeadline()).toBe(120_020);
  });

  it.each([
    ['no other server is known', poolOf, ['a', 'b']],
    ['none stands any more', () => poolOf(1), ['a']],
  ] as const)('asks the balancers at once where %s', (_reason, make, ids) => {
    const pool = make();
    pool.step(servers('a', 'b'), 0);
    for (const id of ids) pool.step(registered(id), 0);
    expect(pool.step(failed('a'), 60_000)).toContainEqual(discover);
  });

  it('tries the same one again after 250 ms where there is no other, then after twice that', () => {
    const pool = poolOf(1);
    pool.step(servers('a'), 0);
    pool.step(failed('a'), 0);
    expect(pool.step(tick, 249)).not.toContainEqual(register('a'));
    expect(pool.step(tick, 250)).toContainEqual(register('a'));
    pool.step(failed('a'), 250);
    expect(pool.step(tick, 749)).not.toContainEqual(register('a'));
    expect(pool.step(tick, 750)).toContainEqual(register('a'));
  });

  it('waits at most 10 s, but as long as the server asks', () => {
    const pool = poolOf(1);
    pool.step(servers('a'), 0);
    let now = 0;
    for (let failures = 0; failures < 20; failures++) {
      pool.step(failed('a'), now);
      now += 10_000;
      expect(pool.step(tick, now)).toContainEqual(register('a'));
    }
    pool.step({ type: 'failed', id: 'a', retryAfterMs: 45_000 }, now);
    expect(pool.step(tick, now + 44_999)).not.toContainEqual(register('a'));
    expect(pool.step(tick, now + 45_000)).toContainEqual(register('a'));
  });

  it('takes the server with the fewest failures', () => {
    const pool = poolOf(1);
    pool.step(servers('a', 'b'), 0);
    pool.step(failed('a'), 300);
    pool.step(registered('b'), 400);
    expect(pool.step(failed('b'), 60_000)).toContainEqual(register('a'));
    pool.step(failed('a'), 60_100);
    pool.step(servers('c'), 60_100);
    pool.step(registered('c'), 60_110);
    // Both may be tried again; b has failed once.
    expect(pool.step({ type: 'moving', id: 'c' }, 120_000)).toContainEqual(register('b'));
  });

  it('does not hammer a server that registers and drops it again and again', () => {
    const pool = poolOf(1);
    pool.step(servers('a'), 0);
    const waits: number[] = [];
    let now = 0;
    for (let round = 0; round < 6; round++) {
      pool.step(registered('a'), now);
      pool.step(failed('a'), now);
      const since = now;
      do now = Math.max(now, pool.nextDeadline());
      while (!pool.step(tick, now).some(({ type }) => type === 'register'));
      waits.push(now - since);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000]);
    pool.step(registered('a'), now);
    pool.step(failed('a'), now + 10_000);
    expect(pool.step(tick, now + 10_250)).toContainEqual(register('a'));
  });
});

describe('a server that asks to be left', () => {
  it('is left when another stands in its place', () => {
    const pool = standing();
    expect(pool.step({ type: 'moving', id: 'a' }, 60_000)).toEqual([register('c')]);
    expect(pool.registered).toEqual(['a', 'b']);
    expect(pool.step(registered('c'), 60_050)).toEqual([leave('a')]);
    expect(pool.registered).toEqual(['b', 'c']);
  });

  it('is not gone back to, unless a balancer hands it out again', () => {
    const pool = standing();
    pool.step({ type: 'moving', id: 'a' }, 60_000);
    pool.step(registered('c'), 60_050);
    // The end of the registration that was left.
    expect(pool.step(failed('a'), 60_051)).toEqual([]);
    pool.step(failed('b'), 60_100);
    pool.step(failed('c'), 60_100);
    const wanted = [...pool.step(tick, 70_000), ...pool.step(tick, 80_000)];
    expect(wanted).not.toContainEqual(register('a'));
    pool.step(servers('a'), 90_000);
    pool.step(failed('b'), 90_000);
    expect(pool.step(tick, 99_600)).not.toContainEqual(register('a'));
    expect(pool.step(tick, 100_000)).toContainEqual(register('a'));
  });

  it('does not count as standing for that', () => {
    const pool = poolOf(1);
    pool.step(servers('a'), 0);
    pool.step({ type: 'moving', id: 'a' }, 10);
    expect(pool.registered).toEqual([]);
  });

  it('is kept where there is no other', () => {
    const pool = poolOf(1);
    pool.step(servers('a'), 0);
    pool.step(registered('a'), 0);
    expect(pool.step({ type: 'moving', id: 'a' }, 1_000)).toEqual([discover]);
    expect(pool.registered).toEqual(['a']);
  });
});

describe('asking the balancers', () => {
  it('goes on while too few registrations stand, ever more seldom, at least every 5 s', () => {
    const pool = poolOf();
    const asked: number[] = [];
    for (let now = 0; now <= 30_000; now = pool.nextDeadline()) {
      if (pool.step(tick, now).some(({ type }) => type === 'discover')) asked.push(now);
    }
    expect(asked).toEqual([0, 200, 600, 1_400, 3_000, 6_200, 11_200, 16_200, 21_200, 26_200]);
  });

  it('grows as seldom as every 30 s while one registration stands, and is at once when it is lost', () => {
    const pool = poolOf();
    pool.step(servers('a'), 0);
    pool.step(registered('a'), 0);
    let now = 0;
    let longestWait = 0;
    for (let asked = 0; asked < 12; asked++) {
      const next = pool.nextDeadline();
      longestWait = Math.max(longestWait, next - now);
      now = next;
      pool.step(tick, now);
    }
    expect(longestWait).toBe(30_000);
    expect(pool.step(failed('a'), now + 1)).toContainEqual(discover);
  });

  it('happens once a minute when all stand', () => {
    const pool = standing();
    const at = pool.nextDeadline();
    expect(pool.step(tick, at)).toEqual([discover]);
    expect(pool.nextDeadline()).toBe(at + 60_000);
  });
});

describe('what is known', () => {
  it('has the servers that work first', () => {
    const pool = poolOf(1);
    pool.step(servers('a', 'b', 'c'), 0);
    pool.step(failed('a'), 0);
    pool.step(registered('b'), 10);
    expect(pool.known.map(({ id }) => id)).toEqual(['b', 'a', 'c']);
  });

  it('has the newest addresses of a server', () => {
    const pool = poolOf();
    pool.step(servers('a'), 0);
    const certificate = Buffer.from([1]);
    pool.step({ type: 'servers', servers: [{ ...serverOf('a'), certificate }] }, 1);
    expect(pool.known).toEqual([{ ...serverOf('a'), certificate }]);
  });

  it('is bounded: the servers that failed go first, none that is in use', () => {
    const pool = poolOf(1);
    pool.step(servers('fair', 'bad'), 0);
    pool.step({ type: 'failed', id: 'fair', retryAfterMs: 3_600_000 }, 0);
    pool.step(tick, 300);
    pool.step(failed('bad'), 310);
    pool.step(tick, 600);
    pool.step(failed('bad'), 610);
    pool.step(servers('good'), 610);
    pool.step(registered('good'), 620);
    pool.step(servers(...Array.from({ length: 62 }, (_, i) => `s${i}`)), 630);
    const kept = pool.known.map(({ id }) => id);
    expect(kept).toHaveLength(64);
    expect(kept).toEqual(expect.arrayContaining(['good', 'fair']));
    expect(kept).not.toContain('bad');
  });

  it('is bounded, however many servers a balancer tells of', () => {
    const pool = poolOf(1);
    pool.step(servers('good'), 0);
    pool.step(registered('good'), 10);
    pool.step(servers(...Array.from({ length: 5_000 }, (_, i) => `s${i}`)), 20);
    expect(pool.known).toHaveLength(64);
    expect(pool.known[0]?.id).toBe('good');
  });
});

/** What the shell and the servers do with the effects, at random. */
function live(seed: number): void {
  const random = seededRandom(seed);
  const pool = new ServerPool({ wanted: 2, random });
  const ids = Array.from({ length: 1 + random.below(6) }, (_, i) => `s${i}`);
  const open = new Map<string, 'trying' | 'standing'>();
  let now = 0;
  let steps = 0;
  const carryOut = (input: ServerPoolInput): void => {
    for (const effect of pool.step(input, now)) {
      if (effect.type === 'register') {
        if (open.has(effect.server.id)) throw new Error(`twice with ${effect.server.id}`);
        open.set(effect.server.id, 'trying');
      } else if (effect.type === 'leave') {
        if (!open.delete(effect.id)) throw new Error(`left ${effect.id}, which it was not with`);
        carryOut(failed(effect.id));
      }
    }
  };
  const step = (input: ServerPoolInput): void => {
    carryOut(input);
    const standingNow = [...open].filter(([, phase]) => phase === 'standing').map(([id]) => id);
    const told = pool.registered.toSorted().join();
    if (told !== standingNow.toSorted().join()) throw new Error(`it tells of ${told}`);
    if (open.size - standingNow.length > 4) throw new Error('more than 4 attempts at once');
    if (pool.nextDeadline() <= now) throw new Error('a deadline that is over');
  };
  const something = (): void => {
    const [id, phase] = [...open][random.below(Math.max(1, open.size))] ?? [];
    const dice = random.below(10);
    if (id === undefined || dice < 2) step(servers(...ids.slice(random.below(ids.length))));
    else if (dice < 5 && phase === 'trying') {
      open.set(id, 'standing');
      step(registered(id));
    } else if (dice < 7) {
      open.delete(id);
      step(failed(id));
    } else if (phase === 'standing') step({ type: 'moving', id });
  };
  step(servers(...ids));
  for (; steps < 200; steps++) {
    now = random.below(3) === 0 ? pool.nextDeadline() : now + random.below(500);
    if (random.below(2) === 0) step(tick);
    else something();
  }
  // From now on every server answers.
  const end = now + 60_000;
  for (let ticks = 0; now < end; ticks++) {
    for (const [id, phase] of [...open]) {
      if (phase !== 'trying') continue;
      open.set(id, 'standing');
      step(registered(id));
    }
    now = pool.nextDeadline();
    step(servers(...ids));
    step(tick);
    if (ticks > 60) throw new Error('more than 60 ticks in a minute');
  }
  expect(pool.registered.length).toBeGreaterThanOrEqual(Math.min(2, ids.length));
  expect(pool.registered.length).toBeLessThanOrEqual(4);
}

it('holds as many registrations as there can be, and never spins, 500 seeds', () => {
  for (let seed = 1; seed <= 500; seed++) {
    try {
      live(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
});

describe('a server that does not answer', () => {
  const silent: ServerPoolInput = { type: 'silent', id: 'a' };
  const heard: ServerPoolInput = { type: 'heard', id: 'a' };

  it('stands while another is sought beside it, and is left when that stands', () => {
    const pool = standing();
    expect(pool.step(silent, 2_000)).toEqual([register('c')]);
    expect(pool.registered).toEqual(['a', 'b']);
    expect(pool.step(registered('c'), 2_100)).toEqual([leave('a')]);
  });

  it('is one like any other again when it answers', () => {
    const pool = standing();
    pool.step(silent, 2_000);
    pool.step(heard, 3_000);
    expect(pool.step(registered('c'), 3_100)).toEqual([leave('c')]);
    expect(pool.registered).toEqual(['a', 'b']);
  });

  it('is left all the same where it has asked for that', () => {
    const pool = standing();
    pool.step(silent, 2_000);
    pool.step({ type: 'moving', id: 'a' }, 2_100);
    pool.step(heard, 3_000);
    expect(pool.step(registered('c'), 3_100)).toEqual([leave('a')]);
  });
});

it('tries at once what has failed when the network has changed', () => {
  const pool = poolOf(1);
  pool.step(servers('a'), 0);
  expect(pool.step(failed('a'), 1)).toEqual([]);
  expect(pool.step(tick, 2)).toEqual([]);
  expect(pool.step({ type: 'network-changed' }, 2)).toEqual([register('a'), discover]);
});
