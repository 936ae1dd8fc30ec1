import { describe, expect, it } from 'vitest';
import type {
  AttemptEffect,
  AttemptInput,
  FriendGreeting,
  LinkEffect,
  LinkInput,
} from '../../../src/peer/link-events.ts';
import { LinkMachine } from '../../../src/peer/link-machine.ts';
import type { Match } from '../../../src/peer/match.ts';
import type { Endpoint, SessionId } from '../../../src/rpc/generated/chatty/v1/common.ts';

const LOW = new Uint8Array(32).fill(1);
const HIGH = new Uint8Array(32).fill(2);
const OTHER = new Uint8Array(32).fill(3);

const session = (startedAt: number): SessionId => ({
  startedAt: BigInt(startedAt),
  nonce: Buffer.alloc(16),
});
const FIRST = session(1);
const NEWER = session(2);
const endpoint: Endpoint = { candidates: [], ufrag: 'u', password: 'p', relayRefused: false };

const matchOf = (more: Partial<Match> = {}): Match => ({
  session: FIRST,
  key: HIGH,
  endpoint,
  friendWasWaiting: false,
  ...more,
});

const greetingOf = (receivedUpTo: bigint, conversation = 1n): FriendGreeting => ({
  conversation,
  toConversation: undefined,
  receivedUpTo,
});

/** Another session has credentials of its own. */
const newerOf = (more: Partial<Match> = {}): Match =>
  matchOf({ session: NEWER, endpoint: { ...endpoint, ufrag: 'newer' }, ...more });

/** What a greeting says beside the count, which tells a hello from a welcome here. */
type Said = [generation?: number, from?: SessionId, conversation?: bigint];

/** A machine whose own fingerprint is `own`; its friend's is the other of the two. */
class Subject {
  readonly machine: LinkMachine;
  readonly friendKey: Uint8Array;

  constructor(own: Uint8Array) {
    this.machine = new LinkMachine(own);
    this.friendKey = own === LOW ? HIGH : LOW;
  }

  step(now: number, input: LinkInput): LinkEffect[] {
    return this.machine.step(input, now);
  }

  match(now: number, more: Partial<Match> = {}): LinkEffect[] {
    return this.step(now, { type: 'match', match: matchOf({ key: this.friendKey, ...more }) });
  }

  beside(now: number, input: AttemptInput): LinkEffect[] {
    return this.step(now, { type: 'beside', input });
  }

  pathReady(now: number): LinkEffect[] {
    return this.step(now, { type: 'path-ready' });
  }

  tick(now: number): LinkEffect[] {
    return this.step(now, { type: 'tick' });
  }

  dialled(now: number, connection: number): LinkEffect[] {
    return this.step(now, { type: 'dialled', connection });
  }

  accepted(now: number, connection: number): LinkEffect[] {
    return this.step(now, { type: 'accepted', connection });
  }

  hello(now: number, connection: number, ...said: Said): LinkEffect[] {
    return this.#greet('hello', 7n, now, connection, ...said);
  }

  welcome(now: number, connection: number, ...said: Said): LinkEffect[] {
    return this.#greet('welcome', 8n, now, connection, ...said);
  }

  #greet(
    type: 'hello' | 'welcome',
    receivedUpTo: bigint,
    now: number,
    connection: number,
    ...[generation = 0, from = FIRST, conversation = 1n]: Said
  ): LinkEffect[] {
    const greeting = greetingOf(receivedUpTo, conversation);
    return this.step(now, { type, connection, session: from, generation, greeting });
  }

  closed(now: number, connection: number): LinkEffect[] {
    return this.step(now, { type: 'closed', connection });
  }

  /** Connected at 0 over connection 1, which it has dialled. */
  static dialler(own: Uint8Array): Subject {
    const subject = new Subject(own);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.dialled(0, 1);
    subject.welcome(0, 1);
    return subject;
  }

  /** Connected at 0 over connection 1, which the friend has dialled. */
  static acceptor(own: Uint8Array): Subject {
    const subject = new Subject(own);
    subject.match(0);
    subject.pathReady(0);
    subject.accepted(0, 1);
    subject.hello(0, 1);
    return subject;
  }
}

