import { describe, expect, it } from 'vitest';
import { type Address, formatAddress } from '../../../src/base/address.ts';
import { pairStateOf } from '../../../src/path/check-message.ts';
import { relayAddress } from '../../../src/path/relay-address.ts';
import { candidate, Harness, PUBLIC } from './agent-harness.ts';

const RELAY: Address = relayAddress(0);
const BY_RELAY = formatAddress(RELAY);

function inUse(harness: Harness): string {
  const path = harness.agent.selected();
  return path === undefined ? 'none' : formatAddress(path.remote);
}

/** A relay opened at 0, beside a public candidate that has not answered. */
function opened(controlling = false): Harness {
  const harness = new Harness([candidate('srflx', PUBLIC)], { controlling });
  harness.step({ type: 'relay-opened', remote: RELAY });
  return harness;
}

/** … whose friend answers on it, and says that it has had answers too. */
function checkedRelay(): Harness {
  const harness = opened();
  harness.runUntil(20);
  harness.establish(BY_RELAY, false, 80);
  return harness;
}

describe('a relay', () => {
  it('is used from the moment it is there, and checked', () => {
    const harness = opened();
    expect(harness.events).toEqual([`0 selected ${BY_RELAY}`]);
    expect(harness.agent.selected()).toMatchObject({
      via: 'relay',
      kind: 'relay',
      pathClass: 'relay',
      checkedAt: undefined,
    });
    expect(harness.agent.state).toBe('connected');
    harness.runUntil(10);
    expect(harness.checks(BY_RELAY)).toHaveLength(1);
  });

  it('tells the friend its class', () => {
    const harness = opened();
    harness.runUntil(10);
    const [check] = harness.checks(BY_RELAY);
    if (check === undefined) throw new Error('nothing was sent');
    expect(pairStateOf(check.message).pathClass).toBe('relay');
  });

  it('nobody answers on is given up after 6.5 s, though it is asked on', () => {
    const harness = opened();
    harness.runUntil(6500);
    expect(harness.events).toContain(`6500 lost ${BY_RELAY}`);
    expect(inUse(harness)).toBe('none');
    harness.sent.length = 0;
    harness.runUntil(20_000);
    expect(harness.checks(BY_RELAY).length).toBeGreaterThan(3);
  });

  it('once given up is not believed again before the friend answers', () => {
    const harness = checkedRelay();
    harness.runUntil(6700);
    expect(inUse(harness)).toBe('none');
    harness.step({ type: 'relay-opened', remote: RELAY });
    expect(inUse(harness)).toBe('none');
    harness.runUntil(6800);
    harness.establish(BY_RELAY);
    expect(inUse(harness)).toBe(BY_RELAY);
  });

  it('is what the friend’s packets may come on from the start', () => {
    const harness = opened();
    expect(harness.agent.classOf(RELAY)).toBe('relay');
    harness.step({ type: 'relay-closed', remote: RELAY });
    expect(harness.agent.classOf(RELAY)).toBeUndefined();
  });

  it('gives way to a direct path as soon as both sides know that one works', () => {
    const harness = checkedRelay();
    harness.now = 120;
    harness.receive(harness.answer(PUBLIC), PUBLIC);
    // The friend has had no answer there: what is sent may be dropped.
    expect(inUse(harness)).toBe(BY_RELAY);
    harness.receive(harness.check({ answered: true }), PUBLIC);
    expect(inUse(harness)).toBe(PUBLIC);
    expect(harness.agent.selected('relay')?.remote).toEqual(RELAY);
  });

  it('that is only presumed gives way to whatever has answered', () => {
    const harness = opened();
    harness.runUntil(20);
    harness.receive(harness.answer(PUBLIC), PUBLIC);
    expect(inUse(harness)).toBe(PUBLIC);
  });

  it('is kept alive while there is nothing better, and rests then', () => {
    const harness = checkedRelay();
    for (let at = 1000; at <= 12_000; at += 1000) {
      harness.runUntil(at);
      harness.receive(harness.answer(BY_RELAY, { answered: true }), BY_RELAY);
    }
    expect(harness.checks(BY_RELAY).filter(({ at }) => at > 9000).length).toBeGreaterThan(0);
    harness.receive(harness.check(), PUBLIC);
    harness.runUntil(12_100);
    harness.establish(PUBLIC);
    harness.sent.length = 0;
    for (let at = 13_000; at <= 60_000; at += 1000) {
      harness.runUntil(at);
      harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    }
    expect(harness.checks(BY_RELAY)).toEqual([]);
    expect(inUse(harness)).toBe(PUBLIC);
  });

  it('that rests is asked at once when the direct path is lost, and stands in for it', () => {
    const harness = checkedRelay();
    harness.establish(PUBLIC);
    harness.runUntil(10_000);
    const lost = harness.events.find((event) => event.endsWith('all-lost'));
    const at = Number(lost?.split(' ')[0]);
    expect(harness.checks(BY_RELAY).map((sent) => sent.at)).toContain(at);
    harness.establish(BY_RELAY);
    expect(inUse(harness)).toBe(BY_RELAY);
  });

  it('that has answered since a change of network comes before a direct path in doubt', () => {
    const harness = checkedRelay();
    harness.establish(PUBLIC);
    expect(inUse(harness)).toBe(PUBLIC);
    harness.step({ type: 'network-changed' });
    expect(inUse(harness)).toBe(PUBLIC);
    harness.runUntil(harness.now + 5);
    harness.establish(BY_RELAY);
    expect(inUse(harness)).toBe(BY_RELAY);
    harness.establish(PUBLIC);
    expect(inUse(harness)).toBe(PUBLIC);
  });

  it('does not end the search for a direct path: three rounds, then again after 10, 20, … 60 s', () => {
    const harness = checkedRelay();
    for (let at = 500; at <= 240_000; at += 500) {
      harness.runUntil(at);
      harness.receive(harness.answer(BY_RELAY, { answered: true }), BY_RELAY);
    }
    const failures = harness.events.filter((event) => event.endsWith('failed'));
    const at = failures.map((event) => Number(event.split(' ')[0]));
    expect(at).toEqual([12_000, 34_000, 66_000, 118_000, 190_000]);
    expect(harness.checks(PUBLIC).filter((sent) => sent.at > 12_000 && sent.at < 22_000)).toEqual(
      [],
    );
  });

  it('that the server closes is lost at once', () => {
    const harness = checkedRelay();
    harness.step({ type: 'relay-closed', remote: RELAY });
    expect(harness.events.slice(-2)).toEqual([
      `${harness.now} lost ${BY_RELAY}`,
      `${harness.now} all-lost`,
    ]);
  });

  it('is nominated only once the friend has answered on it', () => {
    const harness = opened(true);
    harness.runUntil(20);
    const numbers = (): number[] =>
      harness.checks(BY_RELAY).map(({ message }) => pairStateOf(message).nomination);
    expect(numbers().every((number) => number === 0)).toBe(true);
    harness.establish(BY_RELAY, false, 80);
    harness.runUntil(110);
    expect(numbers().at(-1)).toBeGreaterThan(0);
  });

  it('is no address that packets can come from, nor one a server can tell of', () => {
    const harness = new Harness([{ kind: 'srflx', address: RELAY }]);
    harness.step({ type: 'relay-opened', remote: { host: '198.51.100.9', port: 9000 } });
    harness.runUntil(5000);
    expect(harness.sent).toEqual([]);
    harness.receive(harness.check(), BY_RELAY);
    expect(harness.sent).toEqual([]);
    expect(harness.agent.ignored.refused).toBe(1);
  });

  it('is one of four at most', () => {
    const harness = new Harness([]);
    for (let index = 0; index < 10; index++) {
      harness.step({ type: 'relay-opened', remote: relayAddress(index) });
    }
    harness.runUntil(100);
    expect(new Set(harness.checks().map(({ to }) => to)).size).toBe(4);
  });
});
