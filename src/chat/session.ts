import type { FriendGreeting } from '../peer/link-events.ts';
import { formatSession } from '../rpc/session-id.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';
import { ConversationNumbers } from './conversation-numbers.ts';
import type { SessionEffect, SessionInput } from './session-events.ts';
import { SessionInbox } from './session-inbox.ts';
import { MAX_TEXT_BYTES } from './session-limits.ts';
import { SessionOutbox } from './session-outbox.ts';

/** A goodbye without an answer is said again this often, and for this long in all. */
const GOODBYE_REPEAT_MS = 250;
const GOODBYE_TRIES_MS = 1_000;
/** On one connection: they need no acknowledgement, so nothing else bounds them. */
const MAX_GOODBYES = 16;
/** What is kept of a friend's reason, in UTF-16 code units. */
const MAX_REASON = 512;

/** What ours says. */
interface OwnGreeting extends FriendGreeting {
  readonly conversation: bigint;
}

/** What a conversation leaves to the next one with the same friend in the same session of ours. */
export interface ConversationMemory {
  /** The highest id used so far. */
  readonly lastId: number;
  /** The highest of its numbers. */
  readonly conversation: bigint;
  /** By session of the friend's, the highest id that the program has taken. */
  readonly takenIds: ReadonlyMap<string, number>;
}

const NO_MEMORY: ConversationMemory = { lastId: 0, conversation: 0n, takenIds: new Map() };

/**
 * One conversation with one friend, above the connections that come and go: numbers what is said,
 * keeps it until it is acknowledged, says it again after a reconnect, and passes on what the friend
 * says in order and once. Pure; nothing a friend sends makes it throw or grow without bound.
 */
export class ConversationSession {
  readonly #outbox: SessionOutbox;
  readonly #inbox: SessionInbox;
  readonly #numbers: ConversationNumbers;
  #friendSession: SessionId | undefined;
  /** The number of the friend's conversation; undefined while it has told none. */
  #friendConversation: bigint | undefined;
  #connected = false;
  #writable = true;
  /** The friend's end has been passed on. */
  #endPassedOn = false;
  /** The friend's goodbye: its reason until it is passed on. */
  #friendLeft: { reason: string; passedOn: boolean } | undefined;
  /** The friend's on this connection. */
  #goodbyes = 0;
  #goodbye: { reason: string; since: number; sentAt: number } | undefined;

  /** @param before of the last conversation with this friend in this session of ours. */
  constructor(before: ConversationMemory = NO_MEMORY) {
    this.#outbox = new SessionOutbox(before.lastId);
    this.#inbox = new SessionInbox(before.takenIds);
    this.#numbers = new ConversationNumbers(before.conversation);
  }

