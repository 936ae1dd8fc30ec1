import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Carrier } from '../quic/index.ts';
import type { CarryRequest, CarryResponse } from '../rpc/generated/chatty/v1/tunnel.ts';

export type TunnelStream = ServerDuplexStream<CarryRequest, CarryResponse>;

/** No path carries a longer one. */
const MAX_DATAGRAM_BYTES = 1500;
/** What waits for a stream that is being written; more is dropped, as a network would. */
const MAX_QUEUED_BYTES = 64 * 1024;

interface TunnelOptions {
  /** The network it comes from. */
  readonly sourcePrefix: string;
  readonly now: number;
  /** A datagram was dropped because the stream is too slow. */
  readonly dropped: () => void;
  /** Called once. */
  readonly ended: () => void;
}

/** A peer's gRPC stream, which carries its datagrams as UDP would: in order, or not at all. */
export class Tunnel implements Carrier {
  readonly id: number;
  readonly sourcePrefix: string;
  readonly openedAt: number;
  /** Settable; the datagram is the listener's. */
  onDatagram: (datagram: Uint8Array) => void = () => undefined;
  /** Settable; called once. */
  onEnd: () => void = () => undefined;
  readonly #stream: TunnelStream;
  readonly #options: TunnelOptions;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #writing = false;
  #flushing = false;
  #over = false;

  constructor(id: number, stream: TunnelStream, options: TunnelOptions) {
    this.id = id;
    this.#stream = stream;
    this.#options = options;
    this.sourcePrefix = options.sourcePrefix;
    this.openedAt = options.now;
    stream.on('data', ({ datagrams }: CarryRequest) => {
      for (const datagram of datagrams) {
        if (datagram.length <= MAX_DATAGRAM_BYTES && !this.#over) this.onDatagram(datagram);
      }
    });
    for (const event of ['end', 'error', 'close', 'cancelled']) {
      stream.on(event, () => this.end());
    }
  }

  /** Sends one datagram, or drops it. It may change afterwards. */
  send(datagram: Uint8Array): void {
    if (this.#over) return;
    if (this.#queuedBytes + datagram.length > MAX_QUEUED_BYTES) {
      this.#options.dropped();
      return;
    }
    this.#queue.push(Buffer.from(datagram));
    this.#queuedBytes += datagram.length;
    if (this.#flushing) return;
    this.#flushing = true;
    // All that is sent in this turn goes as one message.
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  /** A datagram that comes by UDP is none of a tunnel's. */
  classOf(): undefined {
    return undefined;
  }

  /** Idempotent. What was sent before still goes out. */
  end(): void {
    if (this.#over) return;
    this.#flush();
    this.#over = true;
    this.#stream.end();
    this.#options.ended();
    this.onEnd();
  }

  #flush(): void {
    if (this.#writing || this.#over || this.#queue.length === 0) return;
    const datagrams = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#writing = true;
    this.#stream.write({ datagrams }, () => {
      this.#writing = false;
      this.#flush();
    });
  }
}