const activate = (
  connection: number,
  receivedUpTo?: bigint,
  of: SessionId = FIRST,
): LinkEffect => ({
  ...{ type: 'activate', connection, session: of },
  greeting: receivedUpTo === undefined ? undefined : greetingOf(receivedUpTo),
});
const close = (connection: number, reason: string): LinkEffect => ({
  type: 'close',
  connection,
  reason,
});
const hello = (connection: number, generation = 0): LinkEffect => ({
  type: 'send-hello',
  connection,
  generation,
});
const welcome = (connection: number, generation = 0): LinkEffect => ({
  type: 'send-welcome',
  connection,
  generation,
  conversation: 1n,
});
const connected = (connection: number, first: boolean): LinkEffect => ({
  type: 'connected',
  connection,
  first,
});
const greeted = (receivedUpTo: bigint): LinkEffect => ({
  type: 'greeted',
  greeting: greetingOf(receivedUpTo),
});
const beside = (effect: AttemptEffect): LinkEffect => ({ type: 'beside', effect });
const STAYS = 'the other connection stays';

describe('who dials', () => {
  it('dials as soon as there is a path, when the friend was waiting', () => {
    const subject = new Subject(HIGH);
    const match = matchOf({ key: LOW, friendWasWaiting: true });
    expect(subject.step(0, { type: 'match', match })).toEqual([{ type: 'punch', match }]);
    expect(subject.pathReady(40)).toEqual([{ type: 'dial', key: LOW }]);
    expect(subject.tick(500)).toEqual([]);
  });

  it.each([
    ['lower', LOW, 150],
    ['higher', HIGH, 300],
  ])('lets a friend that came later dial first: the %s fingerprint', (_, own, graceMs) => {
    const subject = new Subject(own);
    subject.match(0);
    expect(subject.pathReady(40)).toEqual([]);
    expect(subject.machine.nextDeadline()).toBe(40 + graceMs);
    expect(subject.tick(40 + graceMs - 1)).toEqual([]);
    expect(subject.tick(40 + graceMs)).toEqual([{ type: 'dial', key: subject.friendKey }]);
  });

  it('does not dial a friend that has dialled in the meantime', () => {
    const subject = new Subject(LOW);
    subject.match(0);
    subject.pathReady(0);
    expect(subject.accepted(100, 1)).toEqual([connected(1, true)]);
    expect(subject.hello(110, 1)).toEqual([welcome(1), activate(1, 7n)]);
    expect(subject.tick(150)).toEqual([]);
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('dials again half a second after a dial that failed', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    expect(subject.step(5_000, { type: 'dial-failed' })).toEqual([]);
    expect(subject.machine.nextDeadline()).toBe(5_500);
    expect(subject.tick(5_500)).toEqual([{ type: 'dial', key: HIGH }]);
  });

  it('does not dial without a path', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.step(100, { type: 'path-lost' });
    expect(subject.step(200, { type: 'dial-failed' })).toEqual([]);
    expect(subject.tick(700)).toEqual([{ type: 'repunch' }]);
    expect(subject.pathReady(800)).toEqual([{ type: 'dial', key: HIGH }]);
  });

  it('asks for more checks when those of the path layer have all failed, and again', () => {
    const subject = new Subject(LOW);
    subject.match(0);
    expect(subject.machine.nextDeadline()).toBe(13_000);
    expect(subject.tick(13_000)).toEqual([{ type: 'repunch' }]);
    expect(subject.machine.nextDeadline()).toBe(18_000);
    expect(subject.tick(18_000)).toEqual([{ type: 'repunch' }]);
    subject.pathReady(18_010);
    expect(subject.tick(23_000)).toEqual([{ type: 'dial', key: HIGH }]);
  });
});

