import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../../src/base/address.ts';
import { CheckCodec, pairStateOf } from '../../../src/path/check-message.ts';
import { type PathInput } from '../../../src/path/path-events.ts';
import { mappedAddressOf, usernameOf } from '../../../src/path/stun.ts';
import {
  address,
  candidate,
  Harness,
  LAN,
  LOCAL,
  OWN,
  parsed,
  PUBLIC,
  REMOTE,
  type Sent,
  stateOf,
} from './agent-harness.ts';
describe('checking candidates', () => {
  it('sends to what servers observed first, IPv6 before IPv4, 5 ms apart', () => {
    const harness = new Harness([
      candidate('host', '192.168.1.7:7000'),
      candidate('host', '[fd00::7]:7000'),
      candidate('srflx', '198.51.100.7:7000'),
      candidate('srflx', '[2001:db8::7]:7000'),
      candidate('mapped', '198.51.100.7:7001'),
    ]);
    harness.runUntil(20);
    expect(harness.sent.map(({ at, to }) => `${at} ${to}`)).toEqual([
      '0 [2001:db8::7]:7000',
      '5 198.51.100.7:7000',
      '10 198.51.100.7:7001',
      '15 [fd00::7]:7000',
      '20 192.168.1.7:7000',
    ]);
  });

  it('repeats after 33, 66, … 2000 ms, in three rounds of 4 s, then gives up', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(60_000);
    const round = [0, 33, 99, 232, 498, 1031, 2097];
    const starts = [0, 4000, 8000];
    expect(harness.sent.map(({ at }) => at)).toEqual(
      starts.flatMap((start) => round.map((at) => start + at)),
    );
    expect(harness.events).toEqual([
      '4000 round-failed 1',
      '8000 round-failed 2',
      '12000 round-failed 3',
      '12000 failed',
    ]);
    expect(harness.agent.state).toBe('failed');
    expect(harness.agent.nextDeadline()).toBeUndefined();
  });

  it('makes each packet a transaction of its own', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(12_000);
    const ids = harness.sent.map(({ message }) =>
      Buffer.from(message.transactionId).toString('hex'),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('sends at most nine checks a candidate and round, however often the friend triggers one', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    for (let index = 0; index < 100; index++) {
      harness.runUntil(index * 30);
      harness.receive(harness.check({}, true), PUBLIC);
    }
    // Small ones are paid for by what the friend sent.
    const full = harness.checks().filter(({ message }) => message.raw.length > 150);
    expect(full).toHaveLength(9);
  });

  it('checks no more than 16 told and 16 learned addresses', () => {
    const many = Array.from({ length: 100 }, (_, index) =>
      candidate('srflx', `198.51.100.7:${2000 + index}`),
    );
    const harness = new Harness(many);
    harness.runUntil(4000);
    expect(new Set(harness.checks().map(({ to }) => to)).size).toBe(16);
    for (let index = 0; index < 300; index++) {
      harness.receive(harness.check(), `198.51.100.8:${2000 + index}`);
    }
    const learned = Array.from({ length: 300 }, (_, index) =>
      harness.agent.classOf(address(`198.51.100.8:${2000 + index}`)),
    );
    expect(learned.every((pathClass) => pathClass === undefined)).toBe(true);
    const before = harness.sent.length;
    harness.runUntil(4001);
    expect(harness.sent.length - before).toBeLessThanOrEqual(32);
  });

  it('stays within its budget when servers name ever new addresses', () => {
    const harness = new Harness([]);
    for (let index = 0; index < 600; index++) {
      harness.runUntil(index * 100);
      const candidates = Array.from({ length: 16 }, (_, last) =>
        candidate('srflx', `198.51.${index % 256}.${last}:${2000 + index}`),
      );
      harness.step({ type: 'remote-candidates', candidates, credentials: REMOTE });
    }
    // 432 at once and 5 a second.
    expect(harness.sent.length).toBeGreaterThan(432);
    expect(harness.sent.length).toBeLessThanOrEqual(432 + 5 * 60 + 1);
  });

  it('checks what is told later at once, and keeps what was told before', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(1100);
    const candidates = [candidate('host', LAN)];
    harness.step({ type: 'remote-candidates', candidates, credentials: REMOTE });
    harness.runUntil(4500);
    expect(harness.checks(LAN)[0]?.at).toBe(1100);
    expect(harness.checks(PUBLIC).at(-1)?.at).toBe(2097);
    harness.runUntil(6000);
    expect(harness.checks(PUBLIC).at(-1)?.at).toBeGreaterThan(5100);
  });

  it('leaves an address on the LAN that servers tell of no more, unless it answers', () => {
    const harness = new Harness([candidate('host', LAN), candidate('srflx', PUBLIC)]);
    harness.runUntil(100);
    harness.establish(LAN, true);
    harness.establish(PUBLIC);
    const best = (): string => formatAddress(harness.agent.selected()?.remote ?? address(PUBLIC));
    expect(best()).toBe(LAN);
    const tell = (...told: string[]): void => {
      const candidates = [candidate('srflx', PUBLIC), ...told.map((to) => candidate('host', to))];
      harness.step({ type: 'remote-candidates', candidates, credentials: REMOTE });
    };
    // Whoever has none to tell of may be a server that is told of none.
    tell();
    tell('192.168.1.99:7000', LAN);
    expect(best()).toBe(LAN);
    const before = harness.checks(LAN).length;
    tell('192.168.1.99:7000');
    tell('192.168.1.99:7000');
    expect(best()).toBe(PUBLIC);
    expect(harness.checks(LAN)).toHaveLength(before + 1);
    harness.receive(harness.answer(LAN, { answered: true, lan: true }), LAN);
    expect(best()).toBe(LAN);
  });

  it('starts rounds over no more often than every 5 s when told the same again', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(12_100);
    expect(harness.agent.state).toBe('failed');
    const again: PathInput = {
      type: 'remote-candidates',
      candidates: [candidate('srflx', PUBLIC)],
      credentials: REMOTE,
    };
    harness.step(again);
    expect(harness.agent.state).toBe('checking');
    harness.establish(PUBLIC);
    harness.runUntil(18_700);
    expect(harness.events.at(-1)).toBe('18610 all-lost');
  });
});

