import { type Address, sameAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Random } from '../base/random.ts';
import { CarriedPath } from './carried-path.ts';
import { ConnectionIds } from './connection-ids.ts';
import type { ConnectionOptions, ConnectionOwner } from './connection-options.ts';
import { DeadlineTimer } from './deadline-timer.ts';
import { endReason } from './end-reason.ts';
import type { Farewell } from './farewells.ts';
import { FirstFlight } from './first-flight.ts';
import { Handshake } from './handshake.ts';
import { KeepAlive } from './keep-alive.ts';
import { type HostPort, type NativeConnection, type Quiche, smoothedRttMs } from './native.ts';
import { PacketSender, type PacketSenderHost } from './packet-sender.ts';
import { PeerAddress } from './peer-address.ts';
import type { QuicStream } from './stream.ts';
import { StreamTable, type StreamTableHost } from './stream-table.ts';
import type { Carrier, CloseReason, QuicConnection } from './types.ts';

/** How soon sending is tried again when the network took less than it was given. */
const CONGESTED_MS = 1;
/** CRYPTO_ERROR (RFC 9000 §20.1) of the alert bad_certificate (RFC 8446 §6). */
const BAD_CERTIFICATE = 0x100 + 42;
const INTERNAL_ERROR = 1;
/** Turns in which readers can still take what came just before the end. */
const LINGER_TURNS = 3;

/** What a connection needs of its endpoint. */
export interface ConnectionHost extends PacketSenderHost {
  readonly quiche: Quiche;
  readonly clock: Clock;
  readonly random: Random;
  /** Asks for `turn` in this turn of the event loop. */
  markDirty(connection: Connection): void;
  addId(id: string, connection: Connection): void;
  removeId(id: string): void;
  /**
   * The connection is over; called once, before its owner hears of it. `farewell` is what it said
   * last, where it was ended by us, and `ids` by what the peer knew it.
   */
  gone(connection: Connection, ids: readonly string[], farewell: Farewell | undefined): void;
}

/**
 * Drives one quiche connection: what comes in is only noted, and once in a turn of the event loop
 * everything that can progress does and all that is to go out is sent, which makes for few
 * acknowledgements and full packets. Whatever quiche throws ends this connection and nothing else.
 */
export class Connection implements QuicConnection, StreamTableHost {
  readonly id: number;
  readonly role: 'dialer' | 'acceptor';
  readonly local: Address;
  readonly closed: Promise<CloseReason>;
  /** Set while the connection waits in the endpoint's list of dirty ones. */
  dirty = false;

  readonly #host: ConnectionHost;
  readonly #owner: ConnectionOwner;
  /** By which quiche knows the peer of a plain connection for good, wherever it moves. */
  readonly #first: Address;
  readonly #ids: ConnectionIds;
  readonly #peer: PeerAddress;
  readonly #carried: CarriedPath | undefined;
  readonly #handshake: Handshake;
  readonly #firstFlight: FirstFlight;
  readonly #keepAlive: KeepAlive;
  readonly #sender: PacketSender;
  readonly #streams: StreamTable;
  readonly #timer: DeadlineTimer;
  #native: NativeConnection | undefined;
  #refusal: ChattyError | undefined;
  #lingered = 0;
  #heard = false;
  #resolveClosed: (reason: CloseReason) => void = () => undefined;

