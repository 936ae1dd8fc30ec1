import { describe, expect, it } from 'vitest';
import { compareSessions, formatSession, isSessionId } from '../../../src/rpc/session-id.ts';
import type { SessionId } from '../../../src/rpc/generated/chatty/v1/common.ts';

const sessionOf = (startedAt: bigint, last = 0): SessionId => ({
  startedAt,
  nonce: Buffer.from([...Array<number>(15).fill(0), last]),
});

describe('session ids', () => {
  it('are ordered by their start, then by their bytes', () => {
    const inOrder = [
      sessionOf(0n),
      sessionOf(9n, 0xff),
      sessionOf(10n, 0x7f),
      sessionOf(10n, 0x80),
      sessionOf(2n ** 64n - 1n),
    ];
    for (const [i, a] of inOrder.entries()) {
      for (const [j, b] of inOrder.entries()) {
        expect(Math.sign(compareSessions(a, b))).toBe(Math.sign(i - j));
      }
    }
  });

  it('are keys that differ where they differ', () => {
    const keys = [sessionOf(1n), sessionOf(1n, 1), sessionOf(2n)].map(formatSession);
    expect(new Set(keys).size).toBe(3);
    expect(keys[1]).toBe('1-00000000000000000000000000000001');
  });

  it('have 128 random bits', () => {
    expect(isSessionId(sessionOf(1n))).toBe(true);
    for (const length of [0, 15, 17]) {
      expect(isSessionId({ startedAt: 1n, nonce: Buffer.alloc(length) })).toBe(false);
    }
    expect(isSessionId(undefined)).toBe(false);
  });
});
