import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SessionEffect } from '../../../src/chat/session-events.ts';
import { type ConversationMemory, ConversationSession } from '../../../src/chat/session.ts';
import type { SessionId } from '../../../src/rpc/generated/chatty/v1/common.ts';
import type { PeerFrame } from '../../../src/rpc/generated/chatty/v1/peer.ts';

const session = (startedAt: number): SessionId => ({
  startedAt: BigInt(startedAt),
  nonce: Buffer.alloc(16, startedAt),
});
const F1 = session(1);
const F2 = session(2);
const send = (kind: NonNullable<PeerFrame['kind']>): SessionEffect => ({
  type: 'send',
  frame: { kind },
});
const message = (number: number, id: number, text: string): NonNullable<PeerFrame['kind']> => ({
  $case: 'message',
  value: { number: BigInt(number), id: BigInt(id), text },
});
const ack = (number: number): NonNullable<PeerFrame['kind']> => ({
  $case: 'acknowledgement',
  value: { number: BigInt(number) },
});
const end = (number: number): NonNullable<PeerFrame['kind']> => ({
  $case: 'end',
  value: { number: BigInt(number) },
});

/** A machine under test with a clock of its own. */
class Subject {
  readonly machine: ConversationSession;
  now = 0;

  constructor(before?: ConversationMemory) {
    this.machine = new ConversationSession(before);
  }

  step(input: Parameters<ConversationSession['step']>[0]): SessionEffect[] {
    return this.machine.step(input, this.now);
  }

  connect(
    friendSession = F1,
    receivedUpTo = 0,
    conversation?: bigint,
    toConversation?: bigint,
  ): SessionEffect[] {
    const greeting = { conversation, toConversation, receivedUpTo: BigInt(receivedUpTo) };
    return this.step({ type: 'connected', friendSession, greeting });
  }

  greeted(receivedUpTo: number, conversation?: bigint): SessionEffect[] {
    const counted = { toConversation: undefined, receivedUpTo: BigInt(receivedUpTo) };
    return this.step({ type: 'greeted', greeting: { conversation, ...counted } });
  }

  receivedUpTo(friendSession: SessionId): bigint {
    return this.machine.greeting(friendSession).receivedUpTo;
  }

  frame(kind: PeerFrame['kind']): SessionEffect[] {
    return this.step({ type: 'frame', frame: { kind } });
  }

  submit(...texts: string[]): SessionEffect[] {
    return texts.flatMap((text) => this.step({ type: 'submit', text }));
  }
}

