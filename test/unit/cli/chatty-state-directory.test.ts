import { describe, expect, it } from 'vitest';
import { defaultStateDirectory } from '../../../src/cli/state-directory.ts';

describe('the default state directory', () => {
  it.each<[Record<string, string>, string, string]>([
    [{ XDG_DATA_HOME: '/data' }, '/data/chatty', 'the folder the user has set'],
    [{}, '/home/u/.local/share/chatty', 'the default of the specification'],
    [{ XDG_DATA_HOME: '' }, '/home/u/.local/share/chatty', 'empty counts as unset'],
    [{ XDG_DATA_HOME: 'data' }, '/home/u/.local/share/chatty', 'relative paths are invalid'],
  ])('for %j is %s: %s', (env, directory) => {
    expect(defaultStateDirectory(env, '/home/u')).toBe(directory);
  });
});