describe('a check from the friend', () => {
  it('is answered with the address it came from, and triggers a check back at once', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(500);
    harness.now = 600;
    harness.receive(harness.check(), PUBLIC);
    const [answer, check] = harness.sent.slice(-2);
    expect([answer?.at, answer?.to, answer?.message.kind]).toEqual([600, PUBLIC, 'success']);
    expect(mappedAddressOf(answer?.message ?? parsed(new Uint8Array()))).toEqual(address(PUBLIC));
    expect([check?.at, check?.to, check?.message.kind]).toEqual([600, PUBLIC, 'request']);
  });

  it('makes an unknown address a candidate, which gets no more bytes than came from it', () => {
    const harness = new Harness([]);
    harness.runUntil(100);
    for (const from of ['198.51.100.9:9000', '198.51.100.9:9001']) {
      const check = harness.check();
      harness.receive(check, from);
      harness.runUntil(harness.now + 3000);
      const sent = harness.sent.filter(({ to }) => to === from);
      expect(sent.map(({ message }) => message.kind)).toEqual(['success', 'request']);
      const bytes = sent.reduce((sum, { message }) => sum + message.raw.length, 0);
      expect(bytes).toBeLessThanOrEqual(check.length);
    }
    harness.establish('198.51.100.9:9001');
    expect(harness.agent.selected()).toMatchObject({ kind: 'prflx', pathClass: 'public' });
  });

  it.each([
    ['a well-known port', '198.51.100.9:53'],
    ['port 0', '198.51.100.9:0'],
    ['multicast', '224.0.0.1:9000'],
    ['loopback, while the friend is elsewhere', '127.0.0.1:9000'],
  ])('from %s is refused', (_what, from) => {
    const harness = new Harness([]);
    harness.runUntil(10);
    expect(harness.receive(harness.check(), from)).toEqual([]);
    expect(harness.agent.ignored.refused).toBe(1);
  });

  it('revives an agent that had given up', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(20_000);
    harness.receive(harness.check(), PUBLIC);
    harness.establish(PUBLIC);
    expect(harness.agent.state).toBe('connected');
  });
});

