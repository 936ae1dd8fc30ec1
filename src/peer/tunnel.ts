import { X509Certificate } from 'node:crypto';
import { credentials } from '@grpc/grpc-js';
import { type Address, formatAddress } from '../base/address.ts';
import type { Carrier } from '../quic/index.ts';
import { callFailure } from '../rpc/call-status.ts';
import { channelOptions } from '../rpc/cluster-channel.ts';
import { DatagramStream } from '../rpc/datagram-stream.ts';
import { TunnelServiceClient } from '../rpc/generated/chatty/v1/tunnel.ts';

/** What waits for a server that does not read; more is dropped, as a network would. */
const MAX_QUEUED_BYTES = 256 * 1024;

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
 * gRPC stream over TLS.
 */
export class Tunnel implements Carrier {
  readonly remote: Address;
  /** Why it ended. */
  readonly closed: Promise<string>;
  readonly #client: TunnelServiceClient;
  readonly #datagrams: DatagramStream;
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
    const stream = this.#client.carry();
    this.#datagrams = new DatagramStream(stream, MAX_QUEUED_BYTES, (datagram) =>
      received(datagram, this),
    );
    stream.on('error', (error: Error) => this.#end(callFailure(error)));
    stream.on('end', () => this.#end('the server ended the tunnel'));
  }

  /** Sends one datagram, or drops it. It may change afterwards. */
  send(datagram: Uint8Array): void {
    this.#datagrams.send(datagram);
  }

  /** A datagram that comes by UDP is none of a tunnel's. */
  classOf(): undefined {
    return undefined;
  }

  /** What was sent before still goes out. */
  close(): void {
    this.#end('closed');
  }

  #end(reason: string): void {
    if (!this.#datagrams.end()) return;
    // Waits for the stream; whatever it still says is for nobody.
    this.#client.close();
    this.#resolveClosed(reason);
  }
}
