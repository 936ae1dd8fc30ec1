import { X509Certificate } from 'node:crypto';
import { type ClientDuplexStream, credentials } from '@grpc/grpc-js';
import { type Address, formatAddress } from '../base/address.ts';
import type { Carrier } from '../quic/index.ts';
import { callFailure } from '../rpc/call-status.ts';
import { channelOptions } from '../rpc/cluster-channel.ts';
import {
  type CarryRequest,
  type CarryResponse,
  TunnelServiceClient,
} from '../rpc/generated/chatty/v1/tunnel.ts';

/** What waits for a stream that is being written; more is dropped, as a network would. */
const MAX_QUEUED_BYTES = 256 * 1024;
/** No path carries a longer datagram. */
const MAX_DATAGRAM_BYTES = 1500;

export interface TunnelOptions {
  /** One of the server's UDP addresses: the tunnel is on TCP under the same number. */
  readonly remote: Address;
  /** DER of the server's certificate, which it must show. */
  readonly certificate: Uint8Array;
  /** Takes a datagram from the server, which is the callee's to change. */
  readonly received: (datagram: Uint8Array, tunnel: Tunnel) => void;
}

/**
 * For networks that let no UDP through: the datagrams for one server, QUIC and relay frames, in a
 * gRPC stream over TLS. They arrive in order or not at all.
 */
export class Tunnel implements Carrier {
  readonly remote: Address;
  /** Why it ended. */
  readonly closed: Promise<string>;
  readonly #client: TunnelServiceClient;
  readonly #stream: ClientDuplexStream<CarryRequest, CarryResponse>;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #writing = false;
  #flushing = false;
  #over = false;
  #resolveClosed: (reason: string) => void = () => undefined;

  /** Connects at once; what is sent meanwhile waits. */
  constructor({ remote, certificate, received }: TunnelOptions) {
    this.remote = remote;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const pem = new X509Certificate(certificate).toString();
    this.#client = new TunnelServiceClient(
      formatAddress(remote),
      credentials.createSsl(Buffer.from(pem)),
      channelOptions('rendezvous'),
    );
    this.#stream = this.#client.carry();
    this.#stream.on('data', ({ datagrams }: CarryResponse) => {
      for (const datagram of datagrams) {
        if (!this.#over && datagram.length <= MAX_DATAGRAM_BYTES) received(datagram, this);
      }
    });
    this.#stream.on('error', (error: Error) => this.#end(callFailure(error)));
    this.#stream.on('end', () => this.#end('the server ended the tunnel'));
  }

  /** Sends one datagram, or drops it. It may change afterwards. */
  send(datagram: Uint8Array): void {
    if (this.#over || this.#queuedBytes + datagram.length > MAX_QUEUED_BYTES) return;
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

  /** What was sent before still goes out. */
  close(): void {
    this.#flush();
    this.#end('closed');
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

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream.end();
    // Waits for the stream; whatever it still says is for nobody.
    this.#client.close();
    this.#resolveClosed(reason);
  }
}
