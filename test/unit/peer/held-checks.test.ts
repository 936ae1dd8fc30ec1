import { describe, expect, it } from 'vitest';
import { encodeServerProbe, parseStun, type StunMessage } from '../../../src/path/index.ts';
import { HeldChecks } from '../../../src/peer/held-checks.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const REMOTE = { host: '192.0.2.7', port: 40_000 };

function message(): StunMessage {
  const parsed = parseStun(encodeServerProbe(new Uint8Array(12)));
  if (parsed === undefined) throw new Error('not STUN');
  return parsed;
}

describe('checks that come before their match', () => {
  it('are given out once, to whom they are for', () => {
    const held = new HeldChecks(new VirtualClock());
    const check = message();
    held.hold('me:friend', check, REMOTE);
    expect(held.take('me:somebody')).toEqual([]);
    expect(held.take('me:friend')).toMatchObject([{ message: check, remote: REMOTE }]);
    expect(held.take('me:friend')).toEqual([]);
  });

  it('are forgotten after half a second', () => {
    const clock = new VirtualClock();
    const held = new HeldChecks(clock);
    held.hold('me:friend', message(), REMOTE);
    clock.runUntil(500);
    expect(held.take('me:friend')).toEqual([]);
  });

  it('are no more than 16, however many come, until some are forgotten', () => {
    const clock = new VirtualClock();
    const held = new HeldChecks(clock);
    for (let port = 1; port <= 40; port++) held.hold('me:flood', message(), { ...REMOTE, port });
    expect(held.take('me:flood')).toHaveLength(16);
    for (let port = 1; port <= 40; port++) held.hold('me:flood', message(), { ...REMOTE, port });
    clock.runUntil(500);
    held.hold('me:friend', message(), REMOTE);
    expect(held.take('me:friend')).toHaveLength(1);
  });
});
