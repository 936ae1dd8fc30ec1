import { ExitCode } from '../base/errors.ts';

/** A side that had lines to send listens this long after connecting before it says goodbye. */
const LISTEN_MS = 5_000;
/** A side that has said everything waits this long for a friend that vanished. */
const VANISHED_MS = 5_000;
/** Closing takes no longer than this: a goodbye repeated, the last acknowledgements awaited. */
const CLOSING_MS = 1_000;

export type EndingInput =
  /** A pair of sessions is connected for the first time. */
  | { readonly type: 'connected' }
  /** The same pair is connected again. */
  | { readonly type: 'reconnected' }
  /** The connection broke, without a goodbye. */
  | { readonly type: 'disconnected' }
  /** A line of input was accepted for sending. */
  | { readonly type: 'line-submitted' }
  /** The friend's program has written one of our lines. */
  | { readonly type: 'line-delivered' }
  /** The input has ended, and every line before its end was submitted. */
  | { readonly type: 'input-ended' }
  | { readonly type: 'end-acknowledged' }
  /** The friend's input has ended, and every line of theirs was written here. */
  | { readonly type: 'friend-ended' }
  | { readonly type: 'friend-goodbye' }
  /** Our goodbye was answered, or cannot be. */
  | { readonly type: 'goodbye-over' }
  | { readonly type: 'tick' };

export type EndingEffect =
  /** Tell the friend that no line will follow. */
  | { readonly type: 'send-end' }
  | { readonly type: 'send-goodbye' }
  /** Tell the user that the friend has left; the program waits for the friend again. */
  | { readonly type: 'print-disconnected' }
  | { readonly type: 'exit'; readonly code: ExitCode };

/** Whether the friend can be heard: never yet, now, after a goodbye no more, or lost without one. */
type Presence = 'awaited' | 'here' | 'left' | 'vanished';

/**
 * What the end of input means: when a chat whose input is a file or a pipe is over. The rules are
 * the contract's paragraph "End of input means …"; each of its sentences is a test of this class.
 * Pure.
 */
export class Ending {
  #presence: Presence = 'awaited';
  /** Since when the present pair of sessions is connected, and since when a friend has vanished. */
  #connectedAt = 0;
  #vanishedAt = 0;
  #inputEnded = false;
  #linesSubmitted = 0;
  #linesDelivered = 0;
  #endAcknowledged = false;
  #friendEnded = false;
  /** Until when closing may take; undefined while nothing says that the chat is over. */
  #closingUntil: number | undefined;
  #exited = false;

  step(input: EndingInput, now: number): EndingEffect[] {
    if (this.#exited) return [];
    const effects = this.#take(input, now);
    if (this.#isOver(now)) {
      this.#exited = true;
      effects.push({ type: 'exit', code: ExitCode.done });
    } else if (this.#closingUntil === undefined && this.#mayLeave(now)) {
      this.#closingUntil = now + CLOSING_MS;
      effects.push({ type: 'send-goodbye' });
    }
    return effects;
  }

  /** When `tick` is due, on the clock of `now`. */
  nextDeadline(): number | undefined {
    if (this.#exited) return undefined;
    if (this.#closingUntil !== undefined) return this.#closingUntil;
    if (!this.#inputEnded || this.#unacknowledged > 0) return undefined;
    if (this.#presence === 'vanished') return this.#vanishedAt + VANISHED_MS;
    if (this.#presence === 'here' && this.#linesSubmitted > 0) return this.#connectedAt + LISTEN_MS;
    return undefined;
  }

  get #unacknowledged(): number {
    return this.#linesSubmitted - this.#linesDelivered;
  }

  #take(input: EndingInput, now: number): EndingEffect[] {
    switch (input.type) {
      case 'connected':
        // A friend that has started anew knows of no end, neither ours nor its own.
        this.#endAcknowledged = false;
        this.#friendEnded = false;
        this.#connectedAt = now;
        this.#presence = 'here';
        return [];
      case 'reconnected':
        this.#presence = 'here';
        return [];
      case 'disconnected':
        if (this.#presence === 'here') {
          this.#presence = 'vanished';
          this.#vanishedAt = now;
        } else if (this.#presence === 'left' && this.#closingUntil !== undefined) {
          this.#closingUntil = now;
        }
        return [];
      case 'line-submitted':
        this.#linesSubmitted++;
        return [];
      case 'line-delivered':
        this.#linesDelivered++;
        return [];
      case 'input-ended':
        if (this.#inputEnded) return [];
        this.#inputEnded = true;
        return [{ type: 'send-end' }];
      case 'end-acknowledged':
        this.#endAcknowledged = true;
        return [];
      case 'friend-ended':
        this.#friendEnded = true;
        return [];
      case 'friend-goodbye':
        return this.#friendGoodbye(now);
      case 'goodbye-over':
        if (this.#closingUntil !== undefined) this.#closingUntil = now;
        return [];
      case 'tick':
        return [];
    }
  }

  #friendGoodbye(now: number): EndingEffect[] {
    this.#presence = 'left';
    if (!this.#inputEnded) return [{ type: 'print-disconnected' }];
    // The friend hears what was on its way before our answer; its acknowledgements may still come.
    this.#closingUntil ??= now + CLOSING_MS;
    return [];
  }

  #isOver(now: number): boolean {
    if (!this.#inputEnded) return false;
    if (this.#closingUntil !== undefined && now >= this.#closingUntil) return true;
    if (this.#unacknowledged > 0) return false;
    if (this.#presence === 'left') return true;
    // A goodbye that nobody answered is said again if the friend comes back while closing lasts.
    return (
      this.#presence === 'vanished' &&
      this.#closingUntil === undefined &&
      now >= this.#vanishedAt + VANISHED_MS
    );
  }

  /** Whether it is time to say goodbye: both have ended, or this side has listened long enough. */
  #mayLeave(now: number): boolean {
    if (!this.#inputEnded || this.#unacknowledged > 0 || this.#presence !== 'here') return false;
    if (this.#friendEnded && this.#endAcknowledged) return true;
    return this.#linesSubmitted > 0 && now >= this.#connectedAt + LISTEN_MS;
  }
}
