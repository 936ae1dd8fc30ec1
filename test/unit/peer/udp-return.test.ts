import { describe, expect, it } from 'vitest';
import { type Address, formatAddress } from '../../../src/base/address.ts';
import { UdpReturn } from '../../../src/peer/udp-return.ts';
import { addressToWire } from '../../../src/rpc/wire-address.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const ADDRESSES: readonly Address[] = [
  { host: '203.0.113.1', port: 4433 },
  { host: '203.0.113.1', port: 443 },
];

/** A peer that reached one server by tunnel only. */
class Subject {
  readonly clock = new VirtualClock();
  readonly asked: string[] = [];
  readonly over = new AbortController();
  readonly line = {
    server: { id: 'a', addresses: ADDRESSES.map(addressToWire), certificate: Buffer.alloc(0) },
  };
  readonly ended: Promise<void>;
  answers = false;
  stands = true;
  returns = 0;

  constructor() {
    const udpReturn = new UdpReturn<typeof this.line>({
      clock: this.clock,
      signal: this.over.signal,
      stands: () => this.stands,
      observe: (remote) => {
        this.asked.push(`${this.clock.now()} ${formatAddress(remote)}`);
        return Promise.resolve(this.answers && remote.port === 443 ? {} : undefined);
      },
      answered: () => (this.returns += 1),
    });
    this.ended = udpReturn.watch(this.line);
  }

  /** Lets the clock go on, in steps after each of which promises settle. */
  async goOn(ms: number): Promise<void> {
    for (let step = 0; step < ms; step += 500) {
      this.clock.runUntil(this.clock.now() + 500);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('a server that only a tunnel led to', () => {
  it('is asked by UDP at every address, soon and then ever more seldom', async () => {
    const subject = new Subject();
    const begin = subject.clock.now();
    await subject.goOn(152_000);
    const times = [...new Set(subject.asked.map((asked) => Number(asked.split(' ')[0]) - begin))];
    expect(times).toEqual([1_000, 4_000, 12_000, 32_000, 92_000, 152_000]);
    expect(subject.asked).toHaveLength(2 * times.length);
    expect(subject.returns).toBe(0);
  });

  it('is registered on anew once any of its addresses answers', async () => {
    const subject = new Subject();
    subject.answers = true;
    await subject.goOn(1_000);
    expect(subject.returns).toBe(1);
  });

  it('is tried again where that did not help', async () => {
    const subject = new Subject();
    subject.answers = true;
    await subject.goOn(4_000);
    expect(subject.returns).toBe(2);
  });

  it.each([
    ['is left', (subject: Subject) => (subject.stands = false)],
    ['belongs to a peer that closes', (subject: Subject) => subject.over.abort()],
  ])('is not asked any more when it %s', async (_how, end) => {
    const subject = new Subject();
    await subject.goOn(1_000);
    const { length } = subject.asked;
    end(subject);
    await subject.goOn(100_000);
    await subject.ended;
    expect(subject.asked).toHaveLength(length);
  });
});
