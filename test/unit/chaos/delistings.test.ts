import { describe, expect, it } from 'vitest';
import { Delistings } from '../../chaos/delistings.ts';
import type { Fault } from '../../chaos/faults.ts';

const STARTED_AT = 1_000_000;

function fault(kind: 'kill' | 'pause' | 'terminate', at: number, until: number): Fault {
  return { kind, target: 'rv1', at, until };
}

/** What is found if the server was last seen on a list at `seen`, and again at `again`. */
function found(strike: Fault, seen: number, again = seen, others: readonly Fault[] = []) {
  const listed = { lastSeenAt: STARTED_AT };
  const delistings = new Delistings(() => listed);
  delistings.begins(strike, STARTED_AT + strike.at);
  listed.lastSeenAt = STARTED_AT + seen;
  delistings.ends(strike, STARTED_AT + strike.until);
  listed.lastSeenAt = STARTED_AT + again;
  return delistings.all([strike, ...others], STARTED_AT);
}

describe('the time until a server is off every list', () => {
  it('is from the kill to when it was last handed out', () => {
    expect(found(fault('kill', 20_000, 30_000), 24_000)).toEqual([
      { kind: 'kill', ms: 4_000, alone: true },
    ]);
  });

  it('is none for one that was off already', () => {
    expect(found(fault('kill', 20_000, 30_000), 19_000)).toMatchObject([{ ms: 0 }]);
  });

  it('does not count that a paused server is listed again once it goes on', () => {
    expect(found(fault('pause', 20_000, 33_000), 27_500, 60_000)).toEqual([
      { kind: 'pause', ms: 7_500, alone: true },
    ]);
  });

  it('is not known of one that went on before it had to be missed', () => {
    expect(found(fault('pause', 20_000, 24_000), 23_900, 60_000)).toEqual([]);
  });

  it('is all the pause for one that was not missed in time', () => {
    expect(found(fault('pause', 20_000, 33_000), 32_800, 60_000)).toMatchObject([{ ms: 13_000 }]);
  });

  it('says whether anything else was broken meanwhile', () => {
    const strike = fault('kill', 20_000, 30_000);
    const before: Fault = { kind: 'kill', target: 'lb1', at: 10_000, until: 19_000 };
    const during: Fault = { kind: 'cut', one: 'rv2', other: 'lb1', at: 22_000, until: 23_000 };
    expect(found(strike, 24_000, 24_000, [before])).toMatchObject([{ alone: true }]);
    expect(found(strike, 24_000, 24_000, [before, during])).toMatchObject([{ alone: false }]);
  });

  it('is not asked of one that leaves in good order', () => {
    expect(found(fault('terminate', 20_000, 30_000), 20_500)).toEqual([]);
  });
});