describe('greeting', () => {
  it('sends frames at once on a connection it has dialled', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    expect(subject.dialled(30, 1)).toEqual([connected(1, true), hello(1), activate(1)]);
    expect(subject.machine.carries(1)).toBe(true);
    expect(subject.welcome(60, 1)).toEqual([{ type: 'greeted', greeting: greetingOf(8n) }]);
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('neither sends nor takes frames on one the friend has dialled before its hello', () => {
    const subject = new Subject(LOW);
    subject.match(0);
    subject.accepted(0, 1);
    expect(subject.machine.active).toBeUndefined();
    expect(subject.machine.carries(1)).toBe(false);
    subject.hello(1, 1);
    expect(subject.machine.active).toBe(1);
    expect(subject.machine.carries(1)).toBe(true);
  });

  it.each<[string, (subject: Subject) => LinkEffect[]]>([
    ['hello', (subject) => subject.accepted(100, 1)],
    ['welcome', (subject) => subject.dialled(100, 1)],
  ])('closes a connection on which no %s comes within 5 s', (_, establish) => {
    const subject = new Subject(LOW);
    subject.match(0);
    subject.pathReady(0);
    establish(subject);
    expect(subject.machine.nextDeadline()).toBe(5_100);
    expect(subject.tick(5_100)).toEqual([
      close(1, 'the friend did not greet'),
      { type: 'reconnecting' },
      { type: 'dial', key: HIGH },
    ]);
  });

  it.each<[string, (subject: Subject) => LinkEffect[], string]>([
    ['a second hello', (subject) => subject.hello(1, 1), 'a hello out of place'],
    ['a welcome from a dialler', (subject) => subject.welcome(1, 1), 'a welcome out of place'],
  ])('closes and dials anew after %s', (_, breakRules, reason) => {
    const subject = Subject.acceptor(LOW);
    expect(breakRules(subject)).toEqual([
      close(1, reason),
      { type: 'reconnecting' },
      { type: 'dial', key: HIGH },
    ]);
  });

  it('closes on the hello of a session that it was not matched with, and dials later', () => {
    const subject = new Subject(HIGH);
    subject.match(0);
    subject.pathReady(0);
    subject.accepted(0, 1);
    expect(subject.hello(0, 1, 0, NEWER)).toEqual([
      close(1, 'another session than matched'),
      { type: 'reconnecting' },
    ]);
    expect(subject.tick(300)).toEqual([{ type: 'dial', key: LOW }]);
  });

  it('closes what it knows nothing of', () => {
    const subject = new Subject(LOW);
    expect(subject.accepted(0, 4)).toEqual([close(4, 'no such session')]);
    expect(subject.closed(0, 4)).toEqual([]);
    subject.match(0);
    expect(subject.hello(0, 5)).toEqual([close(5, 'a hello out of place')]);
    expect(subject.closed(0, 5)).toEqual([]);
  });
});

describe('when both have dialled', () => {
  it('the lower fingerprint keeps its own, and closes the other with the welcome', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    expect(subject.dialled(10, 1)).toEqual([connected(1, true), hello(1), activate(1)]);
    expect(subject.accepted(12, 2)).toEqual([]);
    expect(subject.hello(14, 2)).toEqual([welcome(2), greeted(7n)]);
    // Until the friend has the hello it uses the other.
    expect([subject.machine.active, subject.machine.carries(2)]).toEqual([1, true]);
    expect(subject.welcome(30, 1)).toEqual([
      { type: 'greeted', greeting: greetingOf(8n) },
      close(2, STAYS),
    ]);
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('the lower fingerprint closes the other at once where it has the welcome already', () => {
    const subject = Subject.dialler(LOW);
    subject.accepted(10, 2);
    expect(subject.hello(12, 2)).toEqual([close(2, STAYS)]);
    expect(subject.machine.active).toBe(1);
  });

  it('the lower fingerprint changes over to its own when the friend has welcomed it', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.accepted(10, 1);
    expect(subject.hello(11, 1)).toEqual([welcome(1), activate(1, 7n)]);
    expect(subject.dialled(12, 2)).toEqual([hello(2)]);
    expect(subject.welcome(20, 2)).toEqual([activate(2, 8n), close(1, STAYS)]);
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('the higher fingerprint changes over to the other, and leaves closing to the friend', () => {
    const subject = new Subject(HIGH);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.dialled(10, 1);
    subject.accepted(12, 2);
    expect(subject.hello(14, 2)).toEqual([welcome(2), activate(2, 7n)]);
    expect(subject.welcome(15, 1)).toEqual([greeted(8n)]);
    expect(subject.machine.carries(1)).toBe(true);
    expect(subject.closed(40, 1)).toEqual([]);
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('the higher fingerprint closes its own after 5 s if the friend does not', () => {
    const subject = new Subject(HIGH);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.dialled(10, 1);
    subject.welcome(11, 1);
    subject.accepted(12, 2);
    subject.hello(14, 2);
    expect(subject.machine.nextDeadline()).toBe(5_014);
    expect(subject.tick(5_014)).toEqual([close(1, STAYS)]);
  });

  it('the higher fingerprint closes its own unused where the other stands already', () => {
    const subject = new Subject(HIGH);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.accepted(10, 1);
    subject.hello(10, 1);
    expect(subject.dialled(12, 2)).toEqual([close(2, STAYS)]);
    expect(subject.machine.carries(2)).toBe(false);
  });
});

describe('when a connection ends', () => {
  it.each([
    ['lower', LOW, 0],
    ['higher', HIGH, 300],
  ])('dials a connection of the next generation: the %s fingerprint', (_, own, graceMs) => {
    const subject = Subject.dialler(own);
    const dial: LinkEffect = { type: 'dial', key: subject.friendKey };
    const effects = subject.closed(10_000, 1);
    expect(effects).toEqual([{ type: 'reconnecting' }, ...(graceMs === 0 ? [dial] : [])]);
    if (graceMs > 0) expect(subject.tick(10_000 + graceMs)).toEqual([dial]);
    expect(subject.dialled(10_500, 2)).toEqual([connected(2, false), hello(2, 1), activate(2)]);
  });

  it('takes a higher generation for the proof that its own connection is dead', () => {
    const subject = Subject.dialler(LOW);
    expect(subject.accepted(10_000, 2)).toEqual([]);
    expect(subject.hello(10_001, 2, 1)).toEqual([welcome(2, 1), activate(2, 7n), close(1, STAYS)]);
  });

  it('takes a second dial of the friend for the proof that its first is dead', () => {
    const subject = Subject.acceptor(LOW);
    subject.accepted(10_000, 2);
    expect(subject.hello(10_001, 2, 0)).toEqual([welcome(2), activate(2, 7n), close(1, STAYS)]);
  });

  it('closes the first of two connections of the friend, neither of which has greeted', () => {
    const subject = new Subject(LOW);
    subject.match(0);
    subject.accepted(0, 1);
    expect(subject.accepted(1, 2)).toEqual([close(1, STAYS)]);
  });

  it('refuses a lower generation while a connection stands, takes it where none does', () => {
    const subject = Subject.acceptor(HIGH);
    subject.closed(10_000, 1);
    subject.tick(10_300);
    subject.dialled(10_310, 2);
    subject.accepted(10_311, 3);
    expect(subject.hello(10_312, 3, 0)).toEqual([close(3, STAYS)]);
    subject.closed(10_320, 2);
    subject.accepted(10_330, 4);
    expect(subject.hello(10_331, 4, 0)).toEqual([welcome(4, 1), activate(4, 7n)]);
  });

  it('learns from a welcome how many the friend has seen end', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.dialled(0, 1);
    subject.welcome(1, 1, 4);
    // A hello that was sent before the friend knew of this connection.
    subject.accepted(2, 2);
    expect(subject.hello(2, 2, 4)).toEqual([close(2, STAYS)]);
    subject.closed(10_000, 1);
    expect(subject.dialled(10_010, 3)).toContainEqual(hello(3, 5));
  });

  it('goes on with its own that was not greeted yet, where that would have stayed', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.accepted(10, 1);
    subject.hello(10, 1);
    subject.dialled(12, 2);
    expect(subject.closed(14, 1)).toEqual([activate(2)]);
  });

  it('closes what had lost to the one that ended, for the friend may still use the dead one', () => {
    const subject = new Subject(HIGH);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.dialled(10, 1);
    subject.accepted(12, 2);
    subject.hello(14, 2);
    expect(subject.closed(16, 2)).toEqual([close(1, STAYS), { type: 'reconnecting' }]);
    subject.tick(316);
    expect(subject.dialled(320, 3)).toEqual([connected(3, false), hello(3, 1), activate(3)]);
  });

  it('dials at growing intervals while connections keep ending at once', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    const waitedMs: number[] = [];
    let now = 0;
    for (let connection = 1; connection <= 8; connection++) {
      subject.dialled(now, connection);
      subject.welcome(now, connection);
      if (subject.closed(now, connection).some(({ type }) => type === 'dial')) {
        waitedMs.push(0);
        continue;
      }
      const due = subject.machine.nextDeadline() ?? NaN;
      waitedMs.push(due - now);
      now = due;
      expect(subject.tick(now)).toEqual([{ type: 'dial', key: HIGH }]);
    }
    expect(waitedMs).toEqual([0, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    subject.dialled(now, 20);
    subject.welcome(now, 20);
    expect(subject.closed(now + 5_000, 20)).toContainEqual({ type: 'dial', key: HIGH });
  });

  it('counts generations no further than the wire does', () => {
    const subject = Subject.acceptor(LOW);
    subject.accepted(1, 2);
    subject.hello(1, 2, 0xffff_ffff);
    subject.closed(10_000, 2);
    expect(subject.dialled(10_010, 3)).toContainEqual(hello(3, 0xffff_ffff));
  });
});

describe('when the path is lost', () => {
  it('says so, looks for another, and says when the connection goes on', () => {
    const subject = Subject.dialler(LOW);
    expect(subject.step(10_000, { type: 'path-lost' })).toEqual([{ type: 'reconnecting' }]);
    expect(subject.tick(10_500)).toEqual([{ type: 'repunch' }]);
    expect(subject.machine.nextDeadline()).toBe(15_500);
    expect(subject.pathReady(12_000)).toEqual([{ type: 'restored' }]);
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('says that it goes on when the friend comes over another connection first', () => {
    const subject = Subject.dialler(LOW);
    subject.step(10_000, { type: 'path-lost' });
    expect(subject.accepted(10_400, 2)).toEqual([{ type: 'restored' }]);
  });

  it('looks for another at once when the connection ends as well', () => {
    const subject = Subject.dialler(LOW);
    subject.step(10_000, { type: 'path-lost' });
    expect(subject.closed(10_100, 1)).toEqual([{ type: 'repunch' }]);
  });

  it.each([
    ['a friend that was never reached', false, 'unreachable'],
    ['a friend that was connected', true, 'disconnected'],
  ] as const)('gives %s up after 30 s', (_, reached, told) => {
    const subject = reached ? Subject.dialler(LOW) : new Subject(LOW);
    const since = 10_000;
    if (reached) subject.step(since, { type: 'path-lost' });
    else subject.match(since);
    subject.tick(since + 29_999);
    expect(subject.tick(since + 30_000)).toEqual([
      ...(reached ? [close(1, 'the friend could not be reached')] : []),
      { type: 'stop-punching' },
      { type: told },
    ]);
    expect(subject.machine.match).toBeUndefined();
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('does not dial in the moment in which it gives up', () => {
    const subject = new Subject(LOW);
    subject.match(0, { friendWasWaiting: true });
    expect(subject.pathReady(30_000)).toEqual([{ type: 'stop-punching' }, { type: 'unreachable' }]);
  });

  it('remembers a session it gave up: matched again, it is no new one', () => {
    const subject = Subject.dialler(LOW);
    subject.closed(10_000, 1);
    subject.tick(40_000);
    expect(subject.match(50_000)).toHaveLength(1);
    expect(subject.pathReady(50_100)).toEqual([{ type: 'dial', key: HIGH }]);
    expect(subject.dialled(50_200, 2)).toEqual([connected(2, false), hello(2, 1), activate(2)]);
  });
});

describe('sessions of the friend', () => {
  it('merges further candidates of the one it knows', () => {
    const subject = Subject.dialler(LOW);
    const further = { ...endpoint, ufrag: 'v' };
    expect(subject.match(1, { endpoint: further })).toEqual([{ type: 'merge', endpoint: further }]);
    expect(subject.machine.active).toBe(1);
  });

  it('dials at once when a second server knows that the friend was waiting', () => {
    const subject = new Subject(HIGH);
    const merge = { type: 'merge', endpoint };
    subject.match(0);
    expect(subject.pathReady(10)).toEqual([]);
    expect(subject.match(11)).toEqual([merge]);
    expect(subject.match(12, { friendWasWaiting: true })).toEqual([
      merge,
      { type: 'dial', key: LOW },
    ]);
    expect(subject.match(13, { friendWasWaiting: true })).toEqual([merge]);
  });

  it('dials with the first path when a second server knows that the friend was waiting', () => {
    const subject = new Subject(HIGH);
    subject.match(0);
    subject.match(5, { friendWasWaiting: true });
    // A third that knows less changes nothing.
    subject.match(6);
    expect(subject.pathReady(10)).toEqual([{ type: 'dial', key: LOW }]);
  });

  it('tries a newer one beside the one in use, until the friend has greeted in it', () => {
    const subject = Subject.dialler(LOW);
    const match = newerOf({ friendWasWaiting: true });
    expect(subject.step(10, { type: 'match', match })).toEqual([beside({ type: 'punch', match })]);
    expect(subject.beside(20, { type: 'path-ready' })).toEqual([
      beside({ type: 'dial', key: HIGH }),
    ]);
    expect(subject.beside(30, { type: 'dialled', connection: 2 })).toEqual([hello(2)]);
    expect(subject.machine.active).toBe(1);
    expect([1, 2].map((id) => subject.machine.carries(id))).toEqual([true, false]);
    expect(subject.machine.matchOf(2)).toEqual(match);
    expect(subject.welcome(40, 2, 0, NEWER)).toEqual([
      close(1, 'the friend has started anew'),
      { type: 'promote' },
      connected(2, true),
      activate(2, undefined, NEWER),
      greeted(8n),
    ]);
    expect(subject.machine.active).toBe(2);
    expect(subject.machine.match).toEqual(match);
  });

  it('takes the hello of a newer one for the proof of it', () => {
    const subject = Subject.acceptor(HIGH);
    subject.step(10, { type: 'match', match: newerOf({ key: LOW }) });
    expect(subject.beside(20, { type: 'accepted', connection: 2 })).toEqual([]);
    expect(subject.hello(30, 2, 0, NEWER)).toEqual([
      close(1, 'the friend has started anew'),
      { type: 'promote' },
      connected(2, true),
      welcome(2),
      activate(2, 7n, NEWER),
    ]);
  });

  it('tells once which connection is in use where both have dialled in a newer one', () => {
    const subject = Subject.acceptor(HIGH);
    subject.step(10, { type: 'match', match: newerOf({ key: LOW }) });
    subject.beside(20, { type: 'dialled', connection: 2 });
    subject.beside(30, { type: 'accepted', connection: 3 });
    expect(subject.hello(40, 3, 0, NEWER)).toEqual([
      close(1, 'the friend has started anew'),
      { type: 'promote' },
      connected(2, true),
      welcome(3),
      activate(3, 7n, NEWER),
    ]);
  });

  it.each<[string, (subject: Subject) => LinkEffect[]]>([
    ['hello', (subject) => subject.hello(30, 2, 0, session(3))],
    ['welcome', (subject) => subject.welcome(30, 2, 0, FIRST)],
  ])('does not take the %s of another one for the proof of it', (greets, greet) => {
    const subject = Subject.dialler(LOW);
    subject.step(10, { type: 'match', match: newerOf() });
    const type = greets === 'hello' ? 'accepted' : 'dialled';
    subject.beside(20, { type, connection: 2 });
    expect(greet(subject)[0]).toEqual(close(2, 'another session than matched'));
    expect(subject.machine.active).toBe(1);
  });

  it('goes on with the one in use where servers lie of newer ones, however many', () => {
    const subject = Subject.dialler(LOW);
    // With credentials that nobody has there is no path; with those of the one in use, no attempt.
    const lie = matchOf({ session: session(1_000) });
    expect(subject.step(5, { type: 'match', match: lie })).toEqual([]);
    const lies = [2, 3, 4].map((startedAt) => newerOf({ session: session(startedAt) }));
    const effects = lies.flatMap((match) => subject.step(10, { type: 'match', match }));
    expect(effects.map(({ type }) => type)).toEqual(effects.map(() => 'beside'));
    expect(subject.machine.nextDeadline()).toBe(13_010);
    expect(subject.tick(30_010)).toEqual([
      beside({ type: 'stop-punching' }),
      { type: 'ask-again' },
    ]);
    expect(subject.machine.active).toBe(1);
    expect(subject.machine.nextDeadline()).toBeUndefined();
  });

  it('turns to the newer one at once when the one in use is over', () => {
    const subject = Subject.dialler(LOW);
    subject.step(10, { type: 'match', match: newerOf() });
    subject.beside(20, { type: 'dialled', connection: 2 });
    expect(subject.step(30, { type: 'goodbye' })).toEqual([
      close(1, 'goodbye'),
      { type: 'stop-punching' },
      { type: 'promote' },
      connected(2, true),
      activate(2, undefined, NEWER),
    ]);
  });

  it('tries an older one beside one that it cannot reach, and drops it once it can', () => {
    const subject = new Subject(LOW);
    const match = newerOf({ friendWasWaiting: true });
    subject.step(0, { type: 'match', match });
    expect(subject.match(1)).toEqual([beside({ type: 'punch', match: matchOf() })]);
    subject.pathReady(2);
    subject.dialled(3, 1);
    expect(subject.welcome(4, 1, 0, NEWER)).toEqual([
      greeted(8n),
      beside({ type: 'stop-punching' }),
      { type: 'ask-again' },
    ]);
    expect(subject.match(5)).toEqual([]);
  });

  it('takes an older one that has outlived the one in use, once that has ended', () => {
    const subject = Subject.dialler(LOW);
    subject.step(10, { type: 'match', match: newerOf() });
    subject.beside(20, { type: 'dialled', connection: 2 });
    subject.welcome(20, 2, 0, NEWER);
    expect(subject.match(30)).toEqual([]);
    subject.closed(40, 2);
    subject.match(50);
    subject.beside(60, { type: 'accepted', connection: 3 });
    expect(subject.hello(70, 3)).toEqual([
      { type: 'promote' },
      connected(3, false),
      welcome(3),
      activate(3, 7n),
      { type: 'ask-again' },
    ]);
  });

  it('gives up one that refuses every connection', () => {
    const subject = new Subject(HIGH);
    subject.match(0, { friendWasWaiting: true });
    subject.pathReady(0);
    subject.dialled(29_000, 1);
    expect(subject.tick(30_000)).toEqual([]);
    expect(subject.closed(31_000, 1).slice(-2)).toEqual([
      { type: 'stop-punching' },
      { type: 'disconnected' },
    ]);
  });

  it('goes back to the one it has reached when a newer one never proves to be there', () => {
    const subject = Subject.dialler(LOW);
    subject.closed(5, 1);
    subject.step(10, { type: 'match', match: newerOf() });
    expect(subject.tick(30_005).map(({ type }) => type)).toEqual([
      ...['stop-punching', 'disconnected', 'promote', 'repunch'],
    ]);
    expect(subject.tick(30_010).at(-1)).toEqual({ type: 'unreachable' });
    expect(subject.match(30_020)).toMatchObject([{ type: 'punch' }]);
    subject.pathReady(30_030);
    expect(subject.dialled(30_040, 2)[0]).toEqual(connected(2, false));
  });

  it('believes in another key under the name only while it talks with nobody', () => {
    const subject = new Subject(LOW);
    subject.match(0);
    const match = matchOf({ key: OTHER });
    expect(subject.step(1, { type: 'match', match })).toEqual([{ type: 'punch', match }]);
    subject.match(2);
    subject.pathReady(2);
    subject.accepted(3, 1);
    subject.hello(3, 1);
    expect(subject.step(4, { type: 'match', match })).toEqual([]);
  });
});

describe('conversations in one session of the friend', () => {
  it('are dead, whatever their generation, once a later one has greeted', () => {
    const subject = Subject.acceptor(HIGH);
    subject.accepted(10, 2);
    expect(subject.hello(10, 2, 0, FIRST, 2n)).toEqual([
      close(1, 'the friend has begun anew'),
      { ...welcome(2, 1), conversation: 2n },
      { ...activate(2), greeting: greetingOf(7n, 2n) },
    ]);
    expect(subject.machine.carries(1)).toBe(false);
  });

  it('are told apart by the welcome, too', () => {
    const subject = Subject.dialler(LOW);
    subject.closed(10, 1);
    subject.dialled(10, 2);
    expect(subject.welcome(20, 2, 0, FIRST, 2n)).toEqual([
      { type: 'greeted', greeting: greetingOf(8n, 2n) },
    ]);
  });

  it('are over: a greeting of an earlier one closes its connection', () => {
    const subject = Subject.acceptor(HIGH);
    subject.accepted(10, 2);
    subject.hello(10, 2, 0, FIRST, 2n);
    subject.accepted(20, 3);
    expect(subject.hello(20, 3, 5, FIRST, 1n)).toEqual([close(3, 'an earlier conversation')]);
    expect(subject.machine.active).toBe(2);
  });
});

describe('goodbye', () => {
  it('closes everything and looks for the same session no sooner than 2 s later', () => {
    const subject = Subject.dialler(LOW);
    expect(subject.step(1_000, { type: 'goodbye' })).toEqual([
      close(1, 'goodbye'),
      { type: 'stop-punching' },
    ]);
    expect(subject.match(2_999)).toEqual([]);
    expect(subject.machine.nextDeadline()).toBe(3_000);
    expect(subject.tick(3_000)).toEqual([{ type: 'ask-again' }]);
    expect(subject.machine.nextDeadline()).toBeUndefined();
    expect(subject.match(3_010)).toHaveLength(1);
    subject.pathReady(3_020);
    expect(subject.dialled(3_030, 2)[0]).toEqual(connected(2, true));
  });

  it('asks the servers again also where they have said nothing meanwhile, once', () => {
    const subject = Subject.dialler(LOW);
    subject.step(1_000, { type: 'goodbye' });
    expect(subject.accepted(3_000, 2)).toEqual([
      { type: 'ask-again' },
      close(2, 'no such session'),
    ]);
    expect(subject.tick(3_001)).toEqual([]);
  });

  it('is no obstacle to a newer session, nor to another key', () => {
    for (const more of [{ session: session(3) }, { key: OTHER }]) {
      const subject = Subject.dialler(LOW);
      subject.step(1_000, { type: 'goodbye' });
      expect(subject.match(1_001, more)).toMatchObject([{ type: 'punch' }]);
    }
  });

  it('means nothing where there is no session', () => {
    expect(new Subject(LOW).step(0, { type: 'goodbye' })).toEqual([]);
  });
});
