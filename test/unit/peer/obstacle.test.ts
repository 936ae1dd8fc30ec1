import { describe, expect, it } from 'vitest';
import { type NetworkSide, obstacleBetween } from '../../../src/peer/obstacle.ts';

const OPEN: NetworkSide = { udpBlocked: false, mapping: 'endpoint-independent' };
const UNKNOWN: NetworkSide = { udpBlocked: false, mapping: undefined };
const SEQUENTIAL: NetworkSide = { udpBlocked: false, mapping: 'sequential' };
const RANDOM: NetworkSide = { udpBlocked: false, mapping: 'random' };
const NO_UDP: NetworkSide = { udpBlocked: true, mapping: undefined };

describe('what stands in the way of a direct path', () => {
  it.each([
    ['no UDP here', NO_UDP, RANDOM, 'own', 'no UDP'],
    ['no UDP there', OPEN, NO_UDP, 'friend', 'no UDP'],
    ['no UDP anywhere', NO_UDP, NO_UDP, 'both', 'no UDP'],
    ['random ports here', RANDOM, SEQUENTIAL, 'own', 'another port'],
    ['random ports on both sides', RANDOM, RANDOM, 'both', 'another port'],
    ['sequential ports there', UNKNOWN, SEQUENTIAL, 'friend', 'another port'],
    ['nothing that is known', OPEN, UNKNOWN, 'unknown', 'firewall'],
  ] as const)('%s', (_why, own, friend, whose, words) => {
    const obstacle = obstacleBetween(own, friend);
    expect(obstacle.whose).toBe(whose);
    expect(obstacle.reason).toContain(words);
    expect(obstacle.hint).not.toBe('');
  });
});