describe('what one side says', () => {
  it('keeps messages until there is a connection, then numbers them from 1', () => {
    const a = new Subject();
    expect(a.submit('one', 'two')).toEqual([
      { type: 'accepted', id: 1 },
      { type: 'accepted', id: 2 },
    ]);
    expect(a.connect()).toEqual([send(message(1, 1, 'one')), send(message(2, 2, 'two'))]);
  });

  it('sends at once while connected', () => {
    const a = new Subject();
    a.connect();
    expect(a.submit('one')).toEqual([{ type: 'accepted', id: 1 }, send(message(1, 1, 'one'))]);
  });

  it('takes one acknowledgement for everything before it, and an old one for nothing', () => {
    const a = new Subject();
    a.connect();
    a.submit('one', 'two', 'three');
    expect(a.frame(ack(2))).toEqual([
      { type: 'acknowledged', id: 1 },
      { type: 'acknowledged', id: 2 },
    ]);
    expect(a.frame(ack(1))).toEqual([]);
    expect(a.machine.unacknowledged).toBe(1);
  });

  it('sends again after a reconnect what the friend has not received, and nothing else', () => {
    const a = new Subject();
    a.connect();
    a.submit('one', 'two', 'three');
    a.frame(ack(1));
    a.step({ type: 'disconnected' });
    expect(a.submit('four')).toEqual([{ type: 'accepted', id: 4 }]);
    expect(a.connect(F1, 2)).toEqual([
      { type: 'acknowledged', id: 2 },
      send(message(3, 3, 'three')),
      send(message(4, 4, 'four')),
    ]);
  });

  it('sends everything unacknowledged where the friend has not said yet what it has', () => {
    const a = new Subject();
    a.connect();
    a.submit('one', 'two');
    a.step({ type: 'disconnected' });
    expect(a.step({ type: 'connected', friendSession: F1 })).toEqual([
      send(message(1, 1, 'one')),
      send(message(2, 2, 'two')),
    ]);
    expect(a.greeted(1)).toEqual([{ type: 'acknowledged', id: 1 }]);
  });

  it("numbers from 1 again for a friend's new session, with the ids kept", () => {
    const a = new Subject();
    a.connect();
    a.submit('one', 'two', 'three');
    a.frame(ack(2));
    expect(a.connect(F2)).toEqual([send(message(1, 3, 'three'))]);
    expect(a.submit('four')).toEqual([{ type: 'accepted', id: 4 }, send(message(2, 4, 'four'))]);
  });

  it("tells a friend's new session about an end its old one had acknowledged", () => {
    const a = new Subject();
    a.connect();
    expect(a.step({ type: 'end-input' })).toEqual([
      send(end(1)),
      { type: 'writable', writable: false },
    ]);
    expect(a.frame(ack(1))).toEqual([{ type: 'end-acknowledged' }]);
    expect(a.connect(F2)).toEqual([send(end(1))]);
  });

  it('numbers the end after the last message, once, and refuses messages after it', () => {
    const a = new Subject();
    a.connect();
    a.submit('one');
    expect(a.step({ type: 'end-input' })).toContainEqual(send(end(2)));
    expect(a.step({ type: 'end-input' })).toEqual([]);
    expect(a.submit('two')).toEqual([{ type: 'refused', why: 'ended' }]);
  });

  it('takes 1,000 messages without acknowledgement, then says so, and goes on after one', () => {
    const a = new Subject();
    for (let i = 1; i < 1_000; i++) expect(a.submit('x')).toHaveLength(1);
    expect(a.submit('x')).toEqual([
      { type: 'accepted', id: 1_000 },
      { type: 'writable', writable: false },
    ]);
    expect(a.submit('x')).toEqual([{ type: 'refused', why: 'full' }]);
    a.connect();
    expect(a.frame(ack(1)).at(-1)).toEqual({ type: 'writable', writable: true });
  });

  it('takes 4 MiB without acknowledgement', () => {
    const a = new Subject();
    const large = 'x'.repeat(65_536);
    for (let i = 1; i < 64; i++) expect(a.submit(large)).toHaveLength(1);
    expect(a.submit(large)).toContainEqual({ type: 'writable', writable: false });
  });

  it('refuses a text of more than 65,536 bytes of UTF-8', () => {
    const a = new Subject();
    expect(a.submit('ä'.repeat(32_769))).toEqual([{ type: 'refused', why: 'too-long' }]);
    expect(a.submit('ä'.repeat(32_768))).toEqual([{ type: 'accepted', id: 1 }]);
  });
});

