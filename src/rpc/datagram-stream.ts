/** No path carries a longer one. */
const MAX_DATAGRAM_BYTES = 1500;

interface Datagrams {
  readonly datagrams: Buffer[];
}

/** What is used of either end of a tunnel's gRPC call. */
interface Call {
  on(event: 'data', listener: (message: Datagrams) => void): unknown;
  write(message: Datagrams, taken: () => void): unknown;
  end(): unknown;
}

/** Datagrams on a gRPC stream, as UDP would carry them: in order, or not at all. */
export class DatagramStream {
  readonly #call: Call;
  readonly #maxQueuedBytes: number;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #writing = false;
  #flushing = false;
  #over = false;

  /**
   * @param maxQueuedBytes what waits while the stream is being written at most; more is dropped.
   * @param received takes a datagram, which is the callee's to change; none after `end`.
   */
  constructor(call: Call, maxQueuedBytes: number, received: (datagram: Uint8Array) => void) {
    this.#call = call;
    this.#maxQueuedBytes = maxQueuedBytes;
    call.on('data', ({ datagrams }) => {
      for (const datagram of datagrams) {
        if (!this.#over && datagram.length <= MAX_DATAGRAM_BYTES) received(datagram);
      }
    });
  }

  /** Sends one datagram, which may change afterwards. @returns false where it is dropped. */
  send(datagram: Uint8Array): boolean {
    if (this.#over || this.#queuedBytes + datagram.length > this.#maxQueuedBytes) return false;
    this.#queue.push(Buffer.from(datagram));
    this.#queuedBytes += datagram.length;
    if (!this.#flushing) {
      this.#flushing = true;
      // All that is sent in this turn goes as one message.
      queueMicrotask(() => {
        this.#flushing = false;
        this.#flush();
      });
    }
    return true;
  }

  /** Idempotent. What was sent before still goes out. @returns whether it ends with this call. */
  end(): boolean {
    if (this.#over) return false;
    this.#flush();
    this.#over = true;
    this.#call.end();
    return true;
  }

  #flush(): void {
    if (this.#writing || this.#over || this.#queue.length === 0) return;
    const datagrams = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#writing = true;
    this.#call.write({ datagrams }, () => {
      this.#writing = false;
      this.#flush();
    });
  }
}
