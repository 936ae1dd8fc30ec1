import { describe, expect, it } from 'vitest';
import { negotiate, OWN_PROTOCOL } from '../../../src/rpc/protocol.ts';

const own = { lowestVersion: 2, highestVersion: 4, features: 0b110n, software: 'own' };
const remote = (lowestVersion: number, highestVersion: number, features = 0n) => ({
  lowestVersion,
  highestVersion,
  features,
  software: 'remote',
});

describe('negotiate', () => {
  it('takes the highest version both know and the features both have', () => {
    expect(negotiate(remote(1, 3, 0b011n), 'friend', own)).toEqual({
      agreement: { version: 3, features: 0b010n },
    });
  });

  it.each([
    [remote(1, 1), "update the friend's Chatty", 'the other is older than we can speak'],
    [remote(5, 6), 'update this Chatty', 'the other no longer speaks ours'],
  ])('says what to update when no version is common (%#: %s)', (other, sentence) => {
    const result = negotiate(other, 'friend', own);
    expect(result).toMatchObject({ fault: { code: 'CHATTY_VERSION' } });
    expect('fault' in result && result.fault.message).toContain(sentence);
  });

  it('refuses a range that is upside down', () => {
    expect(negotiate(remote(4, 3), 'friend', own)).toHaveProperty('fault');
  });

  it('takes a hello without a protocol as version 1', () => {
    expect(negotiate(undefined, 'friend', OWN_PROTOCOL)).toEqual({
      agreement: { version: 1, features: 0n },
    });
  });
});
