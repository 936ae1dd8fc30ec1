import { describe, expect, it } from 'vitest';
import { RelayBinding, type RelayBindingInput } from '../../../src/path/relay-binding.ts';
import { readRelayFrame, type RelayFrame, relayProof } from '../../../src/path/relay-frame.ts';

const CHANNEL = '0123456789abcdef';
const KEY = Uint8Array.from({ length: 16 }, (_, index) => index);
const COOKIE = Uint8Array.from([9, 8, 7]);
const BOUND: RelayFrame = { type: 'bound', channel: CHANNEL, friendBound: false };

/** A binding whose server is the test. */
class Harness {
  readonly log: string[] = [];
  readonly binding: RelayBinding<string>;
  now = 0;

  constructor(routes: readonly string[] = ['v4', 'v6']) {
    this.binding = new RelayBinding({ channel: CHANNEL, key: KEY, routes }, 0);
  }

  step(input: RelayBindingInput<string>): void {
    for (const effect of this.binding.step(input, this.now)) {
      if (effect.type === 'send') {
        const frame = readRelayFrame(effect.datagram);
        if (frame?.type !== 'bind') throw new Error('only BIND is sent');
        expect(frame.proof).toEqual(Buffer.from(relayProof(KEY, CHANNEL, frame.cookie)));
        const cookie = frame.cookie === undefined ? '' : ' with cookie';
        this.log.push(`${this.now} bind ${effect.route}${cookie}`);
      } else this.log.push(`${this.now} ${effect.type}`);
    }
  }

  runUntil(end: number): void {
    for (let steps = 0; ; steps++) {
      const deadline = this.binding.nextDeadline();
      if (deadline === undefined || deadline > end) break;
      if (steps > 1000) throw new Error('deadlines make no progress');
      this.now = Math.max(this.now, deadline);
      this.step({ type: 'tick' });
    }
    this.now = end;
  }

  receive(frame: RelayFrame, route = 'v4'): void {
    this.step({ type: 'frame', frame, route });
  }
}

describe('binding to a relay', () => {
  it('asks on every way after 0, 50, 150, 350, 750 and 1,550 ms, and counts as open meanwhile', () => {
    const harness = new Harness();
    harness.runUntil(2999);
    expect(harness.log).toEqual([
      '0 bind v4',
      '0 bind v6',
      '0 opened',
      ...[50, 150, 350, 750, 1550].flatMap((at) => [`${at} bind v4`, `${at} bind v6`]),
    ]);
    expect(harness.binding.route).toBe('v4');
  });

  it('gives up after 3 s and asks again 5 s later', () => {
    const harness = new Harness(['v4']);
    harness.runUntil(1550);
    harness.log.length = 0;
    harness.runUntil(8000);
    expect(harness.log).toEqual(['3000 closed', '8000 bind v4', '8000 opened']);
  });

  it('takes the way on which the server answers, and renews it every 15 s', () => {
    const harness = new Harness();
    harness.runUntil(40);
    harness.receive(BOUND, 'v6');
    harness.log.length = 0;
    expect(harness.binding.route).toBe('v6');
    harness.runUntil(15_040);
    expect(harness.log).toEqual(['15040 bind v6']);
    harness.receive(BOUND, 'v6');
    harness.runUntil(30_040);
    expect(harness.log).toEqual(['15040 bind v6', '30040 bind v6']);
  });

  it('is known by the friend’s words as well as by the server’s', () => {
    const harness = new Harness();
    harness.runUntil(40);
    harness.receive({ type: 'data', channel: CHANNEL, payload: new Uint8Array(1) });
    harness.log.length = 0;
    harness.runUntil(15_000);
    expect(harness.log).toEqual([]);
  });

  it('tries every way again when the one it used is silent, and only then closes', () => {
    const harness = new Harness();
    harness.runUntil(0);
    harness.receive(BOUND, 'v6');
    harness.log.length = 0;
    harness.runUntil(21_000);
    expect(harness.log.filter((line) => !line.includes('bind'))).toEqual([
      '18000 closed',
      '18000 opened',
      '21000 closed',
    ]);
    expect(harness.log).toContain('18000 bind v4');
  });

  it('sends a challenge’s cookie back at once, whenever one comes, on the way it came', () => {
    const harness = new Harness();
    harness.runUntil(40);
    harness.receive({ type: 'challenge', channel: CHANNEL, cookie: COOKIE }, 'v6');
    expect(harness.log.at(-1)).toBe('40 bind v6 with cookie');
    harness.receive(BOUND, 'v6');
    harness.runUntil(5000);
    harness.receive({ type: 'challenge', channel: CHANNEL, cookie: COOKIE }, 'v4');
    expect(harness.log.at(-1)).toBe('5000 bind v4 with cookie');
  });

  it('answers no more than eight challenges a second', () => {
    const harness = new Harness();
    harness.runUntil(40);
    harness.log.length = 0;
    for (let index = 0; index < 100; index++) {
      harness.receive({ type: 'challenge', channel: CHANNEL, cookie: COOKIE });
    }
    expect(harness.log).toHaveLength(8);
  });

  it('says so when the friend’s side is there too', () => {
    const harness = new Harness();
    harness.runUntil(40);
    harness.receive(BOUND);
    harness.log.length = 0;
    harness.receive({ ...BOUND, friendBound: true });
    harness.receive({ ...BOUND, friendBound: true });
    expect(harness.log).toEqual(['40 opened']);
  });

  it('asks anew on every way, without cookies, when the network changes', () => {
    const harness = new Harness();
    harness.runUntil(40);
    harness.receive({ type: 'challenge', channel: CHANNEL, cookie: COOKIE });
    harness.receive(BOUND);
    harness.runUntil(5000);
    harness.log.length = 0;
    harness.step({ type: 'network-changed' });
    expect(harness.log).toEqual(['5000 bind v4', '5000 bind v6']);
    expect(harness.binding.route).toBe('v4');
  });

  it('rests while it is not wanted, and asks at once when it is again', () => {
    const harness = new Harness(['v4']);
    harness.runUntil(40);
    harness.receive(BOUND);
    harness.step({ type: 'wanted', wanted: false });
    harness.log.length = 0;
    harness.runUntil(100_000);
    expect(harness.log).toEqual([]);
    expect(harness.binding.nextDeadline()).toBeUndefined();
    harness.step({ type: 'wanted', wanted: true });
    expect(harness.log).toEqual(['100000 bind v4']);
  });

  it('tells what limit bites', () => {
    const harness = new Harness(['v4']);
    harness.runUntil(40);
    harness.receive({ type: 'limited', channel: CHANNEL, limit: 'rate' });
    expect(harness.log.at(-1)).toBe('40 limited');
  });

  it('has no way to a server it cannot reach', () => {
    const harness = new Harness([]);
    harness.runUntil(10_000);
    expect(harness.log).toEqual([]);
    expect(harness.binding.route).toBeUndefined();
  });
});