describe('credentials from the wire', () => {
  it('of any length make no check longer than a datagram may be', () => {
    const remote = { ufrag: 'é'.repeat(60_000), password: 'x'.repeat(60_000) };
    const harness = new Harness([candidate('srflx', PUBLIC)], { remote });
    harness.runUntil(4000);
    const lengths = harness.checks().map(({ message }) => message.raw.length);
    expect(Math.max(...lengths)).toBeLessThan(600);
  });
});

describe('a message that is not the friend’s', () => {
  const stranger = new CheckCodec({ ...REMOTE }, { ...LOCAL, password: 'not-the-password-at-all' });
  const id = new Uint8Array(12).fill(1);
  const state = { answered: true, pathClass: 'public', nomination: 0 } as const;

  it.each([
    [
      'a check under another password',
      'unauthenticated',
      () => stranger.encodeCheck(id, state, false),
    ],
    [
      'a check of another friend',
      'foreign',
      () => new CheckCodec({ ...REMOTE, ufrag: 'other' }, LOCAL).encodeCheck(id, state, false),
    ],
    [
      'our own check, sent back',
      'reflected',
      (harness: Harness) => harness.checks()[0]?.message.raw ?? new Uint8Array(),
    ],
    ['an answer to nothing', 'stale', () => stranger.encodeAnswer(id, OWN, state)],
    [
      'an answer under another password',
      'unauthenticated',
      (harness: Harness) =>
        new CheckCodec({ ...REMOTE, password: 'not-the-password-at-all' }, LOCAL).encodeAnswer(
          harness.checks()[0]?.message.transactionId ?? id,
          OWN,
          state,
        ),
    ],
  ] as const)('changes nothing: %s', (_what, reason, make) => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(50);
    expect(harness.receive(make(harness), PUBLIC)).toEqual([]);
    expect(harness.agent.ignored).toEqual({
      ...{ foreign: 0, unauthenticated: 0, reflected: 0, replayed: 0, stale: 0, refused: 0 },
      [reason]: 1,
    });
    expect(harness.agent.classOf(address(PUBLIC))).toBeUndefined();
  });

  it('changes nothing when it is a copy: of a check from elsewhere, of an answer', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(50);
    const check = harness.check();
    harness.receive(check, PUBLIC);
    const answer = harness.answer(PUBLIC);
    harness.receive(answer, PUBLIC);
    expect(harness.receive(check, PUBLIC)).toEqual([]);
    expect(harness.receive(check, '198.51.100.66:6666')).toEqual([]);
    expect(harness.receive(answer, PUBLIC)).toEqual([]);
    expect(harness.agent.ignored).toMatchObject({ replayed: 2, stale: 1 });
  });
});