describe('what the friend says', () => {
  it('passes messages on in order and acknowledges what the program has written', () => {
    const a = new Subject();
    a.connect();
    expect(a.frame(message(1, 7, 'hi'))).toEqual([
      { type: 'deliver', session: F1, number: 1, id: 7, text: 'hi' },
    ]);
    a.frame(message(2, 8, 'there'));
    expect(a.receivedUpTo(F1)).toBe(0n);
    expect(a.step({ type: 'delivered', number: 2 })).toEqual([send(ack(2))]);
    expect(a.receivedUpTo(F1)).toBe(2n);
    expect(a.receivedUpTo(F2)).toBe(0n);
    expect(a.step({ type: 'delivered', number: 1 })).toEqual([]);
  });

  it('drops what it has when it comes again', () => {
    const a = new Subject();
    a.connect();
    a.frame(message(1, 1, 'one'));
    a.frame(message(2, 2, 'two'));
    a.step({ type: 'disconnected' });
    a.connect();
    expect(a.frame(message(1, 1, 'one'))).toEqual([]);
    expect(a.frame(message(2, 2, 'two'))).toEqual([]);
    expect(a.frame(message(3, 3, 'three'))).toHaveLength(1);
  });

  it('passes the end on once the program has written everything before it', () => {
    const a = new Subject();
    a.connect();
    a.frame(message(1, 1, 'one'));
    expect(a.frame(end(2))).toEqual([]);
    expect(a.step({ type: 'delivered', number: 1 })).toEqual([
      send(ack(2)),
      { type: 'friend-ended' },
    ]);
  });

  it('acknowledges an end with nothing before it at once', () => {
    const a = new Subject();
    a.connect();
    expect(a.frame(end(1))).toEqual([send(ack(1)), { type: 'friend-ended' }]);
  });

  it('numbers deliveries on through a new session, which is acknowledged by its own numbers', () => {
    const a = new Subject();
    a.connect();
    a.frame(message(1, 1, 'one'));
    a.frame(message(2, 2, 'two'));
    a.connect(F2);
    expect(a.frame(message(1, 2, 'two'))).toEqual([
      { type: 'deliver', session: F2, number: 3, id: 2, text: 'two' },
    ]);
    // Nobody is left who waits for the acknowledgement of the first two.
    expect(a.step({ type: 'delivered', number: 2 })).toEqual([]);
    expect(a.step({ type: 'delivered', number: 3 })).toEqual([send(ack(1))]);
  });

  it('ignores frames of later versions, and frames without a connection', () => {
    const a = new Subject();
    expect(a.frame(message(1, 1, 'early'))).toEqual([]);
    a.connect();
    expect(a.frame(undefined)).toEqual([]);
  });
});

