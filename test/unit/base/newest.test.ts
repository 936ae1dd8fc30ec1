import { expect, it } from 'vitest';
import { setNewest } from '../../../src/base/newest.ts';

it('keeps the entries that were set last, each once', () => {
  const map = new Map<string, number>();
  const set = (key: string, value: number): void => setNewest(map, key, value, 2);
  set('a', 1);
  set('b', 2);
  set('a', 3);
  expect([...map]).toEqual([
    ['b', 2],
    ['a', 3],
  ]);
  set('c', 4);
  expect([...map]).toEqual([
    ['a', 3],
    ['c', 4],
  ]);
});
