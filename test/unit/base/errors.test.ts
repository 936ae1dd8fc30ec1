import { describe, expect, it } from 'vitest';
import { ChattyError, type ErrorCode, ERRORS, reasonOf } from '../../../src/base/errors.ts';

describe('exit codes', () => {
  // The contract: 64 wrong usage; 69 no server; 75 no friend; 77 refused; 78 bad configuration,
  // keys, ports or platform; 130 interrupted.
  it.each<[number, ErrorCode[]]>([
    [64, ['CHATTY_USAGE', 'CHATTY_MESSAGE_TOO_LONG', 'CHATTY_NOT_UTF8']],
    [69, ['CHATTY_NO_SERVER', 'CHATTY_PROTOCOL', 'CHATTY_TRANSPORT', 'CHATTY_OVERLOADED']],
    [75, ['CHATTY_NO_FRIEND']],
    [77, ['CHATTY_NAME_TAKEN', 'CHATTY_KEY_CHANGED', 'CHATTY_REPLACED', 'CHATTY_UNTRUSTED']],
    [
      78,
      [
        'CHATTY_CONFIG',
        'CHATTY_PLATFORM',
        'CHATTY_KEY_FILE',
        'CHATTY_PORT_IN_USE',
        'CHATTY_VERSION',
      ],
    ],
    [130, ['CHATTY_INTERRUPTED']],
  ])('%i: %j', (exit, codes) => {
    const found = Object.entries(ERRORS).filter(([, kind]) => kind.exit === exit);
    expect(found.map(([code]) => code).toSorted()).toEqual(codes.toSorted());
  });

  it('belong to the error itself', () => {
    expect(new ChattyError('CHATTY_KEY_CHANGED', 'x').exitCode).toBe(77);
  });
});

describe('errors', () => {
  it('travel as a status of gRPC that is no success', () => {
    for (const { grpcStatus } of Object.values(ERRORS)) {
      expect(Number.isInteger(grpcStatus) && grpcStatus >= 1 && grpcStatus <= 16).toBe(true);
    }
  });

  it('say whether a retry can help', () => {
    expect(new ChattyError('CHATTY_NO_SERVER', 'x').retry).toBe(true);
    expect(new ChattyError('CHATTY_KEY_CHANGED', 'x').retry).toBe(false);
  });

  it('carry what happened, what to try, and what it came from', () => {
    const cause = new Error('refused');
    const error = new ChattyError('CHATTY_TRANSPORT', 'no answer', { hint: 'Try again.', cause });
    expect(error).toMatchObject({ message: 'no answer', hint: 'Try again.', cause });
    expect(new ChattyError('CHATTY_TRANSPORT', 'no answer')).not.toHaveProperty('cause');
  });

  it('give their text, whatever was thrown', () => {
    expect([new Error('a'), 'b', 3, undefined].map(reasonOf)).toEqual(['a', 'b', '3', 'undefined']);
  });
});
