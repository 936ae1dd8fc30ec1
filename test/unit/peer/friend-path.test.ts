import { describe, expect, it } from 'vitest';
import { type Address, sameAddress } from '../../../src/base/address.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { parseStun, PathAgent, relayAddress } from '../../../src/path/index.ts';
import { FriendPath } from '../../../src/peer/friend-path.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const ALICE = { ufrag: 'alicefrag', password: 'the-password-of-alice-1' };
const BOB = { ufrag: 'bobfrag12', password: 'the-password-of-bob-123' };
const AT_ALICE: readonly Address[] = [
  { host: '192.0.2.1', port: 4001 },
  { host: '2001:db8::1', port: 4001 },
];
const AT_BOB: readonly Address[] = [
  { host: '192.0.2.2', port: 4002 },
  { host: '2001:db8::2', port: 4002 },
];

interface Side {
  readonly path: FriendPath;
  readonly events: string[];
  /** When the path in use was in doubt. */
  readonly doubts: number[];
}

/** Two shells on one clock, 20 ms apart, whose datagrams `passes` may hold up. */
class Pair {
  readonly clock = new VirtualClock();
  passes: (to: Address) => boolean = () => true;
  readonly alice: Side;
  readonly bob: Side;

  constructor() {
    this.alice = this.#side(AT_ALICE, AT_BOB, true);
    this.bob = this.#side(AT_BOB, AT_ALICE, false);
  }

  #side(own: readonly Address[], friend: readonly Address[], controlling: boolean): Side {
    const events: string[] = [];
    const doubts: number[] = [];
    const [local, remote] = controlling ? [ALICE, BOB] : [BOB, ALICE];
    const agent = new PathAgent(
      {
        local,
        remote,
        controlling,
        remoteCandidates: friend.map((address) => ({ kind: 'srflx', address })),
        families: new Set([4, 6] as const),
        onLoopback: false,
        random: seededRandom(controlling ? 1 : 2),
      },
      this.clock.now(),
    );
    const path = new FriendPath({
      agent,
      clock: this.clock,
      send: (datagram, to) => this.#carry(datagram, to, own, controlling),
      events: {
        ready: () => events.push('ready'),
        lost: () => events.push('lost'),
        doubted: () => doubts.push(this.clock.now()),
        opened: () => undefined,
        selected: () => undefined,
      },
      onClose: () => undefined,
    });
    return { path, events, doubts };
  }

  #carry(datagram: Uint8Array, to: Address, own: readonly Address[], fromAlice: boolean): boolean {
    const index = (fromAlice ? AT_BOB : AT_ALICE).findIndex((address) => sameAddress(address, to));
    const from = own[index];
    const message = parseStun(datagram.slice());
    if (from === undefined || message === undefined || !this.passes(to)) return false;
    this.clock.setTimer(20, () => {
      (fromAlice ? this.bob : this.alice).path.step({ type: 'stun', message, remote: from });
    });
    return true;
  }

  runFor(ms: number): void {
    this.clock.runUntil(this.clock.now() + ms);
  }
}

