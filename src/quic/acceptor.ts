import { type Address, sourcePrefix } from '../base/address.ts';
import { reasonOf } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import { type ConnectionOptions, HANDSHAKE_TIMEOUT_MS } from './connection-options.ts';
import type { ConnectionTable } from './connection-table.ts';
import { type FirstDatagram, idKey, OUR_ID_BYTES, versionNegotiation } from './datagram.ts';
import type { EndpointCounters } from './endpoint-stats.ts';
import { Census, type QuicLimits } from './limits.ts';
import type { NativeConnection } from './native.ts';
import type { NativeConfigs } from './native-configs.ts';
import { RetryTokens } from './retry-token.ts';
import { addressOfClass, CARRIED_LOCAL } from './synthetic-address.ts';
import type { Admission, Carrier, QuicConnection } from './types.ts';
import type { UdpSockets } from './udp-sockets.ts';

/** The prefix carried connections count under whose true sources are not known. */
const CARRIED_PREFIX = 'carried';
/** More than any Retry takes, whose token is ours. */
const RETRY_BYTES = 1200;

export interface AcceptOptions {
  /** Judges each Initial of no known connection, which came to our socket at `local`. */
  admit(remote: Address, datagram: Uint8Array, local: Address): Admission;
  /** The handshake is done and the peer's key proven and verified. */
  onConnection(connection: QuicConnection): void;
  /** Judges the client's certificate; default: whoever proves an Ed25519 key of their own. */
  verify?(certDer: Uint8Array, alpn: string): boolean;
  /**
   * Handshakes in flight past which a client has to prove its address first (Retry, RFC 9000
   * §8.1.2); default: never.
   */
  retryAbove?: number;
}

/** What an endpoint accepts with. */
interface AcceptorParts {
  readonly accept: AcceptOptions;
  /** The protocols served. */
  readonly alpn: readonly string[];
  readonly limits: QuicLimits;
  readonly sockets: UdpSockets;
  readonly connections: ConnectionTable;
  readonly configs: NativeConfigs;
  readonly counters: EndpointCounters;
}

type Initial = FirstDatagram & { readonly kind: 'initial' };
/** What carries a connection, or between which addresses it is. */
type Ends = Pick<ConnectionOptions, 'remote' | 'local' | 'carrier' | 'pathClass'>;

/** Makes connections of first datagrams, as far as the caps and whoever serves let it. */
export class Acceptor {
  readonly #parts: AcceptorParts;
  readonly #census: Census;
  readonly #retryTokens: RetryTokens;

  constructor(parts: AcceptorParts) {
    this.#parts = parts;
    this.#census = new Census(parts.limits);
    this.#retryTokens = new RetryTokens(parts.connections.random);
  }

  /** Accepted connections whose handshake is not done. */
  get handshakes(): number {
    return this.#census.handshakes;
  }

  /** Takes a first datagram that came from `remote` to our `local`. */
  receive(datagram: Buffer, first: FirstDatagram, remote: Address, local: Address): void {
    if (first.kind === 'unknown-version') {
      this.#parts.sockets.transmit(versionNegotiation(first), local, remote);
      return;
    }
    const admission = this.#parts.accept.admit(remote, datagram, local);
    switch (admission.kind) {
      case 'drop':
        this.#parts.counters.dropped.refused += 1;
        return;
      case 'carried':
        this.receiveCarried(datagram, first, admission.carrier, admission.pathClass);
        return;
      case 'plain':
        this.#receivePlain(datagram, first, remote, local);
    }
  }

  /** Takes an Initial that came by `carrier`. */
  receiveCarried(datagram: Buffer, first: Initial, carrier: Carrier, pathClass: PathClass): void {
    const remote = addressOfClass(pathClass);
    const ends = { remote, local: CARRIED_LOCAL, carrier, pathClass };
    this.#accept(datagram, first, ends, carrier.sourcePrefix ?? CARRIED_PREFIX, undefined);
  }

  #receivePlain(datagram: Buffer, first: Initial, remote: Address, local: Address): void {
    const { accept, connections } = this.#parts;
    const original =
      first.token.length > 0
        ? this.#retryTokens.verify(first.token, remote, connections.clock.now())
        : undefined;
    if (original === undefined && this.#census.handshakes >= (accept.retryAbove ?? Infinity)) {
      this.#sendRetry(first, remote, local);
      return;
    }
    const ends = { remote, local, carrier: undefined, pathClass: undefined };
    this.#accept(datagram, first, ends, sourcePrefix(remote.host), original);
  }

  /** @param original - The destination ID that the client chose before our Retry, if it had one. */
  #accept(
    datagram: Buffer,
    first: Initial,
    ends: Ends,
    prefix: string,
    original: Uint8Array | undefined,
  ): void {
    const { accept, alpn, connections, configs, counters } = this.#parts;
    const { remote, local, carrier } = ends;
    if (!this.#census.enter(prefix)) {
      counters.dropped.limit += 1;
      return;
    }
    // After a Retry the client goes by the ID that we gave it there.
    const id =
      original === undefined ? connections.random.bytes(OUR_ID_BYTES) : first.destinationId;
    const config = configs.get(alpn, carrier !== undefined);
    let native: NativeConnection | undefined;
    try {
      native = connections.quiche.Connection.accept(id, original, local, remote, config);
      native.recv(datagram, { from: remote, to: local });
    } catch (error) {
      // Not kept for a moment: the object of a junk Initial holds 25 KiB.
      this.#census.leave(prefix, false);
      counters.dropped.invalid += 1;
      // A real client is told why, if only that no protocol is common; junk is not answered.
      if (native !== undefined && reasonOf(error) === 'TlsFail') this.#sendLast(native, ends);
      return;
    }
    const connection = connections.add({
      ...ends,
      role: 'acceptor',
      owner: {
        opened: () => {
          this.#census.settle(prefix);
          accept.onConnection(connection);
        },
        ended: (opened) => this.#census.leave(prefix, opened),
      },
      native,
      verify: (certDer, protocol) => accept.verify?.(certDer, protocol) ?? true,
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      keepAliveMs: undefined,
      keepAliveAnswerMs: undefined,
      firstId: original === undefined ? idKey(first.destinationId) : undefined,
      unprovenBytes: original === undefined && carrier === undefined ? datagram.length : undefined,
    });
    counters.accepted += 1;
    connections.markDirty(connection);
  }

  /** Sends the one datagram with which quiche ends a connection that never became one. */
  #sendLast(native: NativeConnection, { carrier, pathClass, local, remote }: Ends): void {
    const { slab } = this.#parts.connections;
    try {
      const sent = native.send(slab.room());
      if (sent === null) return;
      const datagram = slab.take(sent[0]);
      if (pathClass === undefined) this.#parts.sockets.transmit(datagram, local, remote);
      else carrier?.send(datagram, pathClass);
    } catch {
      // Then the client finds out by itself.
    }
  }

  #sendRetry(first: Initial, remote: Address, local: Address): void {
    const { connections, counters, sockets } = this.#parts;
    const { quiche, random, clock } = connections;
    const newId = random.bytes(OUR_ID_BYTES);
    const token = this.#retryTokens.mint(first.destinationId, remote, clock.now());
    const out = Buffer.allocUnsafe(RETRY_BYTES);
    try {
      const length = quiche.retry(
        first.sourceId,
        first.destinationId,
        newId,
        token,
        quiche.PROTOCOL_VERSION,
        out,
      );
      counters.retriesSent += 1;
      sockets.transmit(out.subarray(0, length), local, remote);
    } catch {
      counters.dropped.invalid += 1;
    }
  }
}
