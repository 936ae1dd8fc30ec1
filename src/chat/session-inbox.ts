import type { ChatMessage } from '../rpc/generated/chatty/v1/peer.ts';
import {
  MAX_TEXT_BYTES,
  MAX_UNACKNOWLEDGED_BYTES,
  MAX_UNACKNOWLEDGED_MESSAGES,
} from './session-limits.ts';

/** A message on its way to the program. */
export interface Delivery {
  /**
   * Counts what one conversation delivers, over all sessions of the friend's; the program hands it
   * back when it has written the message.
   */
  readonly number: number;
  /** The sender's id of the message. */
  readonly id: number;
  readonly text: string;
}

type Received =
  | { readonly kind: 'delivery'; readonly delivery: Delivery }
  /** Known already: a replay after a reconnect. */
  | { readonly kind: 'duplicate' }
  | { readonly kind: 'fault'; readonly why: string };

/** What the friend has said: in order, without duplicates, and how much of it the program took. */
export class SessionInbox {
  /** Highest number received from, and taken by the program of, the friend's present session. */
  #received = 0;
  #delivered = 0;
  /** What earlier sessions of the friend's used up of the delivery numbers. */
  #base = 0;
  /** Sizes of the messages the program has not taken, oldest first, all sessions together. */
  readonly #pending: { readonly number: number; readonly bytes: number }[] = [];
  #pendingBytes = 0;
  /** The number of the friend's `end`, once received. */
  #end: number | undefined;

  /** The highest number of the present session's that needs no sending again. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Whether the program has taken everything received so far. */
  get drained(): boolean {
    return this.#pending.length === 0;
  }

  /** Whether the friend has said its last word and the program has taken everything before it. */
  get ended(): boolean {
    return this.#end !== undefined && this.#delivered >= this.#end;
  }

  /** A new session of the friend's: its numbers start at 1. What is pending stays pending. */
  restart(): void {
    this.#base += this.#received;
    this.#received = 0;
    this.#delivered = 0;
    this.#end = undefined;
  }

  receiveMessage(message: ChatMessage): Received {
    const place = this.#place(message.number);
    if (place !== undefined) return place;
    if (this.#end !== undefined) return fault('a message after the end of messages');
    if (message.id < 1n || message.id > BigInt(Number.MAX_SAFE_INTEGER)) {
      return fault(`a message with the id ${message.id}`);
    }
    const bytes = Buffer.byteLength(message.text);
    if (bytes > MAX_TEXT_BYTES) return fault(`a message of ${bytes} bytes`);
    if (
      this.#pending.length >= MAX_UNACKNOWLEDGED_MESSAGES ||
      this.#pendingBytes >= MAX_UNACKNOWLEDGED_BYTES
    ) {
      return fault('more messages than may be under way without acknowledgement');
    }
    this.#received++;
    const number = this.#base + this.#received;
    this.#pending.push({ number, bytes });
    this.#pendingBytes += bytes;
    return { kind: 'delivery', delivery: { number, id: Number(message.id), text: message.text } };
  }

  receiveEnd(number: bigint): Exclude<Received, { kind: 'delivery' }> | { readonly kind: 'end' } {
    const place = this.#place(number);
    if (place !== undefined) return place;
    if (this.#end !== undefined) return fault('a second end of messages');
    this.#received++;
    this.#end = this.#received;
    this.#settleEnd();
    return { kind: 'end' };
  }

  /**
   * The program has taken everything up to this delivery.
   * @returns whether there is something new to acknowledge to the friend's present session.
   */
  take(delivery: number): boolean {
    let taken = 0;
    for (const { number, bytes } of this.#pending) {
      if (number > delivery) break;
      taken++;
      this.#pendingBytes -= bytes;
    }
    const last = this.#pending.splice(0, taken).at(-1);
    const before = this.#delivered;
    // What an earlier session of the friend's sent has nobody left who waits for the acknowledgement.
    if (last !== undefined) this.#delivered = Math.max(before, last.number - this.#base);
    this.#settleEnd();
    return this.#delivered > before;
  }

  /** The end needs no program: it counts as taken as soon as everything before it is. */
  #settleEnd(): void {
    if (this.#end !== undefined && this.#delivered === this.#end - 1) this.#delivered = this.#end;
  }

  /** What to say of a number that is not the next one. */
  #place(number: bigint): { kind: 'duplicate' } | { kind: 'fault'; why: string } | undefined {
    if (number === BigInt(this.#received + 1)) return undefined;
    if (number >= 1n && number <= BigInt(this.#received)) return { kind: 'duplicate' };
    return fault(`number ${number} where ${this.#received + 1} comes next`);
  }
}

function fault(why: string): { kind: 'fault'; why: string } {
  return { kind: 'fault', why };
}
