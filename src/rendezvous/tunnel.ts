import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Carrier } from '../quic/index.ts';
import { DatagramStream } from '../rpc/datagram-stream.ts';
import type { CarryRequest, CarryResponse } from '../rpc/generated/chatty/v1/tunnel.ts';

export type TunnelStream = ServerDuplexStream<CarryRequest, CarryResponse>;

/** What waits for a peer that does not read; more is dropped, as a network would. */
const MAX_QUEUED_BYTES = 64 * 1024;

interface TunnelOptions {
  /** The network it comes from. */
  readonly sourcePrefix: string;
  readonly now: number;
  /** A datagram was dropped because the stream is too slow, or over. */
  readonly dropped: () => void;
  /** Called once. */
  readonly ended: () => void;
}

/** A peer's datagrams in a gRPC stream. */
export class Tunnel implements Carrier {
  readonly id: number;
  readonly sourcePrefix: string;
  readonly openedAt: number;
  /** Settable; the datagram is the listener's. */
  onDatagram: (datagram: Uint8Array) => void = () => undefined;
  /** Settable; called once. */
  onEnd: () => void = () => undefined;
  readonly #datagrams: DatagramStream;
  readonly #options: TunnelOptions;

  constructor(id: number, stream: TunnelStream, options: TunnelOptions) {
    this.id = id;
    this.#options = options;
    this.sourcePrefix = options.sourcePrefix;
    this.openedAt = options.now;
    this.#datagrams = new DatagramStream(stream, MAX_QUEUED_BYTES, (datagram) =>
      this.onDatagram(datagram),
    );
    for (const event of ['end', 'error', 'close', 'cancelled']) {
      stream.on(event, () => this.end());
    }
  }

  /** Sends one datagram, or drops it. It may change afterwards. */
  send(datagram: Uint8Array): void {
    if (!this.#datagrams.send(datagram)) this.#options.dropped();
  }

  /** A datagram that comes by UDP is none of a tunnel's. */
  classOf(): undefined {
    return undefined;
  }

  /** Idempotent. What was sent before still goes out. */
  end(): void {
    if (!this.#datagrams.end()) return;
    this.#options.ended();
    this.onEnd();
  }
}
