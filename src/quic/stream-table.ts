import { ChattyError } from '../base/errors.ts';
import type { NativeConnection, Quiche } from './native.ts';
import { QuicStream, type StreamHost } from './stream.ts';
import type { CloseReason } from './types.ts';

/** How long a small write may be held back for a fuller packet. */
const HOLD_BACK_MS = 2;
const NOTHING = Buffer.alloc(0);

/** What the streams need of their connection. */
export interface StreamTableHost extends Omit<StreamHost, 'wantWrite' | 'wantRead' | 'forget'> {
  /** Asks for `read` and `write` in this turn of the event loop. */
  wake(): void;
}

/**
 * The streams of one connection: who opens which (RFC 9000 §2.1), whose turn it is to write, and
 * what waits. Passes on what quiche throws, except where a single stream is at fault.
 */
export class StreamTable implements StreamHost {
  readonly #host: StreamTableHost;
  readonly #streams = new Map<number, QuicStream>();
  readonly #writers = new Set<QuicStream>();
  #nextOwnId: number;
  #nextPeerId: number;
  #heldBackUntil = Infinity;
  #waiting: QuicStream[] | undefined;
  #onStream: ((stream: QuicStream) => void) | undefined;

  constructor(host: StreamTableHost, role: 'dialer' | 'acceptor') {
    this.#host = host;
    // Bit 0 is set for streams the acceptor opens.
    this.#nextOwnId = role === 'dialer' ? 0 : 1;
    this.#nextPeerId = role === 'dialer' ? 1 : 0;
  }

  get quiche(): Quiche {
    return this.#host.quiche;
  }

  get native(): NativeConnection | undefined {
    return this.#host.native;
  }

  get rttMs(): number {
    return this.#host.rttMs;
  }

  get sendsFreely(): boolean {
    return this.#host.sendsFreely;
  }

  /** Streams that are not over. */
  get size(): number {
    return this.#streams.size;
  }

  get writing(): boolean {
    return this.#writers.size > 0;
  }

  /** When `write` sends what it held back; Infinity: it holds back nothing. */
  get heldBackUntil(): number {
    return this.#heldBackUntil;
  }

  get onStream(): ((stream: QuicStream) => void) | undefined {
    return this.#onStream;
  }

  set onStream(handle: ((stream: QuicStream) => void) | undefined) {
    this.#onStream = handle;
    const waiting = this.#waiting;
    if (handle === undefined || waiting === undefined) return;
    this.#waiting = undefined;
    for (const stream of waiting) handle(stream);
  }

  /** @throws ChattyError CHATTY_OVERLOADED when the peer allows no more streams. */
  open(native: NativeConnection): QuicStream {
    if (native.peerStreamsLeftBidi() <= 0) {
      throw new ChattyError('CHATTY_OVERLOADED', 'the peer allows no more streams at once', {
        hint: 'End a stream first.',
      });
    }
    const id = this.#nextOwnId;
    // Writing nothing makes quiche count the stream, so that the check above holds for the next.
    native.streamSend(id, NOTHING, false);
    this.#nextOwnId += 4;
    return this.#add(id);
  }

  wantWrite(stream: QuicStream): void {
    this.#writers.add(stream);
    this.#host.wake();
  }

  wantRead(): void {
    this.#host.wake();
  }

  forget(stream: QuicStream): void {
    this.#writers.delete(stream);
    this.#streams.delete(stream.id);
    // What a reset or an end has to say goes out in this turn.
    this.#host.wake();
  }

  /** Gives the streams what came for them, and accepts those that the peer opened. */
  read(native: NativeConnection): void {
    for (const id of native.readable()) {
      if (!this.#streams.has(id) && id >= this.#nextPeerId) this.#acceptUpTo(id);
      this.#streams.get(id)?.pumpRead(native);
    }
  }

  /** To be called when something was heard: finds ends that are not reported as readable. */
  noticeEnds(native: NativeConnection): void {
    for (const stream of this.#streams.values()) stream.noticeEnd(native);
  }

  /** Hands quiche what the streams have to write. */
  write(native: NativeConnection, now: number): void {
    const force = now >= this.#heldBackUntil;
    let heldBack = false;
    for (const stream of [...this.#writers]) {
      const progress = stream.pumpWrite(native, now, force ? 'now' : 'batched');
      // Those that still wait go behind the others, so that none takes the whole window.
      this.#writers.delete(stream);
      if (progress !== 'done' && !stream.destroyed) this.#writers.add(stream);
      if (progress === 'early') heldBack = true;
    }
    if (!heldBack) this.#heldBackUntil = Infinity;
    else if (force || this.#heldBackUntil === Infinity) this.#heldBackUntil = now + HOLD_BACK_MS;
  }

  /** As `write`, for the last time: nothing is held back. */
  writeLast(native: NativeConnection, now: number): void {
    for (const stream of [...this.#writers]) stream.pumpWrite(native, now, 'last');
  }

  /** The connection is over, and so are the streams, once readers had a turn to take what came. */
  end(reason: CloseReason): void {
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#writers.clear();
    this.#waiting = undefined;
    if (streams.length > 0) setImmediate(() => endStreams(streams, reason));
  }

  /** A stream opens all lower ones of its kind too (RFC 9000 §3.2). */
  #acceptUpTo(id: number): void {
    // Streams of our own and unidirectional ones, for which there is no credit, are not the peer's.
    if ((id & 3) !== (this.#nextPeerId & 3)) return;
    while (this.#nextPeerId <= id) {
      const stream = this.#add(this.#nextPeerId);
      this.#nextPeerId += 4;
      if (this.#onStream === undefined) (this.#waiting ??= []).push(stream);
      else this.#onStream(stream);
    }
  }

  #add(id: number): QuicStream {
    const stream = new QuicStream(this, id);
    this.#streams.set(id, stream);
    return stream;
  }
}

function endStreams(streams: readonly QuicStream[], reason: CloseReason): void {
  for (const stream of streams) {
    stream.destroy(
      new ChattyError('CHATTY_TRANSPORT', `the connection ended: ${reason.reason || reason.kind}`),
    );
  }
}