describe('conversations in one session', () => {
  /** The friend has had `one` and has said `heard`, which is acknowledged. */
  function talking(): Subject {
    const a = new Subject();
    a.connect(F1, 0, 1n);
    a.submit('one', 'two');
    a.frame(ack(1));
    a.frame(message(1, 1, 'heard'));
    a.step({ type: 'delivered', number: 1 });
    a.step({ type: 'disconnected' });
    return a;
  }
  const to = (toConversation: bigint, kind: NonNullable<PeerFrame['kind']>): typeof kind =>
    ({ ...kind, value: { ...kind.value, toConversation } }) as typeof kind;

  it("numbers from 1 again for a friend's new one, with the ids kept", () => {
    const a = talking();
    expect(a.machine.greeting(F1)).toMatchObject({ toConversation: 1n, receivedUpTo: 1n });
    expect(a.machine.greeting(F1, 2n).receivedUpTo).toBe(0n);
    expect(a.connect(F1, 0, 2n)).toEqual([send(to(2n, message(1, 2, 'two')))]);
    expect(a.frame(message(1, 2, 'here again'))).toEqual([
      { type: 'deliver', session: F1, number: 2, id: 2, text: 'here again' },
    ]);
    expect(a.step({ type: 'delivered', number: 2 })).toEqual([send(to(2n, ack(1)))]);
  });

  it("numbers from 1 again when only the friend's welcome tells of a new one", () => {
    const a = talking();
    expect(a.step({ type: 'connected', friendSession: F1 })).toEqual([
      send(to(1n, message(2, 2, 'two'))),
    ]);
    expect(a.greeted(0, 2n)).toEqual([send(to(2n, message(1, 2, 'two')))]);
    expect(a.greeted(0, 2n)).toEqual([]);
    expect(a.greeted(0, 1n)).toEqual([]);
  });

  it('have higher numbers than those before, and go on with the ids', () => {
    const first = talking().machine;
    const second = new ConversationSession(first.memory);
    expect(first.greeting(F1).conversation).toBe(1n);
    expect(second.greeting(F1)).toEqual({
      ...{ conversation: 2n, toConversation: undefined, receivedUpTo: 0n },
    });
    expect(second.step({ type: 'submit', text: 'three' }, 0)).toEqual([
      { type: 'accepted', id: 3 },
    ]);
  });

  it('are new ones when the friend goes to another session and comes back to the first', () => {
    const a = talking();
    a.connect(F2, 0, 1n);
    a.frame(message(1, 1, 'from the newer'));
    a.step({ type: 'delivered', number: 2 });
    const numbers = [F2, F1].map((each) => a.machine.greeting(each).conversation);
    expect(numbers).toEqual([2n, 3n]);
    // What it knows of ours is older, and so is what it counts.
    expect(a.connect(F1, 1, 1n, 1n)).toEqual([send(to(1n, message(1, 2, 'two')))]);
    expect(a.frame(to(1n, message(2, 2, 'for the first')))).toEqual([]);
    expect(a.frame(to(3n, message(1, 1, 'heard')))).toEqual([send(to(1n, ack(1)))]);
    expect(a.frame(to(3n, message(2, 2, 'more')))).toMatchObject([{ type: 'deliver', id: 2 }]);
  });

  it('are not begun on a connection that was greeted on before the last of them', () => {
    const a = talking();
    a.machine.greeting(F1);
    a.connect(F2, 0, 1n);
    expect(a.connect(F1, 1, 1n, 1n)).toEqual([{ type: 'outdated' }]);
    expect(a.machine.greeting(F1).conversation).toBe(3n);
    expect(a.connect(F1, 0, 1n, 3n)).toEqual([send(to(1n, message(1, 2, 'two')))]);
  });

  it('keep the number that a session was told, whatever is said to others meanwhile', () => {
    const a = new Subject();
    expect(a.machine.greeting(F1).conversation).toBe(1n);
    a.connect(F2, 0, 1n);
    expect(a.machine.greeting(F2).conversation).toBe(2n);
    a.connect(F1, 0, 1n);
    expect(a.frame(to(1n, message(1, 1, 'hi')))).toMatchObject([{ type: 'deliver' }]);
    expect(new ConversationSession(a.machine.memory).greeting(F1).conversation).toBe(3n);
  });

  it('take nothing that was said to an earlier one', () => {
    const a = new Subject(talking().machine.memory);
    expect(a.connect(F1, 7, 1n, 1n)).toEqual([]);
    a.submit('three');
    for (const kind of [message(2, 2, 'two'), end(2), ack(1)]) {
      expect(a.frame(to(1n, kind))).toEqual([]);
    }
    expect(a.frame(to(2n, message(1, 2, 'two')))).toMatchObject([{ type: 'deliver', id: 2 }]);
    expect(a.frame(to(2n, ack(1)))).toEqual([{ type: 'acknowledged', id: 3 }]);
  });

  it('acknowledge, and do not pass on again, what the program took in an earlier one', () => {
    const a = new Subject(talking().machine.memory);
    a.connect(F1, 0, 1n);
    expect(a.frame(message(1, 1, 'heard'))).toEqual([send(to(1n, ack(1)))]);
    a.frame(message(2, 2, 'more'));
    a.connect(F1, 0, 2n);
    // Not taken yet, but on its way to the program.
    expect(a.frame(message(1, 2, 'more'))).toEqual([]);
    expect(a.frame(message(2, 3, 'yet more'))).toMatchObject([{ type: 'deliver', number: 4 }]);
    expect(a.step({ type: 'delivered', number: 2 })).toEqual([send(to(2n, ack(1)))]);
    // Another session of the friend's has ids of its own.
    a.connect(F2);
    expect(a.frame(message(1, 1, 'anew'))).toMatchObject([{ type: 'deliver', id: 1 }]);
  });
});