describe('an answer', () => {
  it('makes a path, told to the friend in three more checks, checked when it says the same', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(20);
    harness.receive(harness.answer(PUBLIC), PUBLIC);
    expect(harness.events).toEqual([`20 answered ${PUBLIC}`, `20 selected ${PUBLIC}`]);
    expect(harness.agent.selected()).toEqual({
      via: 'udp',
      presumed: false,
      remote: address(PUBLIC),
      kind: 'srflx',
      pathClass: 'public',
      rttMs: 20,
      checkedAt: undefined,
      observed: OWN,
    });
    harness.now = 30;
    harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    harness.runUntil(500);
    expect(harness.events.slice(2)).toEqual([`30 checked ${PUBLIC}`]);
    expect(harness.agent.selected()?.checkedAt).toBe(30);
    const told = harness.checks().filter(({ message }) => pairStateOf(message).answered);
    expect(told.map(({ at }) => at)).toEqual([20, 53, 119]);
  });

  it('from an unexpected port leads to a check there, and counts when that is answered', () => {
    const elsewhere = '198.51.100.7:7777';
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(20);
    harness.receive(harness.answer(PUBLIC), elsewhere);
    expect(harness.agent.classOf(address(elsewhere))).toBeUndefined();
    expect(harness.checks(elsewhere).map(({ at }) => at)).toEqual([20]);
    harness.establish(elsewhere);
    expect(harness.agent.selected()?.remote).toEqual(address(elsewhere));
    expect(harness.agent.classOf(address(PUBLIC))).toBeUndefined();
  });

  it('after 6.5 s proves nothing any more', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(0);
    const answer = harness.answer(PUBLIC);
    harness.runUntil(6500);
    expect(harness.receive(answer, PUBLIC).filter(({ type }) => type !== 'send')).toEqual([]);
  });
});

describe('a checked path', () => {
  function connected(): Harness {
    const harness = new Harness([candidate('srflx', PUBLIC)]);
    harness.runUntil(0);
    harness.establish(PUBLIC, false, 10);
    harness.runUntil(200);
    harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    return harness;
  }

  it('is asked every 4 s, every 500 ms when it owes an answer, and lost after 6.5 s', () => {
    const harness = connected();
    harness.sent.length = 0;
    harness.events.length = 0;
    harness.runUntil(6750);
    expect(harness.sent.map(({ at }) => at).slice(0, 5)).toEqual([4200, 4700, 5200, 5700, 6200]);
    expect(harness.events).toEqual([`6700 lost ${PUBLIC}`, '6700 all-lost']);
    expect(harness.agent.selected()).toBeUndefined();
    expect(harness.agent.classOf(address(PUBLIC))).toBeUndefined();
    // Rounds start over at once: the last ones began more than 5 s ago.
    expect(harness.sent.map(({ at }) => at).slice(5)).toEqual([6700, 6733]);
  });

  it('is asked for two minutes whether it lives again, and then no more', () => {
    const harness = connected();
    harness.runUntil(600_000);
    const last = harness.checks().at(-1)?.at ?? 0;
    expect(last).toBeGreaterThan(120_000);
    expect(last).toBeLessThan(150_000);
    expect(harness.checks().length).toBeLessThan(60);
    expect(harness.agent.nextDeadline()).toBeUndefined();
  });

  it('is kept by answers alone: the friend’s checks do not count', () => {
    const harness = connected();
    for (let at = 300; at < 6700; at += 100) {
      harness.runUntil(at);
      harness.receive(harness.check({ answered: true }), PUBLIC);
    }
    harness.runUntil(6700);
    expect(harness.events.slice(-2)).toEqual([`6700 lost ${PUBLIC}`, '6700 all-lost']);
  });

  it('is asked on the occasion of the friend’s asking, when its own turn is near', () => {
    const harness = connected();
    harness.sent.length = 0;
    harness.runUntil(3000);
    harness.receive(harness.check({ answered: true }), PUBLIC);
    expect(harness.checks().map(({ at }) => at)).toEqual([3000]);
  });

  it('is asked at once when the network changes', () => {
    const harness = connected();
    harness.runUntil(1000);
    harness.sent.length = 0;
    harness.step({ type: 'network-changed' });
    expect(harness.checks(PUBLIC).map(({ at }) => at)).toEqual([1000]);
  });

  it('is not ended by a server that tells other credentials', () => {
    const harness = connected();
    const credentials = { ufrag: 'another', password: 'another-password-altogether' };
    harness.step({ type: 'remote-candidates', candidates: [], credentials });
    harness.runUntil(5300);
    harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    expect(harness.agent.state).toBe('connected');
    // Only when it is lost: the checks that follow are for those.
    harness.runUntil(12_000);
    const renewed = new CheckCodec(credentials, LOCAL);
    const last = harness.checks().at(-1)?.message;
    expect(last === undefined ? undefined : usernameOf(last)).toBe(renewed.incomingUsername);
  });

  it('is over when the agent is closed', () => {
    const harness = connected();
    expect(harness.step({ type: 'close' })).toEqual([]);
    expect(harness.agent.state).toBe('closed');
    expect(harness.agent.selected()).toBeUndefined();
    expect(harness.agent.nextDeadline()).toBeUndefined();
    expect(harness.receive(harness.check(), PUBLIC)).toEqual([]);
  });
});

