import { describe, expect, it } from 'vitest';
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
