import { Alarm } from '../base/alarm.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';
import { EventQueue } from '../base/event-queue.ts';
import { compareBytes, formatFingerprint } from '../base/identity.ts';
import { stripControl } from '../base/name.ts';
import { shellWord } from '../base/shell-word.ts';
import type { GuessProgress, RelayLimit } from '../path/index.ts';
import type { ConnectionInfo } from '../peer/connection-report.ts';
import type { FriendLink } from '../peer/friend-link.ts';
import type { FriendRoster, LinkEvents } from '../peer/friend-roster.ts';
import type { Obstacle } from '../peer/obstacle.ts';
import { formatSession } from '../rpc/session-id.ts';
import type { SessionEffect, SessionInput } from './session-events.ts';
import { type ConversationMemory, ConversationSession } from './session.ts';
import { MAX_TEXT_BYTES } from './session-limits.ts';

/**
 * How long somebody else may hold the friend's name before it is reported as a changed key: the
 * friend may be about to come, and is then met by key.
 */
const CONFLICT_GRACE_MS = 3_000;

/** How well the friend's key is known. */
export type Trust = 'first-use' | 'known' | 'verified';

/** The way to the friend, as it is shown. */
export interface PathInfo extends Omit<ConnectionInfo, 'fingerprint'> {
  readonly friend: string;
  /** Since the program started, and since the servers matched the two, in milliseconds. */
  readonly sinceStartMs: number;
  readonly sinceMatchMs: number;
  /** The friend's proven key, as `sha256-…`. */
  readonly fingerprint: string;
  readonly trust: Trust;
}

export type ConversationEvent =
  | { readonly type: 'waiting'; readonly friend: string }
  | { readonly type: 'matched'; readonly friend: string }
  /** Once a pair of sessions: messages flow from here on. */
  | ({ readonly type: 'connected' } & PathInfo)
  /** Another way to the same session, or the same again after `reconnecting`. */
  | ({ readonly type: 'path' } & PathInfo)
  | {
      readonly type: 'message';
      readonly from: string;
      /** The number the friend's program gave it; with `session`, the same again is the same message. */
      readonly id: number;
      readonly session: string;
      readonly text: string;
      /** The program has it: only now does the friend learn that it was delivered. */
      accept(): void;
    }
  | { readonly type: 'delivered'; readonly id: number }
  | { readonly type: 'end-acknowledged' }
  | { readonly type: 'friend-ended' }
  /** The friend said goodbye; it is waited for again. */
  | { readonly type: 'left'; readonly reason: string }
  /** No direct path was found, for this reason; where there is a relay, it goes on. */
  | ({ readonly type: 'obstacle' } & Obstacle)
  /** Ports are guessed, since ordinary checks found no direct path; every 2 s, and when it is over. */
  | ({ readonly type: 'guessing' } & GuessProgress)
  /** The relaying server drops what is more than it allows. */
  | { readonly type: 'relay-limited'; readonly limit: RelayLimit }
  | { readonly type: 'reconnecting' }
  /** Given up reconnecting; the friend is waited for again. */
  | { readonly type: 'disconnected'; readonly reason: string }
  /** `fatal`: the conversation can't go on. */
  | { readonly type: 'error'; readonly error: ChattyError; readonly fatal: boolean };

export interface ConversationOptions {
  readonly friends: FriendRoster;
  readonly clock: Clock;
  /** When the program started, on `clock`. */
  readonly startedAt: number;
  readonly ownName: string;
  readonly friend: string;
  /** The key the friend must have, and how well it is known. */
  readonly expected: { readonly fingerprint: Uint8Array; readonly trust: Trust } | undefined;
  /** Keeps a key that was accepted on first use or proven. */
  remember(fingerprint: Uint8Array): void;
  /** Of the last conversation with this friend in this session of ours. */
  readonly before: ConversationMemory | undefined;
  /** Ends the conversation at once when it aborts. */
  readonly signal: AbortSignal | undefined;
  onClosed(memory: ConversationMemory): void;
}

/** The conversation with one friend; goes on across connections and sessions of theirs. */
export class Conversation {
  readonly friend: string;
  readonly #options: ConversationOptions;
  readonly #events = new EventQueue<ConversationEvent>(mustReachTheReader);
  readonly #session: ConversationSession;
  readonly #link: FriendLink;
  readonly #writableWaiters: (() => void)[] = [];
  readonly #endWaiters: (() => void)[] = [];
  readonly #leaveWaiters: (() => void)[] = [];
  readonly #onAbort = (): void => this.close();
  #expected: ConversationOptions['expected'];
  /** The friend's key was proven, though frames may not pass yet. */
  #reached = false;
  /** The friend knows of the end of our messages. */
  #endKnown = false;
  #matchedAt = 0;
  readonly #alarm: Alarm;
  #conflictTimer: Timer | undefined;
  #closed = false;