describe('the selected path', () => {
  const V6 = '[2001:db8::7]:7000';
  const OTHER = '198.51.100.8:7000';

  /** Checked paths with these round-trip times, in this order. */
  function selectedAfter(paths: readonly (readonly [to: string, rttMs: number])[]): string {
    const harness = new Harness([
      candidate('srflx', PUBLIC),
      candidate('srflx', OTHER),
      candidate('srflx', V6),
      candidate('host', LAN),
    ]);
    for (const [turn, [to, rttMs]] of paths.entries()) {
      // The second path's answer is to the second check there, so that it comes later.
      harness.runUntil(15 + 35 * turn);
      const check = harness.checks(to)[turn];
      if (check === undefined) throw new Error(`nothing was sent to ${to}`);
      harness.runUntil(check.at + rttMs);
      const state = stateOf({ answered: true, lan: to === LAN });
      const answer = harness.friend.encodeAnswer(check.message.transactionId, OWN, state);
      harness.receive(answer, to);
    }
    const selected = harness.agent.selected();
    return selected === undefined ? 'none' : formatAddress(selected.remote);
  }

  it.each([
    [
      'a LAN comes before all else, however slow',
      [
        [PUBLIC, 20],
        [LAN, 90],
      ],
      LAN,
    ],
    [
      '… and is not left for a faster public one',
      [
        [LAN, 30],
        [PUBLIC, 31],
      ],
      LAN,
    ],
    [
      'the first stays when another is only 4 ms faster',
      [
        [PUBLIC, 34],
        [OTHER, 30],
      ],
      PUBLIC,
    ],
    [
      'one that is faster by more than 5 ms takes over',
      [
        [PUBLIC, 36],
        [OTHER, 30],
      ],
      OTHER,
    ],
    [
      'IPv6 counts as 3 ms faster',
      [
        [PUBLIC, 33],
        [V6, 30],
      ],
      V6,
    ],
    [
      '… and stays so much longer',
      [
        [V6, 37],
        [PUBLIC, 30],
      ],
      V6,
    ],
  ] as const)('%s', (_why, paths, expected) => {
    expect(selectedAfter(paths)).toBe(expected);
  });

  it('is a LAN only if both sides take it for one', () => {
    const harness = new Harness([candidate('host', LAN)]);
    harness.runUntil(0);
    harness.establish(LAN, false);
    expect(harness.agent.selected()?.pathClass).toBe('public');
    expect(harness.agent.classOf(address(LAN))).toBe('public');
  });

  it('gives way to the next best the moment it is lost', () => {
    const harness = new Harness([candidate('host', LAN), candidate('srflx', PUBLIC)]);
    harness.runUntil(5);
    harness.establish(LAN, true, 2);
    harness.establish(PUBLIC, false, 20);
    expect(harness.agent.selected()?.pathClass).toBe('lan');
    expect(harness.agent.selected('public')?.remote).toEqual(address(PUBLIC));
    for (let at = 1000; at <= 8000; at += 1000) {
      harness.runUntil(at);
      harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    }
    expect(harness.events.filter((event) => /lost|selected/.test(event)).slice(1)).toEqual([
      `6507 lost ${LAN}`,
      `6507 selected ${PUBLIC}`,
    ]);
    expect(harness.agent.selected('lan')).toBeUndefined();
  });
});

