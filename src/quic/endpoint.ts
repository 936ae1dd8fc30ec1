import { type Address, familyOf, formatAddress, sourcePrefix } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { Identity } from '../base/identity.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Random } from '../base/random.ts';
import { Connection, type ConnectionHost, type ConnectionOptions } from './connection.ts';
import {
  destinationId,
  type FirstDatagram,
  idKey,
  kindOf,
  OUR_ID_BYTES,
  readFirstDatagram,
  versionNegotiation,
} from './datagram.ts';
import { Farewells } from './farewells.ts';
import { Census, DEFAULT_LIMITS, type QuicLimits } from './limits.ts';
import { loadQuiche, type NativeConfig, type NativeConnection, type Quiche } from './native.ts';
import { RetryTokens } from './retry-token.ts';
import { Slab } from './slab.ts';
import { addressOfClass, CARRIED_LOCAL } from './synthetic-address.ts';
import { tlsConfig } from './tls-config.ts';
import { UdpSocket } from './udp-socket.ts';
import type { Admission, Carrier, QuicConnection } from './types.ts';

const HANDSHAKE_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 30_000;
const CARRIED_DATAGRAM_BYTES = 1200;
/** The prefix all accepted carried connections count under: their true sources are not known. */
const CARRIED_PREFIX = 'carried';

export interface AcceptOptions {
  /** Judges each Initial of no known connection. */
  admit(remote: Address, datagram: Uint8Array): Admission;
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

export interface DialOptions {
  /** Where to; for a plain connection. */
  readonly remote?: Address;
  /** What carries the connection, and the class it begins on (default `public`). */
  readonly carrier?: Carrier;
  readonly pathClass?: PathClass;
  readonly alpn: string;
  readonly serverName?: string;
  verify(certDer: Uint8Array): boolean;
  /** Default 5,000. */
  readonly handshakeTimeoutMs?: number;
  /** Something is sent whenever nothing was for this long; default: never. */
  readonly keepAliveMs?: number;
  /** A peer that is silent for this long after it is dead; default: by the idle timeout. */
  readonly keepAliveAnswerMs?: number;
  readonly signal?: AbortSignal;
}

/** Counters since the endpoint was opened, and gauges of now. */
export interface EndpointStats {
  datagramsIn: number;
  datagramsOut: number;
  /** Incoming datagrams nobody was found for, by reason. */
  readonly dropped: {
    /** No STUN, relay or QUIC, or a QUIC header that cannot be. */
    junk: number;
    /** A connection ID of no connection. */
    unknown: number;
    /** An Initial that quiche refused. */
    invalid: number;
    /** `admit` said so, or nothing is served. */
    refused: number;
    /** A cap was reached. */
    limit: number;
    /** From an address that is no path of the connection. */
    path: number;
  };
  /** Datagrams at which a handler of ours (`admit`, `onStun`, `onRelay`, a carrier) threw. */
  faults: number;
  /** Outgoing datagrams that could not be sent. */
  sendFailures: number;
  /** Times that nothing (more) could be sent to an address that a client has not proven. */
  withheld: number;
  retriesSent: number;
  accepted: number;
  dialled: number;
  /** Live connections of both roles, handshakes included. */
  connections: number;
  /** Accepted connections whose handshake is not done. */
  handshakes: number;
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
  readonly addresses: readonly Address[];

  readonly #options: QuicEndpointOptions;
  readonly #quiche: Quiche;
  readonly #limits: QuicLimits;
  readonly #sockets: readonly UdpSocket[];
  readonly #census: Census;
  readonly #retryTokens: RetryTokens;
  readonly #configs = new Map<string, NativeConfig>();
  readonly #byId = new Map<string, Connection>();
  readonly #connections = new Set<Connection>();
  readonly #prefixes = new Map<Connection, string>();
  readonly #dials = new Map<Connection, (error?: ChattyError) => void>();
  readonly #farewells = new Farewells();
  readonly #host: ConnectionHost;
  readonly #counters = {
    datagramsIn: 0,
    datagramsOut: 0,
    dropped: { junk: 0, unknown: 0, invalid: 0, refused: 0, limit: 0, path: 0 },
    faults: 0,
    sendFailures: 0,
    withheld: 0,
    retriesSent: 0,
    accepted: 0,
    dialled: 0,
  };
  #dirty: Connection[] = [];
  #nextId = 1;
  #closed = false;

