import { describe, expect, it } from 'vitest';
import { FirstFlight } from '../../../src/quic/first-flight.ts';

const DATAGRAM = Uint8Array.of(1, 2, 3);

/** When it was repeated until `end`, in ms since it was sent. */
function repeats(flight: FirstFlight, end: number): number[] {
  flight.sent(DATAGRAM, 0);
  const times: number[] = [];
  while (flight.repeatAt <= end) {
    const now = flight.repeatAt;
    expect(flight.due(now - 1)).toEqual([]);
    expect(flight.due(now).map((datagram) => [...datagram])).toEqual([[...DATAGRAM]]);
    times.push(now);
  }
  return times;
}

describe('a first flight', () => {
  it.each([
    ['that is carried, soon and then every 100 ms', 'dialer', true, [25, 75, 175, 275, 375]],
    ['to a server, every 250 ms', 'dialer', false, [250]],
    ['of the side that answers, never', 'acceptor', true, []],
  ] as const)('is repeated by the clock: one %s', (_what, role, carried, expected) => {
    expect(repeats(new FirstFlight(role, carried), 400)).toEqual(expected);
  });

  it('is forgotten once anything was heard', () => {
    const flight = new FirstFlight('dialer', true);
    flight.sent(DATAGRAM, 0);
    flight.end();
    expect(flight.repeatAt).toBe(Infinity);
    expect(flight.datagrams).toEqual([]);
  });
});