  constructor(options: ConversationOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => this.#step({ type: 'tick' }));
    this.friend = options.friend;
    this.#expected = options.expected;
    this.#session = new ConversationSession(options.before);
    this.#link = options.friends.add(
      options.friend,
      options.expected?.fingerprint,
      this.#linkEvents(),
    );
    this.#events.push({ type: 'waiting', friend: this.friend });
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /**
   * What happens, in order; ends when the conversation is closed. One reader. Where nobody reads, only
   * messages and the last few thousand of the other events are kept.
   */
  get events(): AsyncIterable<ConversationEvent> {
    return this.#events;
  }

  /** How many messages the friend's program has not acknowledged. */
  get unacknowledged(): number {
    return this.#session.unacknowledged;
  }

  /**
   * Queues a message and resolves with its number once there is room for it; `delivered` with the
   * same number follows when the friend's program has it.
   * @throws ChattyError CHATTY_MESSAGE_TOO_LONG over 65,536 bytes of UTF-8, CHATTY_USAGE after `end`
   * or `goodbye`; the signal's reason if it aborts before there is room.
   */
  async send(
    text: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly id: number }> {
    for (;;) {
      options.signal?.throwIfAborted();
      const result = this.#step({ type: 'submit', text });
      for (const effect of result) {
        if (effect.type === 'accepted') return { id: effect.id };
        if (effect.type === 'refused' && effect.why === 'too-long') {
          throw new ChattyError(
            'CHATTY_MESSAGE_TOO_LONG',
            `the message has ${Buffer.byteLength(text)} bytes, more than ${MAX_TEXT_BYTES}`,
            { hint: 'Send it in several messages.' },
          );
        }
        if (effect.type === 'refused' && effect.why === 'ended') this.#throwEnded();
      }
      if (this.#closed) this.#throwEnded();
      await this.#room(options.signal);
    }
  }

  /** Resolves when there may be room for a message, or the signal aborts. */
  async #room(signal: AbortSignal | undefined): Promise<void> {
    const waiters = this.#writableWaiters;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener('abort', wake);
        if (waiters.includes(wake)) waiters.splice(waiters.indexOf(wake), 1);
        resolve();
      };
      waiters.push(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  /**
   * No message will follow. Resolves when the friend knows and has every message, or when the
   * conversation is closed before that (`unacknowledged` tells).
   */
  async end(): Promise<void> {
    if (this.#closed || this.#endKnown) return;
    const acknowledged = new Promise<void>((resolve) => this.#endWaiters.push(resolve));
    this.#step({ type: 'end-input' });
    await acknowledged;
  }

  /** Leaves: tells the friend, waits for its answer for at most a second, and closes. */
  async goodbye(reason = 'left'): Promise<void> {
    if (this.#closed) return;
    const left = new Promise<void>((resolve) => this.#leaveWaiters.push(resolve));
    this.#step({ type: 'goodbye', reason, expectConnection: this.#reached });
    await left;
    this.close();
  }

  /** Closes at once, without a word to the friend. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#alarm.cancel();
    this.#conflictTimer?.cancel();
    this.#options.friends.remove(this.friend);
    this.#events.close();
    for (const waiters of [this.#writableWaiters, this.#endWaiters, this.#leaveWaiters]) {
      for (const resolve of waiters.splice(0)) resolve();
    }
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#options.onClosed(this.#session.memory);
  }

  #throwEnded(): never {
    throw new ChattyError('CHATTY_USAGE', 'the conversation is over: nothing more can be sent');
  }

  #step(input: SessionInput): readonly SessionEffect[] {
    if (this.#closed) return [];
    const { clock } = this.#options;
    const effects = this.#session.step(input, clock.now());
    for (const effect of effects) this.#carryOut(effect);
    this.#alarm.set(this.#session.nextDeadline());
    return effects;
  }

  #carryOut(effect: SessionEffect): void {
    switch (effect.type) {
      case 'send':
        if (effect.frame.kind !== undefined) this.#link.send(effect.frame.kind);
        return;
      case 'deliver':
        this.#events.push({
          type: 'message',
          from: this.friend,
          id: effect.id,
          session: formatSession(effect.session),
          text: effect.text,
          accept: () => void this.#step({ type: 'delivered', number: effect.number }),
        });
        return;
      case 'acknowledged':
        this.#events.push({ type: 'delivered', id: effect.id });
        return;
      case 'end-acknowledged':
        this.#endKnown = true;
        this.#events.push({ type: 'end-acknowledged' });
        for (const resolve of this.#endWaiters.splice(0)) resolve();
        return;
      case 'friend-ended':
        this.#events.push({ type: 'friend-ended' });
        return;
      case 'friend-left':
        this.#events.push({ type: 'left', reason: stripControl(effect.reason) });
        this.#reached = false;
        this.#link.finish();
        this.#events.push({ type: 'waiting', friend: this.friend });
        return;
      case 'left':
        for (const resolve of this.#leaveWaiters.splice(0)) resolve();
        return;
      case 'writable':
        if (effect.writable) for (const resolve of this.#writableWaiters.splice(0)) resolve();
        return;
      case 'fault':
        this.#report(new ChattyError('CHATTY_PROTOCOL', effect.message));
        this.#link.drop(effect.message);
        return;
      case 'outdated':
        this.#link.drop('greeted too early');
        return;
      case 'accepted':
      case 'refused':
        return;
    }
  }

  #linkEvents(): LinkEvents {
    return {
      matched: () => {
        this.#conflictTimer?.cancel();
        this.#conflictTimer = undefined;
        this.#matchedAt = this.#options.clock.now();
        this.#events.push({ type: 'matched', friend: this.friend });
      },
      connected: (info) => {
        this.#reached = true;
        this.#events.push({ type: 'connected', ...this.#pathInfo(info) });
        this.#options.remember(info.fingerprint);
        // From now on the friend is known by key: whoever takes the name later is not the friend.
        this.#expected ??= { fingerprint: info.fingerprint, trust: 'first-use' };
        this.#options.friends.requireKey(this.friend, info.fingerprint);
      },
      path: (info) => {
        this.#reached = true;
        this.#events.push({ type: 'path', ...this.#pathInfo(info) });
      },
      up: (friendSession, greeting) =>
        void this.#step({ type: 'connected', friendSession, greeting }),
      greeted: (greeting) => void this.#step({ type: 'greeted', greeting }),
      frame: (frame) => void this.#step({ type: 'frame', frame: { kind: frame } }),
      down: () => void this.#step({ type: 'disconnected' }),
      reconnecting: () => {
        this.#reached = false;
        this.#events.push({ type: 'reconnecting' });
      },
      disconnected: () => {
        this.#events.push({ type: 'disconnected', reason: 'the friend could not be reached' });
        this.#events.push({ type: 'waiting', friend: this.friend });
      },
      unreachable: () =>
        this.#report(
          new ChattyError(
            'CHATTY_NO_FRIEND',
            `${this.friend} is there, but no direct path between the two networks was found`,
            { hint: 'One of you can try another network. Chatty goes on trying.' },
          ),
        ),
      obstacle: (obstacle) => this.#events.push({ type: 'obstacle', ...obstacle }),
      guessing: (progress) => this.#events.push({ type: 'guessing', ...progress }),
      relayLimited: (limit) => this.#events.push({ type: 'relay-limited', limit }),
      fault: (error) => this.#report(error),
      greeting: (session, friendConversation) =>
        this.#session.greeting(session, friendConversation),
      conflict: (heldBy) => this.#conflict(heldBy),
    };
  }

  #conflict(heldBy: Uint8Array): void {
    const expected = this.#expected;
    if (expected === undefined || compareBytes(expected.fingerprint, heldBy) === 0) return;
    // While the friend is matched, whoever else holds the name does not matter.
    if (this.#link.match !== undefined) return;
    this.#conflictTimer ??= this.#options.clock.setTimer(CONFLICT_GRACE_MS, () => {
      const { ownName } = this.#options;
      const found = formatFingerprint(heldBy);
      this.#report(
        new ChattyError(
          'CHATTY_KEY_CHANGED',
          `whoever waits under the name ${this.friend} has the key ${found}, ` +
            `not ${formatFingerprint(expected.fingerprint)}: your friend has made a new key, or ` +
            'somebody else uses the name',
          {
            hint:
              'Ask your friend by another way. If the new key is theirs: ' +
              `chatty trust ${shellWord(ownName)} ${shellWord(this.friend)} ${found}`,
          },
        ),
        true,
      );
    });
  }

  #report(error: ChattyError, fatal = false): void {
    this.#events.push({ type: 'error', error, fatal });
  }

  #pathInfo(info: ConnectionInfo): PathInfo {
    const now = this.#options.clock.now();
    const { fingerprint, ...path } = info;
    return {
      ...path,
      friend: this.friend,
      sinceStartMs: Math.round(now - this.#options.startedAt),
      sinceMatchMs: Math.round(now - this.#matchedAt),
      fingerprint: formatFingerprint(fingerprint),
      trust: this.#expected?.trust ?? 'first-use',
    };
  }
}

/** What the friend said waits however long: it is bounded by what may be unacknowledged. */
function mustReachTheReader(event: ConversationEvent): boolean {
  return event.type === 'message' || (event.type === 'error' && event.fatal);
}
