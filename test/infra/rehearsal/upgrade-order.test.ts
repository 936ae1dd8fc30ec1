import { expect, test } from 'vitest';
import { disorder, type Generation } from './upgrade-order.ts';

const GENERATIONS: Generation[] = [
  { role: 'server', old: ['s1'], new: ['s2'] },
  { role: 'balancer', old: ['b1'], new: ['b2'] },
];
const GOOD = [
  'gate passed s2',
  'gate passed b2',
  'ec2 AssociateAddress b2',
  'ec2 TerminateInstances s1',
  'ec2 TerminateInstances b1',
];

test('has nothing against new hosts that serve before old ones end', () => {
  expect(disorder(events(GOOD), GENERATIONS)).toEqual([]);
});

test.each([
  ['the old server s1 was ended before the new s2 was ready', [3, 0, 1, 2, 4]],
  ['an address moved to b2 before that was ready', [0, 2, 1, 3, 4]],
  ['the old balancer b1 was ended before the addresses had moved', [0, 1, 3, 4, 2]],
  ['the gate of s2 was never passed', [1, 2, 3, 4]],
  ['the old server s1 was never ended', [0, 1, 2, 4]],
])('complains: %s', (words, order) => {
  expect(disorder(events(order.map((index) => GOOD[index] ?? '')), GENERATIONS)).toContain(words);
});

function events(lines: readonly string[]) {
  return lines.map((line, at) => {
    const words = line.split(' ');
    return { at, event: words.slice(0, -1).join(' '), subject: words.at(-1) ?? '', detail: '' };
  });
}
