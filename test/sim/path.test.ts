import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { expectConnected, introduce, ROUTERS, twoHomes } from './path-world.ts';

// Whether a port moves early is a matter of chance: path-life.test.ts has that router.
const NAMES = Object.keys(ROUTERS).filter((name) => name !== 'masquerade, early');

/** Whether two such routers can be crossed without guessing a port. */
function canConnect(a: string, b: string): boolean {
  const isSymmetric = (name: string): boolean => name.startsWith('symmetric');
  const lets = (name: string): boolean =>
    ['endpoint-independent', 'address-dependent'].includes(ROUTERS[name]?.filtering ?? '') ||
    name === 'public';
  if (isSymmetric(a) && isSymmetric(b)) return false;
  if (isSymmetric(a)) return lets(b);
  if (isSymmetric(b)) return lets(a);
  return true;
}

describe.each(NAMES.flatMap((a, index) => NAMES.slice(index).map((b) => [a, b] as const)))(
  '%s and %s',
  (a, b) => {
    const seeds = Array.from({ length: 12 }, (_, index) => index + 1);
    if (canConnect(a, b)) {
      it.each(seeds)('connect, on the same class at both ends (seed %i)', (seed) => {
        const world = twoHomes(a, b, seed, (seed % 3) * 0.1);
        introduce(world, seed % 4 === 0 ? 2000 : 400);
        world.network.runUntil(25_000);
        expectConnected(world, `seed ${seed}`);
      });
    } else {
      it.each(seeds)('cannot without guessing ports, and both sides say so (seed %i)', (seed) => {
        const world = twoHomes(a, b, seed, (seed % 3) * 0.1);
        introduce(world);
        world.network.runUntil(25_000);
        expect([world.alice.agent?.state, world.bob.agent?.state]).toEqual(['failed', 'failed']);
      });
    }
  },
);

describe('through outages of one direction or both', () => {
  const seeds = Array.from({ length: 300 }, (_, index) => index + 1);

  it('no pair ends with a path at one side and none at the other, in 300 worlds', () => {
    let connected = 0;
    for (const seed of seeds) {
      const chance = seededRandom(seed + 1_000_000);
      const pick = (): string => NAMES[chance.below(NAMES.length)] ?? 'public';
      const [a, b] = [pick(), pick()];
      const world = twoHomes(a, b, seed, chance.fraction() * 0.2);
      const { alice, bob, network } = world;
      const outages = Array.from({ length: 4 }, () => {
        const from = chance.fraction() * 20_000;
        const ways = [[alice], [bob], [alice, bob]][chance.below(3)] ?? [];
        return { from, to: from + chance.fraction() * 9000, ways };
      });
      network.tap = (from) =>
        !outages.some(
          (outage) =>
            outage.from <= network.now &&
            network.now < outage.to &&
            outage.ways.some(({ addresses }) => addresses.includes(from)),
        );
      introduce(world, 1000);
      network.runUntil(60_000);
      network.conditions.loss = 0;
      network.runUntil(90_000);
      const states = [alice.agent?.state, bob.agent?.state];
      const why = `seed ${seed}: ${a} and ${b}, ${states.join(' and ')}`;
      expect(states[0] === 'connected', why).toBe(states[1] === 'connected');
      if (states[0] !== 'connected') continue;
      connected++;
      expectConnected(world, why);
    }
    expect(connected).toBeGreaterThan(150);
  });
});