  get memory(): ConversationMemory {
    const { lastId } = this.#outbox;
    return { lastId, conversation: this.#numbers.last, takenIds: this.#inbox.takenIds };
  }

  /** How many messages the friend has not acknowledged. */
  get unacknowledged(): number {
    return this.#outbox.unacknowledged;
  }

  /** Whether a further message has room. */
  get writable(): boolean {
    return this.#outbox.writable && !this.#outbox.ended && this.#goodbye === undefined;
  }

  /**
   * What our hello or welcome says to this session of the friend's.
   * @param friendConversation the friend's number, where its hello has told it.
   */
  greeting(friendSession: SessionId, friendConversation?: bigint): OwnGreeting {
    const known = this.#friendConversation;
    const session = formatSession(friendSession);
    const conversation = this.#numbers.tell(session);
    const isAnew =
      !this.#numbers.isPresent(session) ||
      this.#isOver ||
      (friendConversation !== undefined && known !== undefined && friendConversation > known);
    return isAnew
      ? { conversation, toConversation: undefined, receivedUpTo: 0n }
      : { conversation, toConversation: known, receivedUpTo: BigInt(this.#inbox.delivered) };
  }

  /** When `tick` is due, on the clock of `now`. */
  nextDeadline(): number | undefined {
    const goodbye = this.#goodbye;
    if (goodbye === undefined) return undefined;
    return Math.min(goodbye.sentAt + GOODBYE_REPEAT_MS, goodbye.since + GOODBYE_TRIES_MS);
  }

  step(input: SessionInput, now: number): SessionEffect[] {
    const effects: SessionEffect[] = [];
    this.#take(input, now, effects);
    this.#passOn(effects);
    if (this.writable !== this.#writable) {
      this.#writable = this.writable;
      effects.push({ type: 'writable', writable: this.#writable });
    }
    return effects;
  }

  /** The friend has said goodbye: if the same session comes back, both begin anew. */
  get #isOver(): boolean {
    return this.#friendLeft?.passedOn === true;
  }

  #take(input: SessionInput, now: number, effects: SessionEffect[]): void {
    switch (input.type) {
      case 'connected':
        this.#connect(input.friendSession, input.greeting, now, effects);
        break;
      case 'greeted':
        if (!this.#connected) break;
        this.#learn(input.greeting);
        this.#greeted(input.greeting, effects);
        this.#flush(effects);
        break;
      case 'disconnected':
        this.#connected = false;
        break;
      case 'frame':
        if (this.#connected) this.#frame(input.frame, effects);
        break;
      case 'submit':
        this.#submit(input.text, effects);
        break;
      case 'end-input':
        this.#outbox.end();
        this.#flush(effects);
        break;
      case 'delivered':
        if (this.#inbox.take(input.number)) this.#sendAcknowledgement(effects);
        break;
      case 'goodbye':
        if (this.#goodbye !== undefined) break;
        if (!this.#connected && !input.expectConnection) {
          effects.push({ type: 'left', answered: false });
          break;
        }
        this.#goodbye = { reason: input.reason, since: now, sentAt: now };
        this.#sendGoodbye(now, effects);
        break;
      case 'tick':
        this.#repeatGoodbye(now, effects);
        break;
    }
  }

  #connect(
    friendSession: SessionId,
    greeting: FriendGreeting | undefined,
    now: number,
    effects: SessionEffect[],
  ): void {
    const session = formatSession(friendSession);
    const isAnew = !this.#numbers.isPresent(session) || this.#isOver;
    if (!this.#numbers.enter(session)) {
      this.#connected = false;
      effects.push({ type: 'outdated' });
      return;
    }
    this.#outbox.rewind();
    if (isAnew) this.#restart(friendSession);
    if (greeting !== undefined) this.#learn(greeting);
    this.#friendLeft = undefined;
    this.#goodbyes = 0;
    this.#connected = true;
    if (greeting !== undefined) this.#greeted(greeting, effects);
    this.#flush(effects);
    this.#sendGoodbye(now, effects);
  }

  /** The friend knows of nothing: both sides number anew. */
  #restart(friendSession: SessionId): void {
    this.#friendSession = friendSession;
    this.#friendConversation = undefined;
    this.#outbox.renumber();
    this.#inbox.restart(formatSession(friendSession));
    this.#endPassedOn = false;
  }

  /** Learns the number of the friend's conversation; a higher one than known is another conversation. */
  #learn({ conversation }: FriendGreeting): void {
    const known = this.#friendConversation;
    if (conversation === undefined || this.#friendSession === undefined) return;
    if (known !== undefined && conversation <= known) return;
    if (known !== undefined) this.#restart(this.#friendSession);
    this.#friendConversation = conversation;
  }

  #greeted({ toConversation, receivedUpTo }: FriendGreeting, effects: SessionEffect[]): void {
    if (this.#isOurs(toConversation)) this.#acknowledge(receivedUpTo, effects);
  }

  /** Whether what was said to that conversation was said to this one. */
  #isOurs(toConversation: bigint | undefined): boolean {
    return toConversation === undefined || toConversation === this.#numbers.present;
  }

  #submit(text: string, effects: SessionEffect[]): void {
    if (this.#outbox.ended || this.#goodbye !== undefined) {
      effects.push({ type: 'refused', why: 'ended' });
    } else if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
      effects.push({ type: 'refused', why: 'too-long' });
    } else if (!this.#outbox.writable) {
      effects.push({ type: 'refused', why: 'full' });
    } else {
      // Half a surrogate pair cannot travel as UTF-8: it becomes the replacement character here, so
      // that what is counted, kept and sent is one text.
      effects.push({ type: 'accepted', id: this.#outbox.add(text.toWellFormed()) });
      this.#flush(effects);
    }
  }

  #frame({ kind }: PeerFrame, effects: SessionEffect[]): void {
    switch (kind?.$case) {
      // A frame of a later version.
      case undefined:
        break;
      // The link's, at the beginning and the end of a connection.
      case 'hello':
      case 'welcome':
      case 'error':
        this.#fault(`${kind.$case} where it does not belong`, effects);
        break;
      case 'message': {
        if (!this.#isOurs(kind.value.toConversation)) break;
        const received = this.#inbox.receiveMessage(kind.value);
        const session = this.#friendSession;
        if (received.kind === 'fault') this.#fault(received.why, effects);
        else if (received.kind === 'delivery' && session !== undefined) {
          effects.push({ type: 'deliver', session, ...received.delivery });
        } else if (received.kind === 'known' && this.#inbox.drained) {
          this.#sendAcknowledgement(effects);
        }
        break;
      }
      case 'end': {
        if (!this.#isOurs(kind.value.toConversation)) break;
        const received = this.#inbox.receiveEnd(kind.value.number);
        if (received.kind === 'fault') this.#fault(received.why, effects);
        else if (this.#inbox.ended) this.#sendAcknowledgement(effects);
        break;
      }
      case 'acknowledgement':
        if (!this.#isOurs(kind.value.toConversation)) break;
        this.#acknowledge(kind.value.number, effects);
        break;
      case 'goodbye':
        if (++this.#goodbyes > MAX_GOODBYES) {
          this.#fault('goodbyes without end', effects);
          break;
        }
        this.#friendLeft ??= { reason: kind.value.reason.slice(0, MAX_REASON), passedOn: false };
        this.#send({ $case: 'goodbyeAcknowledged', value: {} }, effects);
        break;
      case 'goodbyeAcknowledged':
        if (this.#goodbye !== undefined) this.#leave(true, effects);
        break;
    }
  }

  #acknowledge(number: bigint, effects: SessionEffect[]): void {
    const settled = this.#outbox.acknowledge(number);
    if (settled === undefined) {
      this.#fault(`an acknowledgement of number ${number}, which was never sent`, effects);
      return;
    }
    for (const item of settled) {
      if (item.kind === 'end') effects.push({ type: 'end-acknowledged' });
      else effects.push({ type: 'acknowledged', id: item.id });
    }
  }

  /** End and goodbye reach the program after the messages before them, and once. */
  #passOn(effects: SessionEffect[]): void {
    if (this.#inbox.ended && !this.#endPassedOn) {
      this.#endPassedOn = true;
      effects.push({ type: 'friend-ended' });
    }
    const left = this.#friendLeft;
    if (left?.passedOn === false && this.#inbox.drained) {
      left.passedOn = true;
      effects.push({ type: 'friend-left', reason: left.reason });
      // Both leave: the friend that has gone cannot answer any more.
      if (this.#goodbye !== undefined) this.#leave(true, effects);
    }
  }

  #flush(effects: SessionEffect[]): void {
    if (!this.#connected) return;
    for (const frame of this.#outbox.takeUnsent(this.#friendConversation))
      effects.push({ type: 'send', frame });
  }

  #sendAcknowledgement(effects: SessionEffect[]): void {
    const value = {
      number: BigInt(this.#inbox.delivered),
      toConversation: this.#friendConversation,
    };
    this.#send({ $case: 'acknowledgement', value }, effects);
  }

  #sendGoodbye(now: number, effects: SessionEffect[]): void {
    if (this.#goodbye === undefined) return;
    this.#goodbye.sentAt = now;
    this.#send({ $case: 'goodbye', value: { reason: this.#goodbye.reason } }, effects);
  }

  #repeatGoodbye(now: number, effects: SessionEffect[]): void {
    const goodbye = this.#goodbye;
    if (goodbye === undefined) return;
    if (now >= goodbye.since + GOODBYE_TRIES_MS) this.#leave(false, effects);
    else if (now >= goodbye.sentAt + GOODBYE_REPEAT_MS) this.#sendGoodbye(now, effects);
  }

  #leave(answered: boolean, effects: SessionEffect[]): void {
    this.#goodbye = undefined;
    effects.push({ type: 'left', answered });
  }

  #send(kind: NonNullable<PeerFrame['kind']>, effects: SessionEffect[]): void {
    if (this.#connected) effects.push({ type: 'send', frame: { kind } });
  }

  #fault(message: string, effects: SessionEffect[]): void {
    this.#connected = false;
    effects.push({ type: 'fault', message: `the friend's program sent ${message}` });
  }
}
