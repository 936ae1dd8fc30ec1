import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { type Fault, planFaults } from '../../chaos/faults.ts';

const SEEDS = Array.from({ length: 200 }, (_, seed) => seed);
const [FROM, UNTIL] = [15_000, 120_000];
const plan = (seed: number): Fault[] => planFaults(seededRandom(seed), FROM, UNTIL);
const keyOf = (fault: Fault): string =>
  fault.kind === 'cut' ? [fault.one, fault.other].sort().join('|') : fault.target;

describe('the faults of a chaos run', () => {
  it('are the same for the same seed, and others for another', () => {
    expect(plan(7)).toEqual(plan(7));
    expect(plan(7)).not.toEqual(plan(8));
  });

  it('begin after the calm, and end with the run', () => {
    for (const { at, until } of SEEDS.flatMap(plan)) {
      expect(at).toBeGreaterThanOrEqual(FROM);
      expect(until).toBeGreaterThan(at);
      expect(until).toBeLessThanOrEqual(UNTIL);
    }
  });

  it('strike no process and no link that is still down', () => {
    for (const seed of SEEDS) {
      const freeAt = new Map<string, number>();
      for (const fault of plan(seed)) {
        expect(fault.at, `seed ${seed}`).toBeGreaterThan(freeAt.get(keyOf(fault)) ?? 0);
        freeAt.set(keyOf(fault), fault.until);
      }
    }
  });

  it('are, over many seeds, of every kind against everybody they can strike', () => {
    const seen = SEEDS.flatMap(plan).map((fault) => `${fault.kind} ${keyOf(fault)}`);
    // Three blows to each of five daemons; three links among servers, and three to each other host.
    expect(new Set(seen).size).toBe(3 * 5 + 3 + 3 * 2 + 3 * 2);
  });

  it('never cut somebody off from itself', () => {
    const cuts = SEEDS.flatMap(plan).filter((fault) => fault.kind === 'cut');
    expect(cuts.filter(({ one, other }) => one === other)).toEqual([]);
  });
});
