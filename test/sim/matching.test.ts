import { describe, expect, it } from 'vitest';
import { type Kind, runCluster } from './cluster-run.ts';

const SEEDS = 100;

function seeds(name: string, kinds: readonly Kind[]): void {
  it(`${name} (${SEEDS} seeds)`, { timeout: 120_000 }, () => {
    let matches = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { world, faults } = runCluster(seed, { kinds });
      matches += world.matches;
      const trace = faults.length === 0 ? '' : world.network.trace.slice(-400).join('\n');
      expect(faults, `seed ${seed}\n${trace}`).toEqual([]);
    }
    // Else the simulation would prove nothing.
    expect(matches).toBeGreaterThan(SEEDS);
  });
}

describe('servers with delays between them', () => {
  seeds('match all who name each other, and disclose nothing else', []);
  seeds('do so while servers crash and start', ['crashes', 'restarts']);
  seeds('do so after partitions between them have healed', ['crashes', 'partitions', 'balancers']);
  seeds('do so while strangers take names', ['crashes', 'partitions', 'balancers', 'squatters']);
});
