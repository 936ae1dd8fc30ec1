import { Duplex } from 'node:stream';
import { ChattyError, reasonOf } from '../base/errors.ts';
import { peerStreamError, type NativeConnection, type Quiche, type Shutdown } from './native.ts';

/**
 * A write waits until quiche takes this much at once (or all there is): smaller pieces as each
 * acknowledgement frees some room would be sent as runts.
 */
const MIN_BATCH_BYTES = 20_000;
/** What a stream holds of its own before `write` asks to wait. */
const WRITE_BUFFER_BYTES = 256 * 1024;
const READ_BUFFER_BYTES = 64 * 1024;
/**
 * quiche 0.18 forgets a stream that the peer has ended as soon as all our data is acknowledged, and
 * with it an end of ours that went out alone, after the data, and was lost: the peer would wait for
 * it for ever. So such an end waits until the data must have been acknowledged and it can go out at
 * once; what forgets the stream then is the acknowledgement of the end itself.
 */
const LONE_END_RTTS = 2;
const LONE_END_MIN_MS = 30;

// Everything arrives here first and is copied out in its true size.
const scratch = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
const NOTHING = Buffer.alloc(0);
const ignore = (): void => undefined;

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly quiche: Quiche;
  /** Undefined once the connection is closed. */
  readonly native: NativeConnection | undefined;
  readonly rttMs: number;
  /** Whether what is handed to quiche now also goes out now, as far as its windows let it. */
  readonly sendsFreely: boolean;
  /** Asks for `pumpWrite` in this turn of the event loop. */
  wantWrite(stream: QuicStream): void;
  /** Asks for `pumpRead` in this turn of the event loop. */
  wantRead(): void;
  forget(stream: QuicStream): void;
}

/**
 * How a `pumpWrite` weighs waiting against sending: until there is enough for full packets, whatever
 * fits, or, because the connection is closed next, also an end that should wait.
 */
type WriteUrgency = 'batched' | 'now' | 'last';

/** What became of a `pumpWrite`; after `early` it is worth trying again in a moment. */
export type WriteProgress = 'done' | 'blocked' | 'early';

/**
 * A bidirectional QUIC stream as a Duplex. `end()` ends our direction, `destroy()` resets both with
 * the peer (code 0, or 1 with an error). A stream that the peer resets or a connection that breaks
 * shows as `destroy(error)`; an error nobody listens for ends nothing but the stream.
 */
export class QuicStream extends Duplex {
  readonly id: number;
  readonly #host: StreamHost;
  #outgoing: Buffer | undefined;
  #onWritten: ((error?: Error | null) => void) | undefined;
  #onFinished: ((error?: Error | null) => void) | undefined;
  #wroteAt = -Infinity;
  #wantsData = false;
  #readEnded = false;
  #writeEnded = false;

  constructor(host: StreamHost, id: number) {
    super({ readableHighWaterMark: READ_BUFFER_BYTES, writableHighWaterMark: WRITE_BUFFER_BYTES });
    this.id = id;
    this.#host = host;
    this.on('error', ignore);
  }

  override _read(): void {
    if (this.#wantsData) return;
    this.#wantsData = true;
    this.#host.wantRead();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#outgoing = chunk;
    this.#onWritten = done;
    this.#host.wantWrite(this);
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: string }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#outgoing = Buffer.concat(chunks.map(({ chunk }) => chunk));
    this.#onWritten = done;
    this.#host.wantWrite(this);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#onFinished = done;
    this.#host.wantWrite(this);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const native = this.#host.native;
    if (native !== undefined) {
      const { Read, Write } = this.#host.quiche.Shutdown;
      const code = error === null ? 0 : 1;
      if (!this.#readEnded) shutdown(native, this.id, Read, code);
      if (!this.#writeEnded) shutdown(native, this.id, Write, code);
    }
    this.#outgoing = undefined;
    this.#onWritten = undefined;
    this.#onFinished = undefined;
    this.#host.forget(this);
    done(error);
  }

  /** Hands what is waiting to quiche. */
  pumpWrite(native: NativeConnection, now: number, urgency: WriteUrgency): WriteProgress {
    try {
      // A written callback may bring the next chunk at once.
      while (this.#outgoing !== undefined) {
        const progress = this.#writeChunk(native, this.#outgoing, now, urgency);
        if (progress !== 'done') return progress;
      }
      if (this.#onFinished !== undefined) {
        if (urgency !== 'last' && this.#endsTooEarly(native, now)) return 'early';
        native.streamSend(this.id, NOTHING, true);
        this.#writeEnded = true;
        const done = this.#onFinished;
        this.#onFinished = undefined;
        done();
      }
    } catch (error) {
      this.#fail(error);
    }
    return 'done';
  }

  #endsTooEarly(native: NativeConnection, now: number): boolean {
    if (!this.#readEnded || this.#wroteAt === now) return false;
    const waited = now - this.#wroteAt;
    if (waited < LONE_END_MIN_MS || waited < LONE_END_RTTS * this.#host.rttMs) return true;
    return !this.#host.sendsFreely || native.streamCapacity(this.id) === 0;
  }

  #writeChunk(
    native: NativeConnection,
    chunk: Buffer,
    now: number,
    urgency: WriteUrgency,
  ): WriteProgress {
    if (chunk.length > 0) {
      const capacity = native.streamCapacity(this.id);
      if (capacity === 0) return 'blocked';
      if (urgency === 'batched' && capacity < Math.min(chunk.length, MIN_BATCH_BYTES))
        return 'early';
      const sent = native.streamSend(this.id, chunk, false) ?? 0;
      if (sent > 0) this.#wroteAt = now;
      if (sent < chunk.length) {
        this.#outgoing = chunk.subarray(sent);
        return 'blocked';
      }
    }
    this.#outgoing = undefined;
    const done = this.#onWritten;
    this.#onWritten = undefined;
    done?.();
    return 'done';
  }

  /** Moves what quiche has to the reader, as much as the reader wants. */
  pumpRead(native: NativeConnection): void {
    try {
      while (!this.#readEnded && !this.destroyed) {
        // Asking for nothing still tells of a reset, which must not wait for a reader.
        const wanted = this.#wantsData;
        const received = native.streamRecv(this.id, wanted ? scratch : NOTHING);
        if (received === null) return;
        const [length, ended] = received;
        if (length > 0 && !this.push(Buffer.from(scratch.subarray(0, length)))) {
          this.#wantsData = false;
        }
        if (ended) {
          this.#readEnded = true;
          this.push(null);
        }
        if (!wanted) return;
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * Finds an end that quiche 0.18 does not report: one that comes with a repetition of data that was
   * read before leaves the stream unreadable, and ended.
   */
  noticeEnd(native: NativeConnection): void {
    if (this.#readEnded || this.destroyed || !native.streamFinished(this.id)) return;
    this.#readEnded = true;
    this.push(null);
  }

  #fail(error: unknown): void {
    const peer = peerStreamError(error);
    // After a reset the reading side is shut down too: else quiche keeps the stream for a reader.
    if (peer?.kind === 'stopped') this.#writeEnded = true;
    this.destroy(
      new ChattyError(
        'CHATTY_TRANSPORT',
        peer === undefined
          ? `the stream failed: ${reasonOf(error)}`
          : `the peer ${peer.kind === 'reset' ? 'reset' : 'stopped reading'} the stream (code ${peer.code})`,
        { cause: error },
      ),
    );
  }
}

function shutdown(native: NativeConnection, id: number, direction: Shutdown, code: number): void {
  try {
    native.streamShutdown(id, direction, code);
  } catch {
    // The stream is over on that side already, which is what was asked for.
  }
}