describe('goodbye', () => {
  it('ends the pair of sessions: the same session that comes back begins anew', () => {
    const a = new Subject();
    a.connect();
    a.submit('said');
    a.frame(ack(1));
    a.frame(message(1, 1, 'heard'));
    a.step({ type: 'delivered', number: 1 });
    expect(a.receivedUpTo(F1)).toBe(1n);
    a.frame({ $case: 'goodbye', value: { reason: 'bye' } });
    a.step({ type: 'disconnected' });
    a.submit('for the next time');
    expect(a.receivedUpTo(F1)).toBe(0n);
    expect(a.connect(F1, 0)).toEqual([send(message(1, 2, 'for the next time'))]);
    expect(a.frame(message(1, 2, 'here again'))).toEqual([
      { type: 'deliver', session: F1, number: 2, id: 2, text: 'here again' },
    ]);
  });

  it('is answered at once and passed on after the messages before it', () => {
    const a = new Subject();
    a.connect();
    a.frame(message(1, 1, 'one'));
    expect(a.frame({ $case: 'goodbye', value: { reason: 'bye' } })).toEqual([
      send({ $case: 'goodbyeAcknowledged', value: {} }),
    ]);
    a.step({ type: 'disconnected' });
    expect(a.step({ type: 'delivered', number: 1 })).toEqual([
      { type: 'friend-left', reason: 'bye' },
    ]);
  });

  it('is answered again but passed on once when it comes again', () => {
    const a = new Subject();
    a.connect();
    a.frame({ $case: 'goodbye', value: { reason: 'bye' } });
    expect(a.frame({ $case: 'goodbye', value: { reason: 'bye' } })).toEqual([
      send({ $case: 'goodbyeAcknowledged', value: {} }),
    ]);
  });

  it('is repeated every 250 ms, and given up after a second', () => {
    const a = new Subject();
    const goodbye = send({ $case: 'goodbye', value: { reason: 'done' } });
    a.connect();
    expect(a.step({ type: 'goodbye', reason: 'done', expectConnection: false })).toEqual([
      goodbye,
      { type: 'writable', writable: false },
    ]);
    for (const at of [250, 500, 750]) {
      expect(a.machine.nextDeadline()).toBe(at);
      a.now = at;
      expect(a.step({ type: 'tick' })).toEqual([goodbye]);
    }
    a.now = 999;
    expect(a.step({ type: 'tick' })).toEqual([]);
    a.now = 1_000;
    expect(a.machine.nextDeadline()).toBe(1_000);
    expect(a.step({ type: 'tick' })).toContainEqual({ type: 'left', answered: false });
    expect(a.machine.nextDeadline()).toBeUndefined();
  });

  it('is over as soon as the friend answers', () => {
    const a = new Subject();
    a.connect();
    a.step({ type: 'goodbye', reason: 'done', expectConnection: false });
    expect(a.frame({ $case: 'goodbyeAcknowledged', value: {} })).toContainEqual({
      type: 'left',
      answered: true,
    });
    expect(a.machine.nextDeadline()).toBeUndefined();
  });

  it('is said again on the next connection', () => {
    const a = new Subject();
    a.connect();
    a.step({ type: 'goodbye', reason: 'done', expectConnection: false });
    a.step({ type: 'disconnected' });
    a.now = 100;
    expect(a.connect()).toEqual([send({ $case: 'goodbye', value: { reason: 'done' } })]);
  });

  it('waits for a connection that is about to be there', () => {
    const a = new Subject();
    expect(a.step({ type: 'goodbye', reason: 'done', expectConnection: true })).toEqual([
      { type: 'writable', writable: false },
    ]);
    a.now = 10;
    expect(a.connect()).toEqual([send({ $case: 'goodbye', value: { reason: 'done' } })]);

    const b = new Subject();
    b.step({ type: 'goodbye', reason: 'done', expectConnection: true });
    b.now = 1_000;
    expect(b.step({ type: 'tick' })).toContainEqual({ type: 'left', answered: false });
  });

  it('is over at once where nobody is connected', () => {
    expect(
      new Subject().step({ type: 'goodbye', reason: 'done', expectConnection: false }),
    ).toEqual([{ type: 'left', answered: false }]);
  });
});

