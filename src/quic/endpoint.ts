import type { Address, Family } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Identity } from '../base/identity.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Random } from '../base/random.ts';
import { type AcceptOptions, Acceptor } from './acceptor.ts';
import { ConnectionTable } from './connection-table.ts';
import { destinationId, kindOf, readFirstDatagram } from './datagram.ts';
import { Dialer, type DialOptions } from './dialer.ts';
import { type EndpointCounters, type EndpointStats, newCounters } from './endpoint-stats.ts';
import { DEFAULT_LIMITS, type QuicLimits } from './limits.ts';
import { loadQuiche, type Quiche } from './native.ts';
import { CARRIED_DATAGRAM_BYTES, NativeConfigs } from './native-configs.ts';
import type { Carrier, QuicConnection } from './types.ts';
import { UdpSockets } from './udp-sockets.ts';

const IDLE_TIMEOUT_MS = 30_000;
/** What every path of the internet is sure to take (RFC 9000 §14). */
const PLAIN_DATAGRAM_BYTES = 1200;

export interface QuicEndpointOptions {
  /** Presented when serving and dialling alike; Ed25519. */
  readonly identity: Identity;
  readonly clock: Clock;
  readonly random: Random;
  /** One UDP socket each; port 0 picks a free port. */
  readonly listen: readonly Address[];
  /** The protocols served. */
  readonly alpn: readonly string[];
  /** Absent: dial only. */
  readonly accept?: AcceptOptions;
  readonly limits?: Partial<QuicLimits>;
  /** How long a connection lives on without hearing anything (default 30,000). */
  readonly idleTimeoutMs?: number;
  /** The longest datagram plain connections send (default 1200; carried ones always 1200). */
  readonly maxDatagramBytes?: number;
}

export type DatagramListener = (datagram: Uint8Array, remote: Address, local: Address) => void;

/**
 * A QUIC endpoint that serves and dials on the same UDP sockets, beside STUN and relay frames.
 * Nothing that arrives can make it throw.
 */
export class QuicEndpoint {
  /** Settable; the datagram is valid only during the call. */
  onStun: DatagramListener | undefined;
  /** As `onStun`. */
  onRelay: DatagramListener | undefined;

  readonly #sockets: UdpSockets;
  readonly #counters: EndpointCounters;
  readonly #connections: ConnectionTable;
  readonly #acceptor: Acceptor | undefined;
  readonly #dialer: Dialer;