  private constructor(options: QuicEndpointOptions, quiche: Quiche, sockets: readonly UdpSocket[]) {
    this.#options = options;
    this.#quiche = quiche;
    this.#sockets = sockets;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#census = new Census(this.#limits);
    this.#retryTokens = new RetryTokens(options.random);
    this.addresses = sockets.map((socket) => socket.address);
    this.#host = this.#connectionHost();
    for (const socket of sockets) {
      socket.onDatagram((datagram, host, port) => {
        this.#receiveOn(socket, datagram, { host, port });
      });
    }
  }

  /**
   * Binds the sockets.
   * @throws ChattyError CHATTY_PORT_IN_USE, CHATTY_CONFIG (an address that is not ours, a port that
   * needs privileges), CHATTY_PLATFORM.
   */
  static async open(options: QuicEndpointOptions): Promise<QuicEndpoint> {
    const quiche = await loadQuiche();
    const sockets: UdpSocket[] = [];
    try {
      for (const address of options.listen) sockets.push(await UdpSocket.open(address));
      return new QuicEndpoint(options, quiche, sockets);
    } catch (error) {
      await Promise.all(sockets.map((socket) => socket.close()));
      throw error;
    }
  }

  get stats(): EndpointStats {
    return {
      ...this.#counters,
      dropped: { ...this.#counters.dropped },
      connections: this.#connections.size,
      handshakes: this.#census.handshakes,
    };
  }

  /**
   * Sends a STUN or relay datagram, from the socket bound to `local` or the first of the family of
   * `remote`. `datagram` must stay unchanged until the event loop has turned.
   * @returns false where it certainly was not sent. Never throws.
   */
  send(datagram: Uint8Array, remote: Address, local?: Address): boolean {
    const socket = this.#socketFor(remote, local);
    const sent = socket?.send(datagram, remote.host, remote.port) ?? false;
    this.#countSend(sent);
    return sent;
  }

  /**
   * Connects to `remote`, or to whom `carrier` leads to, and resolves when the handshake is complete
   * and `verify` has accepted the peer. (Whether the peer accepts us is known only from what it says
   * then.)
   * @throws ChattyError CHATTY_UNTRUSTED if `verify` refused, else CHATTY_TRANSPORT; the signal's
   * reason if it aborts.
   */
  dial(options: DialOptions): Promise<QuicConnection> {
    return new Promise((resolve, reject) => {
      options.signal?.throwIfAborted();
      const connection = this.#dialNative(options);
      const onAbort = (): void => {
        this.#dials.delete(connection);
        connection.close();
        reject(options.signal?.reason as Error);
      };
      options.signal?.addEventListener('abort', onAbort, { once: true });
      this.#dials.set(connection, (error) => {
        options.signal?.removeEventListener('abort', onAbort);
        if (error === undefined) {
          resolve(connection);
          return;
        }
        void connection.closed.then(({ reason, kind, code }) => {
          reject(connection.refusal ?? dialError(options, reason || `${kind}, code ${code}`));
        });
      });
      this.#markDirty(connection);
    });
  }

  /**
   * Takes a datagram that came by `carrier` over a path of `pathClass`: for a connection that it
   * carries, or an Initial, which is accepted as carried by it. It is decrypted in place.
   */
  deliver(datagram: Uint8Array, pathClass: PathClass, carrier: Carrier): void {
    if (this.#closed) return;
    this.#counters.datagramsIn += 1;
    const buffer = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
    const kind = kindOf(buffer);
    if (kind !== 'long' && kind !== 'short') {
      this.#counters.dropped.junk += 1;
      return;
    }
    const id = destinationId(buffer, kind);
    const connection = id === undefined ? undefined : this.#byId.get(id);
    if (connection !== undefined) {
      if (connection.carrier !== carrier) this.#counters.dropped.path += 1;
      else connection.receiveCarried(buffer, pathClass, id ?? '');
      return;
    }
    const first = kind === 'long' ? readFirstDatagram(buffer) : undefined;
    if (first?.kind === 'initial') this.#acceptCarried(buffer, first, carrier, pathClass);
    else this.#dropUnknown(id);
  }

  /**
   * Takes a datagram as if `remote` had sent it to our first socket, for simulations and fuzzers. It
   * is decrypted in place.
   */
  receive(datagram: Buffer, remote: Address): void {
    const socket = this.#sockets[0];
    if (socket !== undefined && !this.#closed) this.#receiveOn(socket, datagram, remote);
  }

  /** Ends every connection, tells their peers, and closes the sockets. Idempotent. */
  async close(code = 0, reason = ''): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const connection of [...this.#connections]) connection.close(code, reason);
    // What the system refused at first has this turn to go.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all(this.#sockets.map((socket) => socket.close()));
  }

  #connectionHost(): ConnectionHost {
    const sockets = this.#sockets;
    return {
      quiche: this.#quiche,
      clock: this.#options.clock,
      random: this.#options.random,
      slab: new Slab(Math.max(this.#maxDatagramBytes, CARRIED_DATAGRAM_BYTES)),
      get congested() {
        return sockets.some((socket) => socket.congested);
      },
      markDirty: (connection) => this.#markDirty(connection),
      addId: (id, connection) => this.#byId.set(id, connection),
      removeId: (id) => this.#byId.delete(id),
      transmit: (datagram, local, remote) => this.#transmit(datagram, local, remote),
      withheld: () => {
        this.#counters.withheld += 1;
      },
      opened: (connection) => this.#opened(connection),
      gone: (connection, opened, ids, farewell) => {
        if (farewell !== undefined) this.#farewells.remember(ids, farewell);
        this.#gone(connection, opened);
      },
    };
  }

  get #maxDatagramBytes(): number {
    return this.#options.maxDatagramBytes ?? CARRIED_DATAGRAM_BYTES;
  }

  #receiveOn(socket: UdpSocket, datagram: Buffer, remote: Address): void {
    this.#counters.datagramsIn += 1;
    try {
      this.#dispatch(socket, datagram, remote);
    } catch {
      // A fault of ours, which no stranger's datagram shall turn into the end of the process.
      this.#counters.faults += 1;
    }
  }

  #dispatch(socket: UdpSocket, datagram: Buffer, remote: Address): void {
    const kind = kindOf(datagram);
    switch (kind) {
      case 'stun':
        this.onStun?.(datagram, remote, socket.address);
        return;
      case 'relay':
        this.onRelay?.(datagram, remote, socket.address);
        return;
      case 'other':
        this.#counters.dropped.junk += 1;
        return;
      default:
        this.#receiveQuic(datagram, kind, remote, socket);
    }
  }

  #receiveQuic(datagram: Buffer, kind: 'long' | 'short', remote: Address, socket: UdpSocket): void {
    const id = destinationId(datagram, kind);
    const connection = id === undefined ? undefined : this.#byId.get(id);
    if (id === undefined) {
      this.#counters.dropped.junk += 1;
      return;
    }
    if (connection === undefined) {
      if (kind === 'short') this.#dropUnknown(id);
      else this.#receiveFirst(datagram, remote, socket);
      return;
    }
    if (connection.carrier === undefined) {
      if (!connection.receivePlain(datagram, remote, id)) this.#counters.dropped.path += 1;
      return;
    }
    const pathClass = connection.carrier.classOf(remote);
    if (pathClass === undefined) this.#counters.dropped.path += 1;
    else connection.receiveCarried(datagram, pathClass, id);
  }

  #dropUnknown(id: string | undefined): void {
    this.#counters.dropped.unknown += 1;
    if (id !== undefined) this.#farewells.answer(id);
  }

  #receiveFirst(datagram: Buffer, remote: Address, socket: UdpSocket): void {
    const { dropped } = this.#counters;
    const first = readFirstDatagram(datagram);
    if (first === undefined) {
      dropped.unknown += 1;
      return;
    }
    const accept = this.#options.accept;
    if (accept === undefined || this.#closed) {
      dropped.refused += 1;
      return;
    }
    if (first.kind === 'unknown-version') {
      this.#countSend(socket.send(versionNegotiation(first), remote.host, remote.port));
      return;
    }
    const admission = accept.admit(remote, datagram);
    switch (admission.kind) {
      case 'drop':
        dropped.refused += 1;
        return;
      case 'carried':
        this.#acceptCarried(datagram, first, admission.carrier, admission.pathClass);
        return;
      case 'plain':
        this.#acceptPlain(datagram, first, remote, socket);
    }
  }

  #acceptPlain(
    datagram: Buffer,
    first: FirstDatagram & { kind: 'initial' },
    remote: Address,
    socket: UdpSocket,
  ): void {
    const original =
      first.token.length > 0
        ? this.#retryTokens.verify(first.token, remote, this.#options.clock.now())
        : undefined;
    const retryAbove = this.#options.accept?.retryAbove ?? Infinity;
    if (original === undefined && this.#census.handshakes >= retryAbove) {
      this.#sendRetry(first, remote, socket);
      return;
    }
    this.#accept(datagram, first, {
      original,
      remote,
      local: socket.address,
      prefix: sourcePrefix(remote.host),
      carrier: undefined,
      pathClass: undefined,
    });
  }

  #acceptCarried(
    datagram: Buffer,
    first: FirstDatagram & { kind: 'initial' },
    carrier: Carrier,
    pathClass: PathClass,
  ): void {
    if (this.#options.accept === undefined) {
      this.#counters.dropped.refused += 1;
      return;
    }
    this.#accept(datagram, first, {
      original: undefined,
      remote: addressOfClass(pathClass),
      local: CARRIED_LOCAL,
      prefix: CARRIED_PREFIX,
      carrier,
      pathClass,
    });
  }

  #accept(
    datagram: Buffer,
    first: FirstDatagram & { kind: 'initial' },
    from: Pick<ConnectionOptions, 'remote' | 'local' | 'carrier' | 'pathClass'> & {
      readonly original: Uint8Array | undefined;
      readonly prefix: string;
    },
  ): void {
    const { dropped } = this.#counters;
    const { remote, local, original, prefix, carrier, pathClass } = from;
    if (!this.#census.enter(prefix)) {
      dropped.limit += 1;
      return;
    }
    // After a Retry the client goes by the ID that we gave it there.
    const id =
      original === undefined ? this.#options.random.bytes(OUR_ID_BYTES) : first.destinationId;
    const config = this.#configFor(this.#options.alpn, carrier);
    let native: NativeConnection | undefined;
    try {
      native = this.#quiche.Connection.accept(id, original, local, remote, config);
      native.recv(datagram, { from: remote, to: local });
    } catch (error) {
      // Not kept for a moment: the object of a junk Initial holds 25 KiB.
      this.#census.leave(prefix, false);
      dropped.invalid += 1;
      // A real client is told why, if only that no protocol is common; junk is not answered.
      if (native !== undefined && reasonOf(error) === 'TlsFail') this.#sendLast(native, from);
      return;
    }
    const connection = new Connection(this.#host, {
      id: this.#nextId++,
      role: 'acceptor',
      native,
      remote,
      local,
      carrier,
      pathClass,
      verify: (certDer, alpn) => this.#options.accept?.verify?.(certDer, alpn) ?? true,
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      keepAliveMs: undefined,
      keepAliveAnswerMs: undefined,
      firstId: original === undefined ? idKey(first.destinationId) : undefined,
      unprovenBytes: original === undefined && carrier === undefined ? datagram.length : undefined,
    });
    this.#counters.accepted += 1;
    this.#connections.add(connection);
    this.#prefixes.set(connection, prefix);
    this.#markDirty(connection);
  }

  /** Sends the one datagram with which quiche ends a connection that never became one. */
  #sendLast(
    native: NativeConnection,
    {
      carrier,
      pathClass,
      local,
      remote,
    }: Pick<ConnectionOptions, 'remote' | 'local' | 'carrier' | 'pathClass'>,
  ): void {
    try {
      const sent = native.send(this.#host.slab.room());
      if (sent === null) return;
      const datagram = this.#host.slab.take(sent[0]);
      if (pathClass === undefined) this.#transmit(datagram, local, remote);
      else carrier?.send(datagram, pathClass);
    } catch {
      // Then the client finds out by itself.
    }
  }

  #sendRetry(first: FirstDatagram & { kind: 'initial' }, remote: Address, socket: UdpSocket): void {
    const newId = this.#options.random.bytes(OUR_ID_BYTES);
    const now = this.#options.clock.now();
    const token = this.#retryTokens.mint(first.destinationId, remote, now);
    const out = Buffer.allocUnsafe(CARRIED_DATAGRAM_BYTES);
    try {
      const length = this.#quiche.retry(
        first.sourceId,
        first.destinationId,
        newId,
        token,
        this.#quiche.PROTOCOL_VERSION,
        out,
      );
      this.#counters.retriesSent += 1;
      this.#countSend(socket.send(out.subarray(0, length), remote.host, remote.port));
    } catch {
      this.#counters.dropped.invalid += 1;
    }
  }

  #dialNative(options: DialOptions): Connection {
    const { carrier, alpn, serverName } = options;
    const pathClass = carrier === undefined ? undefined : (options.pathClass ?? 'public');
    const remote = pathClass === undefined ? options.remote : addressOfClass(pathClass);
    if (this.#closed) throw dialError(options, 'the endpoint is closed');
    if (remote === undefined) throw dialError(options, 'no address was given');
    const local =
      carrier === undefined ? this.#socketFor(remote, undefined)?.address : CARRIED_LOCAL;
    if (local === undefined || remote.port < 1) {
      throw dialError(options, 'it cannot be reached from any of our sockets');
    }
    let native;
    try {
      native = this.#quiche.Connection.connect(
        serverName,
        this.#options.random.bytes(OUR_ID_BYTES),
        local,
        remote,
        this.#configFor([alpn], carrier),
      );
    } catch (cause) {
      throw dialError(options, 'quiche refused it', cause);
    }
    const connection = new Connection(this.#host, {
      id: this.#nextId++,
      role: 'dialer',
      native,
      remote,
      local,
      carrier,
      pathClass,
      verify: (certDer) => options.verify(certDer),
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
      keepAliveMs: options.keepAliveMs,
      keepAliveAnswerMs: options.keepAliveAnswerMs,
      firstId: undefined,
      unprovenBytes: undefined,
    });
    this.#counters.dialled += 1;
    this.#connections.add(connection);
    return connection;
  }

  #configFor(alpn: readonly string[], carrier: Carrier | undefined): NativeConfig {
    const carried = carrier !== undefined;
    const maxDatagramBytes = carried ? CARRIED_DATAGRAM_BYTES : this.#maxDatagramBytes;
    const key = `${carried} ${alpn.join(' ')}`;
    let config = this.#configs.get(key);
    if (config === undefined) {
      config = tlsConfig(this.#quiche, {
        identity: this.#options.identity,
        alpn,
        limits: this.#limits,
        idleTimeoutMs: this.#options.idleTimeoutMs ?? IDLE_TIMEOUT_MS,
        maxDatagramBytes,
        carried,
      });
      this.#configs.set(key, config);
    }
    return config;
  }

  #socketFor(remote: Address, local: Address | undefined): UdpSocket | undefined {
    const family = familyOf(remote);
    return this.#sockets.find(
      (socket) =>
        socket.family === family &&
        (local === undefined ||
          (socket.address.port === local.port && socket.address.host === local.host)),
    );
  }

  #transmit(datagram: Uint8Array, local: Address, remote: Address): void {
    let socket = this.#sockets[0];
    if (socket?.address !== local) socket = this.#sockets.find(({ address }) => address === local);
    this.#countSend(socket?.send(datagram, remote.host, remote.port) ?? false);
  }

  #countSend(sent: boolean): void {
    if (sent) this.#counters.datagramsOut += 1;
    else this.#counters.sendFailures += 1;
  }

  #markDirty(connection: Connection): void {
    if (connection.dirty) return;
    connection.dirty = true;
    if (this.#dirty.push(connection) === 1) setImmediate(() => this.#turn());
  }

  #turn(): void {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const connection of dirty) {
      connection.dirty = false;
      connection.turn();
    }
  }

  #opened(connection: Connection): void {
    const prefix = this.#prefixes.get(connection);
    if (prefix !== undefined) {
      this.#census.settle(prefix);
      this.#options.accept?.onConnection(connection);
      return;
    }
    const settle = this.#dials.get(connection);
    this.#dials.delete(connection);
    settle?.();
  }

  #gone(connection: Connection, opened: boolean): void {
    this.#connections.delete(connection);
    const prefix = this.#prefixes.get(connection);
    if (prefix !== undefined) {
      this.#prefixes.delete(connection);
      this.#census.leave(prefix, opened);
      return;
    }
    const settle = this.#dials.get(connection);
    this.#dials.delete(connection);
    settle?.(dialError({}, 'it ended during the handshake'));
  }
}

function dialError(
  target: Pick<DialOptions, 'remote'>,
  reason: string,
  cause?: unknown,
): ChattyError {
  const to = target.remote === undefined ? 'the peer' : formatAddress(target.remote);
  return new ChattyError('CHATTY_TRANSPORT', `could not connect to ${to}: ${reason}`, {
    cause,
    hint: 'Check that it is running and that UDP reaches it.',
  });
}
