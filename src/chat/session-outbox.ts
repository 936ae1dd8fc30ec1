import type { PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';
import { MAX_UNACKNOWLEDGED_BYTES, MAX_UNACKNOWLEDGED_MESSAGES } from './session-limits.ts';

type Item =
  | { readonly kind: 'message'; readonly id: number; readonly text: string; readonly bytes: number }
  | { readonly kind: 'end' };

/** What an acknowledgement settled, in order: the ids of messages, and the end. */
type Settled = { readonly kind: 'message'; readonly id: number } | { readonly kind: 'end' };

/**
 * What one side has said and the other has not acknowledged yet. Numbers belong to a pair of
 * conversations, ids to the sender's session: when the friend begins a new conversation, what is left
 * is numbered from 1 again and keeps its ids.
 */
export class SessionOutbox {
  /** Items without acknowledgement; the first has the number `#acknowledged + 1`. */
  readonly #items: Item[] = [];
  #acknowledged = 0;
  /** The highest number sent in this pair of conversations, on whatever connection. */
  #sent = 0;
  /** The highest number sent on this connection, or acknowledged. */
  #cursor = 0;
  #bytes = 0;
  #messages = 0;
  #lastId: number;
  #ended = false;

  constructor(lastId: number) {
    this.#lastId = lastId;
  }

  /** The highest id given so far. */
  get lastId(): number {
    return this.#lastId;
  }

  /** Whether another message has room. One that crosses the bound in bytes still fits. */
  get writable(): boolean {
    return this.#messages < MAX_UNACKNOWLEDGED_MESSAGES && this.#bytes < MAX_UNACKNOWLEDGED_BYTES;
  }

  /** How many messages (the end is none) the friend has not acknowledged. */
  get unacknowledged(): number {
    return this.#messages;
  }

  /** Whether `end` was called: nothing more may be added. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Adds a message. @returns its id: one more than the last. */
  add(text: string): number {
    const id = ++this.#lastId;
    const bytes = Buffer.byteLength(text);
    this.#items.push({ kind: 'message', id, text, bytes });
    this.#messages++;
    this.#bytes += bytes;
    return id;
  }

  /** No message will follow. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#items.push({ kind: 'end' });
  }

  /**
   * What has not been sent on this connection yet, numbered.
   * @param toConversation the friend's conversation that the numbers count in, where it is known.
   */
  takeUnsent(toConversation: bigint | undefined): PeerFrame[] {
    const first = this.#cursor - this.#acknowledged;
    const frames = this.#items
      .slice(first)
      .map((item, index) => frameOf(item, this.#cursor + 1 + index, toConversation));
    this.#cursor += frames.length;
    this.#sent = Math.max(this.#sent, this.#cursor);
    return frames;
  }

  /** A new connection in the same conversations: what is unacknowledged is sent again. */
  rewind(): void {
    this.#cursor = this.#acknowledged;
  }

  /** A new conversation: the friend counts from 1, so numbers start again, ids do not. */
  renumber(): void {
    this.#acknowledged = 0;
    this.#sent = 0;
    this.#cursor = 0;
    if (this.#ended && this.#items.at(-1)?.kind !== 'end') this.#items.push({ kind: 'end' });
  }

  /**
   * The friend has delivered everything up to `number`. Older acknowledgements settle nothing.
   * @returns undefined if the friend claims what was never sent to it.
   */
  acknowledge(number: bigint): Settled[] | undefined {
    if (number > BigInt(this.#sent)) return undefined;
    const count = Math.max(0, Number(number) - this.#acknowledged);
    const settled: Settled[] = [];
    for (const item of this.#items.splice(0, count)) {
      if (item.kind === 'message') {
        this.#messages--;
        this.#bytes -= item.bytes;
        settled.push({ kind: 'message', id: item.id });
      } else {
        settled.push(item);
      }
    }
    this.#acknowledged += count;
    this.#cursor = Math.max(this.#cursor, this.#acknowledged);
    return settled;
  }
}

function frameOf(item: Item, number: number, toConversation: bigint | undefined): PeerFrame {
  const counted = { number: BigInt(number), toConversation };
  if (item.kind === 'end') return { kind: { $case: 'end', value: counted } };
  const value = { ...counted, id: BigInt(item.id), text: item.text };
  return { kind: { $case: 'message', value } };
}
