import { describe, expect, it } from 'vitest';
import { peerStreamError, platformError } from '../../../src/quic/native.ts';

describe('a platform without the QUIC library', () => {
  it('is named, with those that have it, and ends the program as bad configuration', () => {
    const error = platformError('linux', 'arm64', new Error('no such file'));
    expect(error).toMatchObject({ code: 'CHATTY_PLATFORM', exitCode: 78 });
    expect(error.message).toBe('there is no QUIC library for linux-arm64');
    expect(error.hint).toContain('linux-x64, darwin-x64, darwin-arm64, win32-x64');
  });

  it('is not one whose library only failed to load', () => {
    const error = platformError('linux', 'x64', new Error('GLIBC_2.28 not found'));
    expect(error.message).toBe('the QUIC library for linux-x64 did not load: GLIBC_2.28 not found');
  });
});

describe('an error of a stream', () => {
  it.each([
    ['StreamReset(7)', { kind: 'reset', code: 7 }],
    ['StreamStopped(0)', { kind: 'stopped', code: 0 }],
    ['InvalidStreamState(4)', undefined],
    ['StreamReset()', undefined],
  ])('%s is told apart', (message, expected) => {
    expect(peerStreamError(new Error(message))).toEqual(expected);
  });
});