describe('nomination', () => {
  const OTHER = '198.51.100.8:7000';

  /** Two checked paths, the first in use. */
  function twoPaths(controlling: boolean): Harness {
    const candidates = [candidate('srflx', PUBLIC), candidate('srflx', OTHER)];
    const harness = new Harness(candidates, { controlling });
    harness.runUntil(5);
    harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    harness.receive(harness.answer(OTHER, { answered: true }), OTHER);
    harness.runUntil(1000);
    return harness;
  }

  const inUse = (harness: Harness): string | undefined => {
    const path = harness.agent.selected();
    return path && formatAddress(path.remote);
  };
  const numberIn = (sent: Sent | undefined): number | undefined =>
    sent && pairStateOf(sent.message).nomination;

  it('follows the first answer at once, and is repeated until the friend says that it knows', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)], { controlling: true });
    harness.runUntil(20);
    harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    harness.runUntil(2500);
    const nominating = harness.checks(PUBLIC).filter((sent) => numberIn(sent) === 20);
    expect(nominating.map(({ at }) => at)).toEqual([20, 53, 119, 252, 518, 1051, 2117]);
    harness.receive(harness.answer(PUBLIC, { answered: true, nomination: 20 }), PUBLIC);
    harness.sent.length = 0;
    harness.runUntil(6500);
    expect(harness.checks().map((sent) => [sent.at, numberIn(sent)])).toEqual([[6500, 20]]);
  });

  it('costs no packet more when the friend answers', () => {
    const harness = new Harness([candidate('srflx', PUBLIC)], { controlling: true });
    harness.runUntil(20);
    for (const at of [20, 30, 60, 130]) {
      harness.runUntil(at);
      harness.receive(harness.answer(PUBLIC, { answered: true, nomination: 20 }), PUBLIC);
    }
    harness.runUntil(4000);
    // The check that was answered and three more, as without it.
    expect(harness.checks().map(({ at }) => at)).toEqual([0, 20, 53, 119]);
  });

  it('moves with one check on the new path at once, under a higher number', () => {
    const harness = twoPaths(true);
    const before = numberIn(harness.checks(PUBLIC).at(-1));
    expect(numberIn(harness.checks(OTHER).at(-1))).toBe(0);
    harness.step({ type: 'network-changed' });
    harness.now = 1020;
    harness.receive(harness.answer(OTHER, { answered: true }), OTHER);
    expect(inUse(harness)).toBe(OTHER);
    const last = harness.checks(OTHER).at(-1);
    expect([last?.at, numberIn(last)]).toEqual([1020, 1020]);
    expect(before).toBe(5);
    harness.receive(harness.check(), PUBLIC);
    expect(numberIn(harness.sent.findLast(({ to }) => to === PUBLIC))).toBe(0);
  });

  it('is not waited for by the controlled side, which uses its own best path till then', () => {
    const harness = twoPaths(false);
    expect(inUse(harness)).toBe(PUBLIC);
    expect(harness.checks().every((sent) => numberIn(sent) === 0)).toBe(true);
  });

  it('is followed by the controlled side at once, by a check or an answer, and acknowledged', () => {
    const harness = twoPaths(false);
    harness.receive(harness.check({ answered: true, nomination: 7 }), OTHER);
    expect(inUse(harness)).toBe(OTHER);
    expect(harness.events.at(-1)).toBe(`1000 selected ${OTHER}`);
    expect(numberIn(harness.sent.at(-1))).toBe(7);
    harness.runUntil(4500);
    harness.receive(harness.answer(PUBLIC, { answered: true, nomination: 8 }), PUBLIC);
    expect(inUse(harness)).toBe(PUBLIC);
    harness.receive(harness.check({ answered: true }), OTHER);
    expect(numberIn(harness.sent.findLast(({ to }) => to === OTHER))).toBe(0);
  });

  it('that was overtaken on its way, or comes as a copy from elsewhere, changes nothing', () => {
    const harness = twoPaths(false);
    const copied = harness.check({ answered: true, nomination: 9 });
    harness.receive(copied, OTHER);
    harness.receive(copied, PUBLIC);
    expect(inUse(harness)).toBe(OTHER);
    harness.receive(harness.check({ answered: true, nomination: 8 }), PUBLIC);
    expect(inUse(harness)).toBe(OTHER);
  });

  it('of an address that has not answered waits until it does', () => {
    const elsewhere = '198.51.100.9:9000';
    const harness = twoPaths(false);
    harness.receive(harness.check({ answered: true, nomination: 7 }), elsewhere);
    expect(inUse(harness)).toBe(PUBLIC);
    harness.establish(elsewhere);
    expect(inUse(harness)).toBe(elsewhere);
  });

  it('counts as long as the path answers; then the next best does, until it answers again', () => {
    const harness = twoPaths(false);
    harness.receive(harness.check({ answered: true, nomination: 7 }), OTHER);
    for (let at = 2000; at <= 8000; at += 1000) {
      harness.runUntil(at);
      harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    }
    expect(harness.events.slice(-2)).toEqual([`6505 lost ${OTHER}`, `6505 selected ${PUBLIC}`]);
    harness.receive(harness.answer(OTHER, { answered: true }), OTHER);
    expect(inUse(harness)).toBe(OTHER);
  });

  it.each([true, false])(
    'alone keeps a path alive that is not among the best: %s',
    (isNominated) => {
      const addresses = Array.from({ length: 6 }, (_, index) => `198.51.100.7:${7000 + index}`);
      const harness = new Harness(addresses.map((text) => candidate('srflx', text)));
      harness.runUntil(30);
      // The later ones were asked later, so their round-trip times are shorter.
      for (const [index, to] of addresses.entries()) {
        harness.now = 30 + index;
        const id = harness.checks(to)[0]?.message.transactionId ?? new Uint8Array(12);
        harness.receive(harness.friend.encodeAnswer(id, OWN, stateOf({ answered: true })), to);
      }
      const [slowest = ''] = addresses;
      harness.runUntil(1000);
      if (isNominated) harness.receive(harness.check({ answered: true, nomination: 7 }), slowest);
      harness.sent.length = 0;
      harness.runUntil(6000);
      expect(harness.checks(slowest).length > 0).toBe(isNominated);
      expect(inUse(harness) === slowest).toBe(isNominated);
    },
  );

  it('in doubt gives way to what has answered since, and only to that', () => {
    const harness = twoPaths(false);
    harness.receive(harness.check({ answered: true, nomination: 7 }), OTHER);
    harness.step({ type: 'network-changed' });
    expect(inUse(harness)).toBe(OTHER);
    harness.receive(harness.answer(PUBLIC, { answered: true }), PUBLIC);
    expect(inUse(harness)).toBe(PUBLIC);
    harness.receive(harness.answer(OTHER, { answered: true }), OTHER);
    expect(inUse(harness)).toBe(OTHER);
  });

  it('is for the controlled side: the controlling one ignores what the friend claims', () => {
    const harness = twoPaths(true);
    harness.receive(harness.check({ answered: true, nomination: 2 ** 48 - 1 }), OTHER);
    expect(inUse(harness)).toBe(PUBLIC);
  });

  it('by a friend that started anew counts from the first number', () => {
    const harness = twoPaths(false);
    harness.receive(harness.check({ answered: true, nomination: 900 }), OTHER);
    const credentials = { ufrag: 'another', password: 'another-password-altogether' };
    harness.step({ type: 'remote-candidates', candidates: [], credentials });
    harness.runUntil(7000);
    const friend = new CheckCodec(credentials, LOCAL);
    const answer = (to: string, nomination: number): void => {
      const id = harness.checks(to).at(-1)?.message.transactionId ?? new Uint8Array(12);
      const told = stateOf({ answered: true, nomination });
      harness.receive(friend.encodeAnswer(id, OWN, told), to);
    };
    answer(OTHER, 0);
    answer(PUBLIC, 3);
    expect(inUse(harness)).toBe(PUBLIC);
  });
});