  private constructor(
    options: QuicEndpointOptions,
    quiche: Quiche,
    sockets: UdpSockets,
    counters: EndpointCounters,
  ) {
    const { clock, random, identity, accept, alpn } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const plainBytes = options.maxDatagramBytes ?? PLAIN_DATAGRAM_BYTES;
    const configs = new NativeConfigs(quiche, {
      identity,
      limits,
      idleTimeoutMs: options.idleTimeoutMs ?? IDLE_TIMEOUT_MS,
      maxDatagramBytes: plainBytes,
    });
    const maxDatagramBytes = Math.max(plainBytes, CARRIED_DATAGRAM_BYTES);
    const shared = { quiche, clock, random, sockets, counters, maxDatagramBytes };
    const connections = new ConnectionTable(shared);
    const parts = { sockets, connections, configs, counters };
    this.#sockets = sockets;
    this.#counters = counters;
    this.#connections = connections;
    this.#dialer = new Dialer(parts);
    this.#acceptor =
      accept === undefined ? undefined : new Acceptor({ ...parts, accept, alpn, limits });
    sockets.onDatagram((datagram, remote, local) => this.#receive(datagram, remote, local));
  }

  /**
   * Binds the sockets.
   * @throws ChattyError CHATTY_PORT_IN_USE, CHATTY_CONFIG (an address that is not ours, a port that
   * needs privileges), CHATTY_PLATFORM.
   */
  static async open(options: QuicEndpointOptions): Promise<QuicEndpoint> {
    const quiche = await loadQuiche();
    const counters = newCounters();
    const sockets = await UdpSockets.open(options.listen, counters);
    return new QuicEndpoint(options, quiche, sockets, counters);
  }

  get addresses(): readonly Address[] {
    return this.#sockets.addresses;
  }

  /**
   * Opens one more socket, whose datagrams arrive as all others do; only what names its very address
   * as `local` is sent from it. Ports are guessed from such.
   * @throws ChattyError where the system gives none.
   */
  openSocket(family: Family): Promise<Address> {
    return this.#sockets.openExtra(family);
  }

  /** Closes a socket of `openSocket`'s; others are left alone. */
  closeSocket(local: Address): Promise<void> {
    return this.#sockets.closeExtra(local);
  }

  get stats(): EndpointStats {
    return {
      ...this.#counters,
      dropped: { ...this.#counters.dropped },
      connections: this.#connections.size,
      handshakes: this.#acceptor?.handshakes ?? 0,
      extraSockets: this.#sockets.extraCount,
    };
  }

  /**
   * Sends a STUN or relay datagram, from the socket bound to `local` or the first of the family of
   * `remote`. `datagram` must stay unchanged until the event loop has turned.
   * @param hops so many routers may pass it on (1 to 255): few, where it is to open our own network
   *   for the friend and not to arrive. By default as many as are usual.
   * @returns false where it certainly was not sent. Never throws.
   */
  send(datagram: Uint8Array, remote: Address, local?: Address, hops?: number): boolean {
    return this.#sockets.send(datagram, remote, local, hops);
  }

  /**
   * Connects to `remote`, or to whom `carrier` leads to, and resolves when the handshake is complete
   * and `verify` has accepted the peer. (Whether the peer accepts us is known only from what it says
   * then.)
   * @throws ChattyError CHATTY_UNTRUSTED if `verify` refused, else CHATTY_TRANSPORT; the signal's
   * reason if it aborts.
   */
  dial(options: DialOptions): Promise<QuicConnection> {
    return this.#dialer.dial(options);
  }

  /**
   * Takes a datagram that came by `carrier` over a path of `pathClass`: for a connection that it
   * carries, or an Initial, which is accepted as carried by it. It is decrypted in place.
   */
  deliver(datagram: Uint8Array, pathClass: PathClass, carrier: Carrier): void {
    if (this.#connections.closed) return;
    const { dropped } = this.#counters;
    this.#counters.datagramsIn += 1;
    const buffer = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
    const kind = kindOf(buffer);
    if (kind !== 'long' && kind !== 'short') {
      dropped.junk += 1;
      return;
    }
    const id = destinationId(buffer, kind);
    const connection = id === undefined ? undefined : this.#connections.find(id);
    if (connection !== undefined) {
      if (connection.carrier !== carrier) dropped.path += 1;
      else connection.receiveCarried(buffer, pathClass, id ?? '');
      return;
    }
    const first = kind === 'long' ? readFirstDatagram(buffer) : undefined;
    if (first?.kind !== 'initial') this.#connections.dropUnknown(id);
    else if (this.#acceptor === undefined) dropped.refused += 1;
    else this.#acceptor.receiveCarried(buffer, first, carrier, pathClass);
  }

  /**
   * Takes a datagram as if `remote` had sent it to our first socket, for simulations and fuzzers. It
   * is decrypted in place.
   */
  receive(datagram: Buffer, remote: Address): void {
    const local = this.addresses[0];
    if (local !== undefined && !this.#connections.closed) this.#receive(datagram, remote, local);
  }

  /** Ends every connection, tells their peers, and closes the sockets. Idempotent. */
  async close(code = 0, reason = ''): Promise<void> {
    if (this.#connections.closed) return;
    this.#connections.close(code, reason);
    // What the system refused at first has this turn to go.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#sockets.close();
  }

  #receive(datagram: Buffer, remote: Address, local: Address): void {
    this.#counters.datagramsIn += 1;
    try {
      this.#dispatch(datagram, remote, local);
    } catch {
      // A fault of ours, which no stranger's datagram shall turn into the end of the process.
      this.#counters.faults += 1;
    }
  }

  #dispatch(datagram: Buffer, remote: Address, local: Address): void {
    const kind = kindOf(datagram);
    switch (kind) {
      case 'stun':
        this.onStun?.(datagram, remote, local);
        return;
      case 'relay':
        this.onRelay?.(datagram, remote, local);
        return;
      case 'other':
        this.#counters.dropped.junk += 1;
        return;
      default:
        this.#receiveQuic(datagram, kind, remote, local);
    }
  }

  #receiveQuic(datagram: Buffer, kind: 'long' | 'short', remote: Address, local: Address): void {
    const { dropped } = this.#counters;
    const id = destinationId(datagram, kind);
    if (id === undefined) {
      dropped.junk += 1;
      return;
    }
    const connection = this.#connections.find(id);
    if (connection === undefined) {
      if (kind === 'short') this.#connections.dropUnknown(id);
      else this.#receiveFirst(datagram, remote, local);
      return;
    }
    if (connection.carrier === undefined) {
      if (!connection.receivePlain(datagram, remote, id)) dropped.path += 1;
      return;
    }
    const pathClass = connection.carrier.classOf(remote, local);
    if (pathClass === undefined) dropped.path += 1;
    else connection.receiveCarried(datagram, pathClass, id);
  }

  /** A long header that leads to no connection. */
  #receiveFirst(datagram: Buffer, remote: Address, local: Address): void {
    const { dropped } = this.#counters;
    const first = readFirstDatagram(datagram);
    if (first === undefined) dropped.unknown += 1;
    else if (this.#acceptor === undefined || this.#connections.closed) dropped.refused += 1;
    else this.#acceptor.receive(datagram, first, remote, local);
  }
}