describe('the paths to a friend', () => {
  it('are ready once, however often they are asked for', () => {
    const pair = new Pair();
    pair.runFor(10_000);
    pair.alice.path.step({ type: 'network-changed' });
    pair.runFor(10_000);
    expect(pair.alice.events).toEqual(['ready']);
    expect(pair.bob.events).toEqual(['ready']);
  });

  it('have one best at both sides again after one side has left it for another', () => {
    const pair = new Pair();
    pair.runFor(1000);
    const [ours, theirs] = [pair.alice.path.best?.remote, pair.bob.path.best?.remote];
    // Bob doubts all paths, and the one in use is the last to answer.
    pair.passes = (to) => to.host !== theirs?.host || pair.clock.now() > 1100;
    pair.bob.path.step({ type: 'network-changed' });
    pair.runFor(90);
    expect(pair.bob.path.best?.remote).not.toEqual(theirs);
    pair.runFor(500);
    expect(pair.alice.path.best?.remote).toEqual(ours);
    expect(pair.bob.path.best?.remote).toEqual(theirs);
    expect([pair.alice.events, pair.bob.events]).toEqual([['ready'], ['ready']]);
  });

  it('that none of three rounds found are found when the link asks again', () => {
    const pair = new Pair();
    pair.passes = () => false;
    pair.runFor(20_000);
    // The agent has given up; nothing is armed any more but what the link asks for.
    expect(pair.clock.nextAt).toBeUndefined();
    pair.passes = () => true;
    pair.alice.path.step({ type: 'network-changed' });
    pair.runFor(200);
    expect([pair.alice.events, pair.bob.events]).toEqual([['ready'], ['ready']]);
  });

  it('that the link asks for every 5 s while nothing passes come back when it does', () => {
    const pair = new Pair();
    pair.runFor(1000);
    pair.passes = () => false;
    for (let turn = 0; turn < 60; turn++) {
      pair.runFor(5000);
      for (const { path } of [pair.alice, pair.bob]) {
        if (path.best === undefined) path.step({ type: 'network-changed' });
      }
    }
    expect(pair.alice.events).toEqual(['ready', 'lost']);
    pair.passes = () => true;
    pair.runFor(5000);
    pair.alice.path.step({ type: 'network-changed' });
    pair.runFor(1000);
    expect(pair.alice.events).toEqual(['ready', 'lost', 'ready']);
    expect(pair.bob.events).toEqual(['ready', 'lost', 'ready']);
  });

  it('are in doubt a second before the friend is lost, and again then, in each silence', () => {
    const pair = new Pair();
    const { alice } = pair;
    for (const silences of [1, 2]) {
      pair.passes = () => true;
      alice.path.step({ type: 'network-changed' });
      pair.runFor(30_000);
      expect(alice.doubts.splice(0)).toEqual([]);
      pair.passes = () => false;
      pair.runFor(20_000);
      expect(alice.events.filter((event) => event === 'lost')).toHaveLength(silences);
      const [doubtedAt = 0, ...later] = alice.doubts.splice(0);
      expect(later.length).toBeGreaterThan(0);
      for (const at of later) expect(at - doubtedAt).toBeCloseTo(1000, -2);
    }
  });

  it('are in doubt sooner where servers say at the same time that the friend is elsewhere', () => {
    const pair = new Pair();
    const { alice } = pair;
    alice.path.friendMoved();
    pair.runFor(20_000);
    alice.path.friendMoved();
    expect(alice.doubts).toEqual([]);
    pair.passes = () => false;
    while (alice.doubts.length === 0) {
      pair.runFor(100);
      alice.path.friendMoved();
    }
    const [doubtedAt = 0] = alice.doubts;
    while (alice.path.best !== undefined) pair.runFor(100);
    expect(pair.clock.now() - doubtedAt).toBeGreaterThan(1800);
  });

  it.each([
    ['what is sent has no answer', 'public', 1200],
    ['a friend who uses a relay gets not even acknowledgements', 'relay', 40],
  ] as const)(
    'are all tried at once, and another is used, when on the one in use %s',
    (_what, pathClass, bytes) => {
      const pair = new Pair();
      const { path } = pair.alice;
      path.step({ type: 'relay-opened', remote: relayAddress(1) });
      pair.runFor(1000);
      const dead = path.best?.remote;
      expect(path.best?.via).toBe('udp');
      pair.passes = (to) => to.host !== dead?.host;
      // As QUIC repeats it.
      for (const pauseMs of [0, 30, 60, 120, 240]) {
        pair.runFor(pauseMs);
        path.send(new Uint8Array(bytes), pathClass);
      }
      pair.runFor(100);
      expect(path.best?.remote.host).not.toBe(dead?.host);
      expect(pair.alice.events).toEqual(['ready', 'ready']);
    },
  );

  it('send nothing and arm nothing once they are closed', () => {
    const pair = new Pair();
    pair.runFor(1000);
    for (const { path } of [pair.alice, pair.bob]) path.close();
    pair.runFor(100);
    expect(pair.clock.nextAt).toBeUndefined();
    expect(pair.alice.path.classOf(AT_BOB[0] ?? { host: '', port: 0 })).toBeUndefined();
  });
});
