import { setNewest } from '../base/newest.ts';
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
  /** Known from an earlier conversation with the same session: it only has to be acknowledged. */
  | { readonly kind: 'known' }
  | { readonly kind: 'fault'; readonly why: string };

/** Of so many of the friend's sessions it is remembered which messages are known. */
const MAX_SESSIONS = 8;

/** A message that was received, and that the program has not taken unless it is `known`. */
interface Pending {
  readonly number: number;
  readonly bytes: number;
  readonly session: string;
  readonly id: number;
  /** The program has it from an earlier conversation. */
  readonly known: boolean;
}

/** What the friend has said: in order, without duplicates, and how much of it the program took. */
export class SessionInbox {
  /** Highest number received from, and taken by the program of, the friend's present conversation. */
  #received = 0;
  #delivered = 0;
  /** What earlier conversations of the friend's used up of the delivery numbers. */
  #base = 0;
  /** The friend's present session. */
  #session = '';
  /** By session of the friend's, the highest id received, and taken by the program. Ids only grow. */
  readonly #receivedIds: Map<string, number>;
  readonly #takenIds: Map<string, number>;
  /** When the present conversation began, this had been received of its session. */
  #knownId = 0;
  /** The messages that need the program's word, oldest first, all conversations together. */
  readonly #pending: Pending[] = [];
  #pendingBytes = 0;
  /** The number of the friend's `end`, once received. */
  #end: number | undefined;

  /** @param takenIds as an earlier inbox for the same friend had them. */
  constructor(takenIds: ReadonlyMap<string, number> = new Map()) {
    this.#takenIds = new Map(takenIds);
    this.#receivedIds = new Map(takenIds);
  }

  /** By session of the friend's, the highest id that the program has taken. */
  get takenIds(): ReadonlyMap<string, number> {
    return this.#takenIds;
  }

  /** The highest number of the present conversation's that needs no sending again. */
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

  /**
   * A new conversation of the friend's, in this session: its numbers start at 1. What is pending
   * stays pending, and what was received of the same session before is known by its id.
   */
  restart(session: string): void {
    this.#base += this.#received;
    this.#received = 0;
    this.#delivered = 0;
    this.#end = undefined;
    this.#session = session;
    this.#knownId = this.#receivedIds.get(session) ?? 0;
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
    const id = Number(message.id);
    const session = this.#session;
    if (id <= this.#knownId) {
      this.#pending.push({ number, bytes: 0, session, id: 0, known: true });
      this.#settleKnown();
      return { kind: 'known' };
    }
    this.#pending.push({ number, bytes, session, id, known: false });
    this.#pendingBytes += bytes;
    note(this.#receivedIds, session, id);
    return { kind: 'delivery', delivery: { number, id, text: message.text } };
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
   * @returns whether there is something new to acknowledge to the friend's present conversation.
   */
  take(delivery: number): boolean {
    const before = this.#delivered;
    for (let first; (first = this.#pending[0]) !== undefined && first.number <= delivery;) {
      this.#takeFirst(first);
      note(this.#takenIds, first.session, first.id);
    }
    this.#settleKnown();
    return this.#delivered > before;
  }

  /** What is known needs no program: it counts as taken as soon as everything before it is. */
  #settleKnown(): void {
    for (let first; (first = this.#pending[0]) !== undefined && first.known;) {
      this.#takeFirst(first);
    }
    this.#settleEnd();
  }

  #takeFirst({ number, bytes }: Pending): void {
    this.#pending.shift();
    this.#pendingBytes -= bytes;
    // What an earlier conversation brought has nobody left who waits for the acknowledgement.
    this.#delivered = Math.max(this.#delivered, number - this.#base);
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

/** Notes the highest id of a session. */
function note(ids: Map<string, number>, session: string, id: number): void {
  setNewest(ids, session, Math.max(ids.get(session) ?? 0, id), MAX_SESSIONS);
}

function fault(why: string): { kind: 'fault'; why: string } {
  return { kind: 'fault', why };
}
