import { compareSessions } from '../rpc/session-id.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';
import { type Delivery, SessionInbox } from './session-inbox.ts';
import { MAX_TEXT_BYTES } from './session-limits.ts';
import { SessionOutbox } from './session-outbox.ts';

/** A goodbye without an answer is said again this often, and for this long in all. */
const GOODBYE_REPEAT_MS = 250;
const GOODBYE_TRIES_MS = 1_000;
/** On one connection: they need no acknowledgement, so nothing else bounds them. */
const MAX_GOODBYES = 16;
/** What is kept of a friend's reason, in UTF-16 code units. */
const MAX_REASON = 512;

export type SessionInput =
  /**
   * Frames go over a new connection from now on; it may replace another without `disconnected`.
   * `friendReceivedUpTo` is what its hello or welcome said, where that is known already.
   */
  | {
      readonly type: 'connected';
      readonly friendSession: SessionId;
      readonly friendReceivedUpTo?: bigint | undefined;
    }
  /** The friend's welcome said, after `connected`, how much it has. */
  | { readonly type: 'received-up-to'; readonly number: bigint }
  | { readonly type: 'disconnected' }
  | { readonly type: 'frame'; readonly frame: PeerFrame }
  /** The user says something. Answered with `accepted`, or with `refused` and then nothing is sent. */
  | { readonly type: 'submit'; readonly text: string }
  /** The user will say no more. */
  | { readonly type: 'end-input' }
  /** The program has written everything up to this delivery. */
  | { readonly type: 'delivered'; readonly number: number }
  /**
   * The user leaves. Answered with `left`: at the latest a second later, and at once where there is
   * neither a connection nor, as `expectConnection` says, one about to be there.
   */
  | { readonly type: 'goodbye'; readonly reason: string; readonly expectConnection: boolean }
  | { readonly type: 'tick' };

export type SessionEffect =
  | { readonly type: 'send'; readonly frame: PeerFrame }
  | { readonly type: 'accepted'; readonly id: number }
  | { readonly type: 'refused'; readonly why: 'too-long' | 'full' | 'ended' }
  /** Whether a further message has room. */
  | { readonly type: 'writable'; readonly writable: boolean }
  /** Give this to the program, and hand `delivered` back when it has written it. */
  | ({ readonly type: 'deliver'; readonly session: SessionId } & Delivery)
  /** The friend's program has written the message. */
  | { readonly type: 'acknowledged'; readonly id: number }
  | { readonly type: 'end-acknowledged' }
  /** The friend will say no more, and the program has written all it said. */
  | { readonly type: 'friend-ended' }
  /** The friend has said goodbye, and the program has written all it said. Untrusted text. */
  | { readonly type: 'friend-left'; readonly reason: string }
  /** Our goodbye is over: the friend has answered, or cannot. */
  | { readonly type: 'left'; readonly answered: boolean }
  /** The friend breaks the protocol: close the connection. Its further frames are ignored. */
  | { readonly type: 'fault'; readonly message: string };

/**
 * One conversation with one friend, above the connections that come and go: numbers what is said,
 * keeps it until it is acknowledged, says it again after a reconnect, and passes on what the friend
 * says in order and once. Pure; nothing a friend sends makes it throw or grow without bound.
 */
export class ConversationSession {
  readonly #outbox: SessionOutbox;
  readonly #inbox = new SessionInbox();
  #friendSession: SessionId | undefined;
  #connected = false;
  #writable = true;
  /** The friend's end has been passed on. */
  #endPassedOn = false;
  /** The friend's goodbye: its reason until it is passed on. */
  #friendLeft: { reason: string; passedOn: boolean } | undefined;
  /** The friend's on this connection. */
  #goodbyes = 0;
  #goodbye: { reason: string; since: number; sentAt: number } | undefined;

  /** @param lastId the highest id used in this session of ours, by an earlier conversation. */
  constructor(lastId = 0) {
    this.#outbox = new SessionOutbox(lastId);
  }

  /** The highest id used so far. */
  get lastId(): number {
    return this.#outbox.lastId;
  }

  /** How many messages the friend has not acknowledged. */
  get unacknowledged(): number {
    return this.#outbox.unacknowledged;
  }

  /** Whether a further message has room. */
  get writable(): boolean {
    return this.#outbox.writable && !this.#outbox.ended && this.#goodbye === undefined;
  }

  /** What a hello or welcome says to this session of the friend's: all up to here was delivered. */
  receivedUpTo(friendSession: SessionId): bigint {
    const known = this.#friendSession;
    if (known === undefined || compareSessions(known, friendSession) !== 0) return 0n;
    if (this.#isOver) return 0n;
    return BigInt(this.#inbox.delivered);
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
        this.#connect(input.friendSession, input.friendReceivedUpTo, now, effects);
        break;
      case 'received-up-to':
        if (this.#connected) this.#acknowledge(input.number, effects);
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
    receivedUpTo: bigint | undefined,
    now: number,
    effects: SessionEffect[],
  ): void {
    const order =
      this.#friendSession === undefined ? 1 : compareSessions(friendSession, this.#friendSession);
    if (order < 0) {
      this.#fault('a session older than the one known', effects);
      return;
    }
    if (order > 0 || this.#isOver) {
      this.#friendSession = friendSession;
      this.#outbox.renumber();
      this.#inbox.restart();
      this.#endPassedOn = false;
    } else {
      this.#outbox.rewind();
    }
    this.#friendLeft = undefined;
    this.#goodbyes = 0;
    this.#connected = true;
    if (receivedUpTo !== undefined) this.#acknowledge(receivedUpTo, effects);
    this.#flush(effects);
    this.#sendGoodbye(now, effects);
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
        const received = this.#inbox.receiveMessage(kind.value);
        const session = this.#friendSession;
        if (received.kind === 'fault') this.#fault(received.why, effects);
        else if (received.kind === 'delivery' && session !== undefined) {
          effects.push({ type: 'deliver', session, ...received.delivery });
        }
        break;
      }
      case 'end': {
        const received = this.#inbox.receiveEnd(kind.value.number);
        if (received.kind === 'fault') this.#fault(received.why, effects);
        else if (this.#inbox.ended) this.#sendAcknowledgement(effects);
        break;
      }
      case 'acknowledgement':
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
    for (const frame of this.#outbox.takeUnsent()) effects.push({ type: 'send', frame });
  }

  #sendAcknowledgement(effects: SessionEffect[]): void {
    const number = BigInt(this.#inbox.delivered);
    this.#send({ $case: 'acknowledgement', value: { number } }, effects);
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
