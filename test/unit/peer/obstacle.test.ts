import { describe, expect, it } from 'vitest';
import { type NetworkSide, obstacleBetween } from '../../../src/peer/obstacle.ts';

const UNKNOWN: NetworkSide = {
  ...{ udpBlocked: false, mapping: undefined, only443: false, outerHost: undefined },
};
const OPEN: NetworkSide = {
  ...UNKNOWN,
  mapping: 'endpoint-independent',
  outerHost: '203.0.113.1',
};
const ELSEWHERE: NetworkSide = { ...OPEN, outerHost: '203.0.113.2' };
const STRICT: NetworkSide = { ...ELSEWHERE, only443: true };
const SEQUENTIAL: NetworkSide = { ...UNKNOWN, mapping: 'sequential' };
const RANDOM: NetworkSide = { ...UNKNOWN, mapping: 'random' };
const NO_UDP: NetworkSide = { ...UNKNOWN, udpBlocked: true };

describe('what stands in the way of a direct path', () => {
  it.each([
    ['no UDP here', NO_UDP, RANDOM, 'own', 'no UDP'],
    ['no UDP there', OPEN, NO_UDP, 'friend', 'no UDP'],
    ['no UDP anywhere', NO_UDP, NO_UDP, 'both', 'no UDP'],
    ['only port 443 here', STRICT, OPEN, 'own', 'to port 443 only'],
    ['only port 443 there, and random ports here', RANDOM, STRICT, 'friend', 'to port 443 only'],
    ['only port 443 here, and no UDP there', STRICT, NO_UDP, 'friend', 'no UDP'],
    ['only port 443 at both', STRICT, { ...OPEN, only443: true }, 'both', 'to port 443 only'],
    ['one router that they share', OPEN, OPEN, 'both', 'behind one router'],
    ['only port 443, at one router that they share', STRICT, STRICT, 'both', 'to port 443 only'],
    ['random ports here', RANDOM, SEQUENTIAL, 'own', 'another port'],
    ['random ports on both sides', RANDOM, RANDOM, 'both', 'another port'],
    ['sequential ports there', UNKNOWN, SEQUENTIAL, 'friend', 'another port'],
    ['nothing that is known of two routers', OPEN, ELSEWHERE, 'unknown', 'firewall'],
    ['nothing that is known', OPEN, UNKNOWN, 'unknown', 'firewall'],
  ] as const)('%s', (_why, own, friend, whose, words) => {
    const obstacle = obstacleBetween(own, friend);
    expect(obstacle.whose).toBe(whose);
    expect(obstacle.reason).toContain(words);
    expect(obstacle.hint).not.toBe('');
  });
});
