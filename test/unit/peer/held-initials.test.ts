import { describe, expect, it } from 'vitest';
import { HeldInitials } from '../../../src/peer/held-initials.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const from = (port: number): { host: string; port: number } => ({ host: '10.0.0.1', port });
const HERE = { host: '0.0.0.0', port: 4000 };
const datagram = Uint8Array.of(1, 2, 3);

function heldBy(clock = new VirtualClock()): { clock: VirtualClock; held: HeldInitials } {
  return { clock, held: new HeldInitials(clock) };
}

describe('held initials', () => {
  it('are there for 200 ms, once', () => {
    const { clock, held } = heldBy();
    held.hold(from(1), HERE, datagram, 1);
    clock.runUntil(199);
    expect(held.take()).toMatchObject([{ remote: from(1), datagram }]);
    expect(held.take()).toEqual([]);
    held.hold(from(1), HERE, datagram, 1);
    clock.runUntil(399);
    expect(held.take()).toEqual([]);
  });

  it('are copies: the buffer they came in is used again', () => {
    const { held } = heldBy();
    const buffer = Uint8Array.from(datagram);
    held.hold(from(1), HERE, buffer, 1);
    buffer.fill(0);
    expect(held.take()[0]?.datagram).toEqual(datagram);
  });

  it('are two a match, and none where nobody is matched', () => {
    const { held } = heldBy();
    held.hold(from(1), HERE, datagram, 0);
    expect(held.take()).toEqual([]);
    for (let port = 1; port <= 100; port++) held.hold(from(port), HERE, datagram, 3);
    expect(held.take()).toHaveLength(6);
  });

  it('are two from one address', () => {
    const { held } = heldBy();
    for (let round = 0; round < 10; round++) held.hold(from(1), HERE, datagram, 10);
    held.hold(from(2), HERE, datagram, 10);
    expect(held.take().map(({ remote }) => remote.port)).toEqual([1, 1, 2]);
  });

  it('make room when their time is over', () => {
    const { clock, held } = heldBy();
    held.hold(from(1), HERE, datagram, 1);
    held.hold(from(2), HERE, datagram, 1);
    held.hold(from(3), HERE, datagram, 1);
    clock.runUntil(200);
    held.hold(from(4), HERE, datagram, 1);
    expect(held.take().map(({ remote }) => remote.port)).toEqual([4]);
  });

  it('are forgotten when told so', () => {
    const { held } = heldBy();
    held.hold(from(1), HERE, datagram, 1);
    held.clear();
    expect(held.take()).toEqual([]);
  });
});