describe('a hostile friend', () => {
  const faults = (effects: SessionEffect[]): boolean =>
    effects.length === 1 && effects[0]?.type === 'fault';

  it.each<[string, NonNullable<PeerFrame['kind']>]>([
    ['a number with a gap before it', message(2, 1, 'x')],
    ['the number 0', message(0, 1, 'x')],
    ['the highest number there is', { $case: 'end', value: { number: 2n ** 64n - 1n } }],
    [
      'an id no JSON number holds',
      { $case: 'message', value: { number: 1n, id: 2n ** 53n, text: '' } },
    ],
    ['the id 0', message(1, 0, 'x')],
    ['a text over 64 KiB', message(1, 1, 'x'.repeat(65_537))],
    ['an acknowledgement of what was never sent', ack(1)],
    ['a second hello', { $case: 'hello', value: { from: '', to: '', receivedUpTo: 0n } as never }],
    ['a second welcome', { $case: 'welcome', value: { receivedUpTo: 0n } as never }],
  ])('ends its connection with %s', (_, kind) => {
    const a = new Subject();
    a.connect();
    expect(faults(a.frame(kind))).toBe(true);
    expect(a.frame(message(1, 1, 'later'))).toEqual([]);
  });

  it('ends its connection by claiming more received than was sent', () => {
    expect(faults(new Subject().connect(F1, 1))).toBe(true);
  });

  it('ends its connection with a message or an end after the end', () => {
    for (const kind of [message(2, 1, 'x'), end(2)]) {
      const a = new Subject();
      a.connect();
      a.frame(end(1));
      expect(faults(a.frame(kind))).toBe(true);
    }
  });

  it('cannot make us answer goodbyes without end', () => {
    const a = new Subject();
    a.connect();
    const goodbye = { $case: 'goodbye', value: { reason: '' } } as const;
    for (let i = 0; i < 16; i++) expect(faults(a.frame(goodbye))).toBe(false);
    expect(faults(a.frame(goodbye))).toBe(true);
  });

  it('cannot make us hold more than 1,000 messages the program has not taken', () => {
    const a = new Subject();
    a.connect();
    for (let i = 1; i <= 1_000; i++) a.frame(message(i, i, 'x'));
    expect(faults(a.frame(message(1_001, 1_001, 'x')))).toBe(true);
  });

  it('cannot make us hold more than 4 MiB, and one message, the program has not taken', () => {
    const a = new Subject();
    a.connect();
    const large = 'x'.repeat(65_536);
    for (let i = 1; i <= 64; i++) expect(a.frame(message(i, i, large))).toHaveLength(1);
    expect(faults(a.frame(message(65, 65, large)))).toBe(true);
  });

  it('never makes it throw, whatever it sends', () => {
    const number = fc.oneof(fc.bigInt(0n, 5n), fc.bigInt(0n, 2n ** 64n - 1n));
    const kinds = fc.oneof(
      fc.record({
        $case: fc.constant('message'),
        value: fc.record({ number, id: number, text: fc.string() }),
      }),
      fc.record({ $case: fc.constantFrom('end', 'acknowledgement'), value: fc.record({ number }) }),
      fc.record({ $case: fc.constant('goodbye'), value: fc.record({ reason: fc.string() }) }),
      fc.record({ $case: fc.constant('goodbyeAcknowledged'), value: fc.constant({}) }),
    );
    fc.assert(
      fc.property(fc.array(kinds), (frames) => {
        const a = new Subject();
        a.connect();
        a.submit('one', 'two');
        for (const kind of frames) a.frame(kind);
        expect(a.machine.unacknowledged).toBeLessThanOrEqual(2);
      }),
    );
  });
});
