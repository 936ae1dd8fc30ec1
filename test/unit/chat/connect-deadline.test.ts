import { describe, expect, it } from 'vitest';
import { ConnectDeadline } from '../../../src/chat/connect-deadline.ts';

describe('--timeout', () => {
  it('says that no server answered exactly when it runs out', () => {
    const deadline = new ConnectDeadline(100, 2_000);
    expect(deadline.nextDeadline()).toBe(2_100);
    expect(deadline.expired(2_099)).toBeUndefined();
    expect(deadline.expired(2_100)).toBe('no-server');
  });

  it('says that no friend came where a server answered', () => {
    const deadline = new ConnectDeadline(0, 2_000);
    deadline.serverAnswered();
    expect(deadline.expired(1_999)).toBeUndefined();
    expect(deadline.expired(2_000)).toBe('no-friend');
  });

  it('may be longer than the time without one', () => {
    expect(new ConnectDeadline(0, 60_000).expired(59_999)).toBeUndefined();
  });

  it('bounds nothing after the first connection', () => {
    const deadline = new ConnectDeadline(0, 2_000);
    deadline.serverAnswered();
    deadline.connected();
    expect(deadline.nextDeadline()).toBeUndefined();
    expect(deadline.expired(1e9)).toBeUndefined();
  });
});

describe('without --timeout', () => {
  it('gives up after 15 s without a server', () => {
    const deadline = new ConnectDeadline(0, undefined);
    expect(deadline.expired(14_999)).toBeUndefined();
    expect(deadline.expired(15_000)).toBe('no-server');
  });

  it('waits for the friend for ever once a server has answered, whatever becomes of it', () => {
    const deadline = new ConnectDeadline(0, undefined);
    deadline.serverAnswered();
    expect(deadline.nextDeadline()).toBeUndefined();
    expect(deadline.expired(1e9)).toBeUndefined();
  });
});
