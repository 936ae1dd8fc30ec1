import { describe, expect, it } from 'vitest';
import { CELLS } from './cells.ts';
import { expectationOf } from './expectation.ts';
import { modelOf, ROUTER_TYPES } from './router-types.ts';

const outcomes = CELLS.map((cell) => ({ cell, expectation: expectationOf(cell) }));

describe('what is expected of the laboratory', () => {
  it('is about 66 pairs and 6 layouts, each once', () => {
    expect(CELLS).toHaveLength(72);
    expect(new Set(CELLS.map(({ name }) => name)).size).toBe(72);
  });

  it('is direct in 45 of them, and relayed in 27', () => {
    const direct = outcomes.filter(({ expectation }) => expectation.outcome === 'direct');
    expect(direct).toHaveLength(45);
    expect(direct.filter(({ cell }) => cell.a !== cell.b || cell.together === 'apart').length).toBe(
      42,
    );
  });

  it('has a reason for each, and somebody to blame where it is relayed', () => {
    for (const { cell, expectation } of outcomes) {
      expect(expectation.reason, cell.name).not.toBe('');
      expect(expectation.blame !== undefined, cell.name).toBe(expectation.outcome === 'relayed');
    }
  });

  it.each([
    ['public × symmetric-random', 'direct', []],
    ['eim-adf × symmetric-random', 'direct', []],
    ['eim-apdf × symmetric-random', 'direct', ['random-ports']],
    ['masquerade × symmetric-sequential', 'direct', ['sequential-ports']],
    ['symmetric-sequential × symmetric-sequential', 'direct', ['sequential-ports']],
    ['symmetric-sequential × symmetric-random', 'relayed', ['relay']],
    ['symmetric-random × symmetric-random', 'relayed', ['relay']],
    ['symmetric-random × ipv6-firewall', 'relayed', ['relay']],
    ['ipv6-firewall × ipv6-firewall', 'direct', []],
    ['public × udp-443', 'relayed', ['relay', 'blame']],
    ['udp-443 × no-udp', 'relayed', ['relay', 'tunnel']],
    ['two sites, one subnet', 'direct', []],
    ['isolated LAN behind masquerade', 'relayed', ['relay', 'blame']],
    ['isolated LAN behind EIM', 'direct', []],
    ['two homes, one CGN with hairpin', 'direct', []],
    ['two homes, one CGN without', 'relayed', ['relay', 'blame']],
  ] as const)('%s: %s', (name, outcome, needs) => {
    const found = outcomes.find(({ cell }) => cell.name === name);
    expect(found?.expectation).toMatchObject({ outcome, needs });
  });

  it('tells the networks apart: no two claim to do the same', () => {
    const claims = ROUTER_TYPES.map((type) => JSON.stringify(modelOf(type).claim));
    expect(new Set(claims).size).toBe(ROUTER_TYPES.length);
  });
});