  constructor(host: ConnectionHost, options: ConnectionOptions) {
    const { native, role, remote, local, carrier, pathClass } = options;
    const now = host.clock.now();
    this.#host = host;
    this.id = options.id;
    this.role = role;
    this.local = local;
    this.#first = remote;
    this.#native = native;
    this.#owner = options.owner;
    this.#handshake = new Handshake(options.verify, now + options.handshakeTimeoutMs);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#ids = new ConnectionIds(native, carrier !== undefined, options.firstId, {
      random: host.random,
      add: (id) => host.addId(id, this),
      remove: (id) => host.removeId(id),
    });
    this.#peer = new PeerAddress(remote, this.#ids, options.unprovenBytes);
    if (carrier !== undefined && pathClass !== undefined) {
      this.#carried = new CarriedPath(carrier, pathClass);
    }
    this.#firstFlight = new FirstFlight(role, carrier !== undefined);
    this.#keepAlive = new KeepAlive(options.keepAliveMs, options.keepAliveAnswerMs, now);
    this.#sender = new PacketSender(host, {
      local,
      peer: this.#peer,
      carried: this.#carried,
      handshake: this.#handshake,
      firstFlight: this.#firstFlight,
      keepAlive: this.#keepAlive,
    });
    this.#streams = new StreamTable(this, role);
    this.#timer = new DeadlineTimer(host.clock, () => this.#onTimer());
  }

  get quiche(): Quiche {
    return this.#host.quiche;
  }

  get native(): NativeConnection | undefined {
    return this.#native;
  }

  get alpn(): string {
    return this.#handshake.alpn;
  }

  get peerCertificate(): Uint8Array {
    return this.#handshake.peerCertificate;
  }

  get peerFingerprint(): Uint8Array {
    return this.#handshake.peerFingerprint;
  }

  /** Why the handshake failed, where it was our own judgement. */
  get refusal(): ChattyError | undefined {
    return this.#refusal;
  }

  get sendsFreely(): boolean {
    return this.#peer.proven && !this.#host.congested;
  }

  get carrier(): Carrier | undefined {
    return this.#carried?.carrier;
  }

  get remote(): Address {
    return this.#carried?.remote ?? this.#peer.address;
  }

  get pathClass(): PathClass | undefined {
    return this.#carried?.pathClass;
  }

  get rttMs(): number {
    return this.#native === undefined ? 0 : smoothedRttMs(this.#native);
  }

  get onStream(): ((stream: QuicStream) => void) | undefined {
    return this.#streams.onStream;
  }

  set onStream(handle: ((stream: QuicStream) => void) | undefined) {
    this.#streams.onStream = handle;
  }

  openStream(): QuicStream {
    if (this.#native === undefined || !this.#handshake.done) {
      throw new ChattyError('CHATTY_TRANSPORT', 'the connection is closed', {
        hint: 'Connect again.',
      });
    }
    return this.#streams.open(this.#native);
  }

  selectPath(pathClass: PathClass): void {
    if (this.#carried === undefined || this.role !== 'dialer') return;
    this.#carried.select(pathClass);
    this.wake();
  }

  ping(): void {
    if (!this.#handshake.done) return;
    this.#drive((native, now) => {
      this.#ask(native, now);
      this.wake();
    });
  }

  get isAwaited(): boolean {
    return this.#keepAlive.isAwaited;
  }

  close(code = 0, reason = ''): void {
    const native = this.#native;
    if (native === undefined) return;
    this.#sayLastWords(native);
    const farewell = this.#sender.sendClose(native, true, code, reason);
    this.#finish({ kind: 'local', code, reason }, farewell);
  }

  /** What was written just before goes out first, as far as the windows let it. */
  #sayLastWords(native: NativeConnection): void {
    if (!this.#streams.writing) return;
    try {
      const now = this.#host.clock.now();
      this.#streams.writeLast(native, now);
      this.#flush(native, now);
    } catch {
      // It ends all the same.
    }
  }

  wake(): void {
    this.#host.markDirty(this);
  }

  /** Takes one datagram of the carrier, over a path of `pathClass`; quiche decrypts in place. */
  receiveCarried(datagram: Uint8Array, pathClass: PathClass, id: string): void {
    if (this.#carried === undefined) return;
    this.#hearAgain(id);
    this.#receive(datagram, this.#carried.sourceOf(pathClass, this.#handshake.done, this.role));
  }

  /**
   * Takes one datagram of a plain connection, addressed to `id`; quiche decrypts in place.
   * @returns false if it is dropped for the address that it comes from.
   */
  receivePlain(datagram: Uint8Array, remote: Address, id: string): boolean {
    const unmoved = !this.#peer.moving && sameAddress(remote, this.#peer.address);
    if (unmoved) {
      if (!this.#handshake.done) this.#peer.received(datagram.length);
      this.#receive(datagram, this.#first);
      this.#hearAgain(id);
      return true;
    }
    // A server does not move, and a client not before it has shown who it is (RFC 9000 §9).
    if (this.role === 'dialer' || !this.#handshake.done) return false;
    this.#receiveMoved(datagram, remote, id);
    return true;
  }

  #receive(datagram: Uint8Array, from: HostPort): void {
    const native = this.#native;
    if (native === undefined) return;
    this.#heard = true;
    this.#sender.heard();
    this.#keepAlive.heard();
    if (this.role === 'dialer') this.#firstFlight.end();
    try {
      native.recv(datagram, { from, to: this.local });
    } catch {
      // A connection that this broke is found so in its turn; else it was a stray datagram.
    }
    this.wake();
  }

  #receiveMoved(datagram: Uint8Array, remote: Address, id: string): void {
    const native = this.#native;
    if (native === undefined) return;
    const before = native.stats().recv;
    this.#receive(datagram, this.#first);
    // What is no packet of the peer's, or one that came before, says nothing.
    if (native.stats().recv === before) return;
    this.#drive((_native, now) => this.#peer.follow(native, remote, datagram.length, id, now));
  }

  /**
   * A dialer that repeats its first Initial has not got our answer, which quiche would repeat only
   * after a second.
   */
  #hearAgain(id: string): void {
    if (this.#ids.isOriginal(id)) this.#sender.repeat(this.#firstFlight.datagrams);
  }

  /** Lets everything progress that can. Never throws. */
  turn(): void {
    this.#drive((native, now) => {
      if (!this.#handshake.done && native.isEstablished()) this.#open(native);
      if (this.#handshake.done) this.#progress(native, now);
      // Either step may have ended the connection.
      if (this.#native === undefined) return;
      this.#flush(native, now);
      if (!native.isDraining() && !native.isClosed()) this.#arm(native, now);
      else if (this.#streams.size > 0 && this.#lingered < LINGER_TURNS) {
        this.#lingered += 1;
        this.wake();
      } else this.#finish(endReason(native, this.#handshake.done));
    });
  }

  /** Does something with quiche, if it is still there: what that throws ends the connection. */
  #drive(act: (native: NativeConnection, now: number) => void): void {
    const native = this.#native;
    if (native === undefined) return;
    try {
      act(native, this.#host.clock.now());
    } catch (error) {
      this.#abort(native, `quiche failed: ${reasonOf(error)}`);
    }
  }

  #open(native: NativeConnection): void {
    this.#refusal = this.#handshake.complete(native);
    if (this.#refusal !== undefined) {
      const farewell = this.#sender.sendClose(native, false, BAD_CERTIFICATE);
      const { message } = this.#refusal;
      this.#finish({ kind: 'handshake', code: BAD_CERTIFICATE, reason: message }, farewell);
      return;
    }
    this.#peer.handshakeDone();
    this.#ids.dropOriginal();
    this.#firstFlight.end();
    this.#ids.refresh(native);
    this.#owner.opened();
  }

  #progress(native: NativeConnection, now: number): void {
    this.#ids.refresh(native);
    this.#carried?.advance(native);
    if (native.isReadable()) this.#streams.read(native);
    if (this.#heard) {
      this.#heard = false;
      this.#streams.noticeEnds(native);
    }
    if (this.#streams.writing && this.#lingered === 0) this.#streams.write(native, now);
  }

  #flush(native: NativeConnection, now: number): void {
    const outcome = this.#sender.flush(native, now);
    if (outcome === 'more') this.wake();
    if (outcome === 'endless') this.#abort(native, 'sent without end and heard nothing');
  }

  #arm(native: NativeConnection, now: number): void {
    const at = Math.min(
      // quiche counts whole milliseconds, rounded down: one more, or it would be too early.
      now + (native.timeout() ?? Infinity) + 1,
      this.#handshake.endsAt,
      this.#firstFlight.repeatAt,
      this.#streams.heldBackUntil,
      this.#peer.proofEndsAt,
      this.#keepAlive.overdueAt,
      this.#handshake.done ? this.#keepAlive.askAt : Infinity,
      this.#host.congested ? now + CONGESTED_MS : Infinity,
    );
    this.#timer.set(at, now);
  }

  #onTimer(): void {
    this.#drive((native, now) => {
      if (now >= this.#handshake.endsAt) {
        this.#abort(native, 'the handshake took too long');
        return;
      }
      if (now >= this.#peer.proofEndsAt) this.#peer.lapse(native, now);
      native.onTimeout();
      this.#sender.repeat(this.#firstFlight.due(now));
      this.#askForLife(native, now);
    });
    this.turn();
  }

  #askForLife(native: NativeConnection, now: number): void {
    if (this.#handshake.done && now >= this.#keepAlive.askAt) this.#ask(native, now);
    if (now < this.#keepAlive.overdueAt) return;
    // After a long stall of ours the answer may be here already, not yet read from the socket.
    setImmediate(() => {
      if (this.#native === undefined || this.#keepAlive.overdueAt === Infinity) return;
      this.#abort(this.#native, 'a keep-alive was not answered');
    });
  }

  #ask(native: NativeConnection, now: number): void {
    native.sendAckEliciting();
    this.#keepAlive.asked(now);
  }

  /** Ends the connection for a reason of our own, and tells the peer if that is possible. */
  #abort(native: NativeConnection, reason: string): void {
    const farewell = this.#sender.sendClose(native, false, INTERNAL_ERROR);
    const kind = this.#handshake.done ? 'transport' : 'handshake';
    this.#finish({ kind, code: INTERNAL_ERROR, reason }, farewell);
  }

  #finish(reason: CloseReason, farewell?: Farewell): void {
    if (this.#native === undefined) return;
    this.#native = undefined;
    this.#timer.cancel();
    const ids = this.#ids.release();
    this.#firstFlight.end();
    this.#streams.end(reason);
    this.#host.gone(this, ids, farewell);
    this.#owner.ended(this.#handshake.done);
    this.#resolveClosed(reason);
  }
}
