import { type Address, sameAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Random } from '../base/random.ts';
import { ConnectionIds } from './connection-ids.ts';
import type { HostPort, NativeConnection, Quiche } from './native.ts';
import { endReason } from './end-reason.ts';
import type { Farewell } from './farewells.ts';
import type { Slab } from './slab.ts';
import { ed25519Fingerprint } from './spki.ts';
import { QuicStream } from './stream.ts';
import { UnprovenAddress } from './unproven-address.ts';
import { addressOfClass, CARRIED_LOCAL, classOfAddress } from './synthetic-address.ts';
import type { Carrier, CloseReason, QuicConnection } from './types.ts';

/**
 * The most packets sent for one connection in one turn of the event loop, about 3 ms of work; what
 * is left waits for the next turn. Also the bound on a `send` that would never end.
 */
const MAX_PACKETS_PER_TURN = 256;
/**
 * Packets sent without hearing anything, past which a connection is broken off: more than any
 * congestion window holds, so that only a fault gets there.
 */
const MAX_UNHEARD_PACKETS = 65_536;
/** How long a small write may be held back for a fuller packet. */
const HOLD_BACK_MS = 2;
/** How soon sending is tried again when the network took less than it was given. */
const CONGESTED_MS = 1;
/** How often the first flight is repeated until anything is heard; quiche alone would wait 1 s. */
const CARRIED_RESEND_MS = 100;
const PLAIN_RESEND_MS = 250;
/** The datagrams of a first flight, three at most (RFC 9000 §8.1). */
const MAX_FLIGHT = 3;
/** CRYPTO_ERROR (RFC 9000 §20.1) of the alert bad_certificate (RFC 8446 §6). */
const BAD_CERTIFICATE = 0x100 + 42;
const INTERNAL_ERROR = 1;
/** Turns in which readers can still take what came just before the end. */
const LINGER_TURNS = 3;
/**
 * How long a peer that moved has to prove its new address before it is looked for where it was
 * (RFC 9000 §9.3.2): the proof takes up to two round trips, each of which may be repeated.
 */
const MIN_PROOF_MS = 1000;
const MAX_PROOF_MS = 3000;
const PROOF_RTTS = 6;
/** Less than this holds no packet worth sending. */
const MIN_PACKET_BYTES = 64;
const NOTHING = Buffer.alloc(0);

/** What a connection needs of its endpoint. */
export interface ConnectionHost {
  readonly quiche: Quiche;
  readonly clock: Clock;
  readonly random: Random;
  readonly slab: Slab;
  readonly congested: boolean;
  /** Asks for `turn` in this turn of the event loop. */
  markDirty(connection: Connection): void;
  addId(id: string, connection: Connection): void;
  removeId(id: string): void;
  /** Sends a datagram of a plain connection. */
  transmit(datagram: Uint8Array, local: Address, remote: Address): void;
  /** Counts a datagram that may not be sent yet. */
  withheld(): void;
  /** The handshake is done, and the peer is who it should be. */
  opened(connection: Connection): void;
  /**
   * The connection is over; called once. `opened` says whether it ever was; `farewell` is what it
   * said last, where it was ended by us, and `ids` by what the peer knew it.
   */
  gone(
    connection: Connection,
    opened: boolean,
    ids: readonly string[],
    farewell: Farewell | undefined,
  ): void;
}

export interface ConnectionOptions {
  readonly id: number;
  readonly role: 'dialer' | 'acceptor';
  readonly native: NativeConnection;
  readonly remote: Address;
  readonly local: Address;
  readonly carrier: Carrier | undefined;
  readonly pathClass: PathClass | undefined;
  readonly verify: (certDer: Uint8Array, alpn: string) => boolean;
  readonly handshakeTimeoutMs: number;
  readonly keepAliveMs: number | undefined;
  readonly keepAliveAnswerMs: number | undefined;
  /** The further connection ID by which an acceptor is known until the handshake is done. */
  readonly firstId: string | undefined;
  /** The bytes that came from an acceptor's peer so far, if its address is not proven. */
  readonly unprovenBytes: number | undefined;
}

/**
 * Drives one quiche connection: what comes in is only noted, and once in a turn of the event loop
 * everything that can progress does and all that is to go out is sent, which makes for few
 * acknowledgements and full packets. Whatever quiche throws ends this connection and nothing else.
 */
export class Connection implements QuicConnection {
  readonly id: number;
  readonly role: 'dialer' | 'acceptor';
  readonly local: Address;
  readonly closed: Promise<CloseReason>;
  readonly carrier: Carrier | undefined;
  alpn = '';
  peerCertificate: Uint8Array = NOTHING;
  peerFingerprint: Uint8Array = NOTHING;
  remote: Address;
  pathClass: PathClass | undefined;
  /** Set while the connection waits in the endpoint's list of dirty ones. */
  dirty = false;
  /** Why the handshake failed, where it was our own judgement. */
  refusal: ChattyError | undefined;

  readonly #host: ConnectionHost;
  readonly #verify: (certDer: Uint8Array, alpn: string) => boolean;
  readonly #keepAliveMs: number | undefined;
  readonly #keepAliveAnswerMs: number;
  readonly #ids: ConnectionIds;
  /** By which quiche knows the peer of a plain connection for good, wherever it moves. */
  readonly #peer: Address;
  /** Set while the peer, new or moved, has not proven its address. */
  #unproven: UnprovenAddress | undefined;
  #proofEndsAt = Infinity;
  /** The new address that was not proven in time, while the peer is looked for at the old one. */
  #lapsed: UnprovenAddress | undefined;
  #native: NativeConnection | undefined;
  #opened = false;
  #handshakeEndsAt: number;
  #firstId: string | undefined;
  #firstFlight: Buffer[] | undefined;
  #resendAt = Infinity;
  #lastSentAt: number;
  #heldBackUntil = Infinity;
  #lingered = 0;
  #heard = false;
  #unheard = 0;
  /** When the keep-alive was sent since which nothing has come. */
  #askedAt = Infinity;
  #wantedClass: PathClass | undefined;
  #timer: Timer | undefined;
  #timerAt = Infinity;
  #nextStreamId: number;
  #nextPeerStreamId: number;
  readonly #streams = new Map<number, QuicStream>();
  readonly #writers = new Set<QuicStream>();
  #waiting: QuicStream[] | undefined;
  #onStream: ((stream: QuicStream) => void) | undefined;
  #resolveClosed: (reason: CloseReason) => void = () => undefined;

  constructor(host: ConnectionHost, options: ConnectionOptions) {
    const dialer = options.role === 'dialer';
    this.#host = host;
    this.id = options.id;
    this.role = options.role;
    this.remote = options.remote;
    this.#peer = options.remote;
    this.local = options.local;
    this.carrier = options.carrier;
    this.pathClass = options.pathClass;
    this.#native = options.native;
    this.#verify = options.verify;
    this.#keepAliveMs = options.keepAliveMs;
    this.#keepAliveAnswerMs = options.keepAliveAnswerMs ?? Infinity;
    this.#firstId = options.firstId;
    this.#lastSentAt = host.clock.now();
    this.#handshakeEndsAt = this.#lastSentAt + options.handshakeTimeoutMs;
    this.#firstFlight = [];
    // RFC 9000 §2.1: bit 0 is set for streams the acceptor opens.
    this.#nextStreamId = dialer ? 0 : 1;
    this.#nextPeerStreamId = dialer ? 1 : 0;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#ids = new ConnectionIds(options.native, options.carrier !== undefined, {
      random: host.random,
      add: (id) => host.addId(id, this),
      remove: (id) => host.removeId(id),
    });
    if (this.#firstId !== undefined) host.addId(this.#firstId, this);
    if (options.unprovenBytes !== undefined) {
      this.#unproven = new UnprovenAddress(options.remote);
      this.#unproven.received(options.unprovenBytes);
    }
  }

  get quiche(): Quiche {
    return this.#host.quiche;
  }

  get native(): NativeConnection | undefined {
    return this.#native;
  }

  get sendsFreely(): boolean {
    return this.#unproven === undefined && !this.#host.congested;
  }

  get rttMs(): number {
    const active = this.#native?.pathStats().find((path) => path.active);
    return active?.rtt ?? 0;
  }

  get onStream(): ((stream: QuicStream) => void) | undefined {
    return this.#onStream;
  }

  set onStream(handle: ((stream: QuicStream) => void) | undefined) {
    this.#onStream = handle;
    const waiting = this.#waiting;
    if (handle === undefined || waiting === undefined) return;
    this.#waiting = undefined;
    for (const stream of waiting) handle(stream);
  }

  openStream(): QuicStream {
    const native = this.#native;
    if (native === undefined || !this.#opened) {
      throw new ChattyError('CHATTY_TRANSPORT', 'the connection is closed', {
        hint: 'Connect again.',
      });
    }
    if (native.peerStreamsLeftBidi() <= 0) {
      throw new ChattyError('CHATTY_OVERLOADED', 'the peer allows no more streams at once', {
        hint: 'End a stream first.',
      });
    }
    const id = this.#nextStreamId;
    // Writing nothing makes quiche count the stream, so that the check above holds for the next.
    native.streamSend(id, NOTHING, false);
    this.#nextStreamId += 4;
    return this.#addStream(id);
  }

  selectPath(pathClass: PathClass): void {
    if (this.carrier === undefined || this.role !== 'dialer') return;
    this.#wantedClass = pathClass;
    this.#host.markDirty(this);
  }

  close(code = 0, reason = ''): void {
    const native = this.#native;
    if (native === undefined) return;
    this.#sayLastWords(native);
    const farewell = this.#sayClose(native, true, code, reason);
    this.#finish({ kind: 'local', code, reason }, farewell);
  }

  /** What was written just before goes out first, as far as the windows let it. */
  #sayLastWords(native: NativeConnection): void {
    if (this.#writers.size === 0) return;
    try {
      const now = this.#host.clock.now();
      for (const stream of [...this.#writers]) stream.pumpWrite(native, now, 'last');
      this.#flush(native, now);
    } catch {
      // It ends all the same.
    }
  }

  /** Takes one datagram of the carrier, over a path of `pathClass`; quiche decrypts in place. */
  receiveCarried(datagram: Uint8Array, pathClass: PathClass, id: string): void {
    this.#hearAgain(id);
    this.#receive(datagram, addressOfClass(pathClass));
  }

  /**
   * Takes one datagram of a plain connection, addressed to `id`; quiche decrypts in place.
   * @returns false if it is dropped for the address that it comes from.
   */
  receivePlain(datagram: Uint8Array, remote: Address, id: string): boolean {
    if (!this.#opened && sameAddress(remote, this.remote)) {
      this.#unproven?.received(datagram.length);
      this.#receive(datagram, this.#peer);
      this.#hearAgain(id);
      return true;
    }
    if (this.#proofEndsAt === Infinity && sameAddress(remote, this.remote)) {
      this.#receive(datagram, this.#peer);
      return true;
    }
    // A server does not move, and a client not before it has shown who it is (RFC 9000 §9).
    if (this.role === 'dialer' || !this.#opened) return false;
    this.#receiveMoved(datagram, remote, id);
    return true;
  }

  #receive(datagram: Uint8Array, from: HostPort): void {
    const native = this.#native;
    if (native === undefined) return;
    this.#heard = true;
    this.#unheard = 0;
    this.#askedAt = Infinity;
    if (this.role === 'dialer') this.#firstFlight = undefined;
    this.#resendAt = Infinity;
    try {
      native.recv(datagram, { from, to: this.local });
    } catch {
      // A connection that this broke is found so in its turn; else it was a stray datagram.
    }
    this.#host.markDirty(this);
  }

  #receiveMoved(datagram: Uint8Array, remote: Address, id: string): void {
    const native = this.#native;
    if (native === undefined) return;
    const before = native.stats().recv;
    this.#receive(datagram, this.#peer);
    // What is no packet of the peer's, or one that came before, says nothing.
    if (native.stats().recv === before) return;
    try {
      this.#follow(native, remote, datagram.length, id);
    } catch (error) {
      this.#abort(native, `quiche failed: ${reasonOf(error)}`);
    }
  }

  /** An authentic datagram came from `remote`, or from anywhere while the peer is moving. */
  #follow(native: NativeConnection, remote: Address, bytes: number, id: string): void {
    if (sameAddress(remote, this.remote)) {
      this.#settleAt(remote);
      return;
    }
    if (this.#unproven === undefined || !sameAddress(remote, this.#unproven.address)) {
      this.#lapsed = undefined;
      this.#tryAddress(native, new UnprovenAddress(remote));
    } else if (this.#ids.isProof(id)) {
      this.#settleAt(remote);
      return;
    }
    this.#unproven?.received(bytes);
  }

  /** The peer seems to be at another address, and shall prove it. */
  #tryAddress(native: NativeConnection, address: UnprovenAddress): void {
    this.#unproven = address;
    this.#proofEndsAt = this.#host.clock.now() + this.#proofMs;
    this.#ids.demandProof(native);
  }

  get #proofMs(): number {
    return Math.min(Math.max(MIN_PROOF_MS, PROOF_RTTS * this.rttMs), MAX_PROOF_MS);
  }

  /** The peer is at `remote`: it was heard there, or has proven to be. */
  #settleAt(remote: Address): void {
    this.remote = remote;
    this.#unproven = undefined;
    this.#lapsed = undefined;
    this.#proofEndsAt = Infinity;
    this.#ids.endProof();
  }

  /**
   * The proof did not come: somebody lied, and the peer is still at its old address, or a datagram
   * was lost and it is at the new one. Until it is heard, it is looked for at each in turn, at the
   * new one with what is left of its budget.
   */
  #lookElsewhere(native: NativeConnection): void {
    const lapsed = this.#lapsed;
    this.#lapsed = this.#unproven;
    if (lapsed !== undefined) {
      this.#tryAddress(native, lapsed);
      return;
    }
    this.#unproven = undefined;
    this.#ids.endProof();
    this.#proofEndsAt = this.#host.clock.now() + this.#proofMs;
  }

  wantWrite(stream: QuicStream): void {
    this.#writers.add(stream);
    this.#host.markDirty(this);
  }

  wantRead(): void {
    this.#host.markDirty(this);
  }

  forget(stream: QuicStream): void {
    this.#writers.delete(stream);
    this.#streams.delete(stream.id);
    // What a reset or an end has to say goes out in this turn.
    this.#host.markDirty(this);
  }

  /** Lets everything progress that can. Never throws. */
  turn(): void {
    const native = this.#native;
    if (native === undefined) return;
    try {
      const now = this.#host.clock.now();
      if (!this.#opened && native.isEstablished()) this.#open(native);
      if (this.#opened) this.#progress(native, now);
      // Either step may have ended the connection.
      if (this.#native === undefined) return;
      this.#flush(native, now);
      if (!native.isDraining() && !native.isClosed()) {
        this.#arm(native, now);
      } else if (this.#streams.size > 0 && this.#lingered < LINGER_TURNS) {
        this.#lingered += 1;
        this.#host.markDirty(this);
      } else {
        this.#finish(endReason(native, this.#opened));
      }
    } catch (error) {
      this.#abort(native, `quiche failed: ${reasonOf(error)}`);
    }
  }

  #open(native: NativeConnection): void {
    this.alpn = Buffer.from(native.applicationProto()).toString();
    const certDer = native.peerCertChain()?.[0];
    const refusal = certDer === undefined ? 'it sent no certificate' : this.#judge(certDer);
    if (refusal !== undefined) {
      this.refusal = new ChattyError('CHATTY_UNTRUSTED', `the peer is not trusted: ${refusal}`, {
        hint: 'Check that you connect to the right program, and which key it should have.',
      });
      const farewell = this.#sayClose(native, false, BAD_CERTIFICATE);
      const { message } = this.refusal;
      this.#finish({ kind: 'handshake', code: BAD_CERTIFICATE, reason: message }, farewell);
      return;
    }
    this.#opened = true;
    this.#unproven = undefined;
    this.#handshakeEndsAt = Infinity;
    if (this.#firstId !== undefined) {
      this.#host.removeId(this.#firstId);
      this.#firstId = undefined;
    }
    this.#firstFlight = undefined;
    this.#ids.refresh(native);
    this.#host.opened(this);
  }

  /** @returns why the certificate is refused; undefined: it is not. */
  #judge(certDer: Uint8Array): string | undefined {
    try {
      const fingerprint = ed25519Fingerprint(certDer);
      if (fingerprint === undefined) return 'its certificate is not of an Ed25519 key';
      this.peerFingerprint = fingerprint;
      this.peerCertificate = Uint8Array.from(certDer);
      return this.#verify(this.peerCertificate, this.alpn) ? undefined : 'its key is another';
    } catch (error) {
      return reasonOf(error);
    }
  }

  #progress(native: NativeConnection, now: number): void {
    this.#ids.refresh(native);
    if (this.carrier !== undefined) {
      this.#followPaths(native);
      this.#migrate(native);
    }
    if (native.isReadable()) this.#read(native);
    if (this.#heard) {
      this.#heard = false;
      for (const stream of this.#streams.values()) stream.noticeEnd(native);
    }
    if (this.#writers.size > 0 && this.#lingered === 0) this.#write(native, now);
  }

  /** The peer chose a path of another class. */
  #followPaths(native: NativeConnection): void {
    for (;;) {
      // The declaration promises an event; there is null when there are no more.
      const event = native.pathEventNext() as ReturnType<typeof native.pathEventNext> | null;
      if (event === null) return;
      if (event.type !== 'PeerMigrated') continue;
      this.remote = event.new;
      this.pathClass = classOfAddress(event.new.host);
    }
  }

  #migrate(native: NativeConnection): void {
    const wanted = this.#wantedClass;
    if (wanted === undefined) return;
    const address = addressOfClass(wanted);
    try {
      native.migrate(CARRIED_LOCAL, address);
    } catch (error) {
      // Spare connection IDs are on their way: tried again in the next turn.
      if (reasonOf(error) === 'OutOfIdentifiers') return;
      throw error;
    }
    this.#wantedClass = undefined;
    this.pathClass = wanted;
    this.remote = address;
  }

  #read(native: NativeConnection): void {
    for (const id of native.readable()) {
      if (!this.#streams.has(id) && id >= this.#nextPeerStreamId) this.#acceptUpTo(id);
      this.#streams.get(id)?.pumpRead(native);
    }
  }

  /** A stream opens all lower ones of its kind too (RFC 9000 §3.2). */
  #acceptUpTo(id: number): void {
    // Streams of our own and unidirectional ones, for which there is no credit, are not the peer's.
    if ((id & 3) !== (this.#nextPeerStreamId & 3)) return;
    while (this.#nextPeerStreamId <= id) {
      const stream = this.#addStream(this.#nextPeerStreamId);
      this.#nextPeerStreamId += 4;
      if (this.#onStream === undefined) (this.#waiting ??= []).push(stream);
      else this.#onStream(stream);
    }
  }

  #addStream(id: number): QuicStream {
    const stream = new QuicStream(this, id);
    this.#streams.set(id, stream);
    return stream;
  }

  #write(native: NativeConnection, now: number): void {
    const force = now >= this.#heldBackUntil;
    let heldBack = false;
    for (const stream of [...this.#writers]) {
      const progress = stream.pumpWrite(native, now, force ? 'now' : 'batched');
      // Those that still wait go behind the others, so that none takes the whole window.
      this.#writers.delete(stream);
      if (progress !== 'done' && !stream.destroyed) this.#writers.add(stream);
      if (progress === 'early') heldBack = true;
    }
    if (!heldBack) this.#heldBackUntil = Infinity;
    else if (force || this.#heldBackUntil === Infinity) this.#heldBackUntil = now + HOLD_BACK_MS;
  }

  #flush(native: NativeConnection, now: number): void {
    const { slab } = this.#host;
    for (let count = 0; ; count++) {
      if (this.#host.congested) return;
      if (count >= MAX_PACKETS_PER_TURN) {
        this.#host.markDirty(this);
        return;
      }
      const room = this.#sendable(slab.room());
      const sent = room === undefined ? null : native.send(room);
      if (sent === null) return;
      const [length, info] = sent;
      if (length === 0) continue;
      this.#lastSentAt = now;
      this.#unheard += 1;
      this.#transmit(slab.take(length), info.to);
      if (this.#unheard > MAX_UNHEARD_PACKETS) {
        this.#abort(native, 'sent without end and heard nothing');
        return;
      }
    }
  }

  /** As much of `room` as may be sent at once; undefined: nothing, for now. */
  #sendable(room: Buffer): Buffer | undefined {
    const unproven = this.#unproven;
    // During the handshake quiche knows the limit, too.
    if (unproven === undefined || !this.#opened) return room;
    if (unproven.budgetBytes >= MIN_PACKET_BYTES) return room.subarray(0, unproven.budgetBytes);
    this.#host.withheld();
    return undefined;
  }

  #transmit(datagram: Buffer, to: HostPort): void {
    if (this.#firstFlight !== undefined && this.#firstFlight.length < MAX_FLIGHT) {
      this.#firstFlight.push(Buffer.from(datagram));
      if (this.role === 'dialer') this.#resendAt = this.#host.clock.now() + this.#resendMs;
    }
    this.#sendTo(datagram, to);
  }

  #sendTo(datagram: Uint8Array, to: HostPort): void {
    if (this.carrier !== undefined) {
      const pathClass = classOfAddress(to.host);
      if (pathClass !== undefined) this.carrier.send(datagram, pathClass);
      return;
    }
    const unproven = this.#unproven;
    if (unproven === undefined) this.#host.transmit(datagram, this.local, this.remote);
    else if (unproven.spend(datagram.length)) {
      // And nowhere else: what the peer has to prove the address by may be known only there.
      this.#host.transmit(datagram, this.local, unproven.address);
    } else this.#host.withheld();
  }

  get #resendMs(): number {
    return this.carrier === undefined ? PLAIN_RESEND_MS : CARRIED_RESEND_MS;
  }

  #arm(native: NativeConnection, now: number): void {
    // quiche counts whole milliseconds, rounded down: one more, or the timer would fire too early.
    let at = now + (native.timeout() ?? Infinity) + 1;
    at = Math.min(
      at,
      this.#handshakeEndsAt,
      this.#resendAt,
      this.#heldBackUntil,
      this.#proofEndsAt,
      this.#askedAt + this.#keepAliveAnswerMs,
    );
    if (this.#keepAliveMs !== undefined && this.#opened) {
      at = Math.min(at, this.#lastSentAt + this.#keepAliveMs);
    }
    if (this.#host.congested) at = Math.min(at, now + CONGESTED_MS);
    // A timer that is set for earlier does: it finds nothing to do and sets itself anew.
    if (at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#host.clock.setTimer(at - now, () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerAt = Infinity;
    const native = this.#native;
    if (native === undefined) return;
    const now = this.#host.clock.now();
    try {
      if (now >= this.#handshakeEndsAt) {
        this.#abort(native, 'the handshake took too long');
        return;
      }
      if (now >= this.#proofEndsAt) this.#lookElsewhere(native);
      native.onTimeout();
      this.#resendFirstFlight(now);
      this.#keepAlive(native, now);
    } catch (error) {
      this.#abort(native, `quiche failed: ${reasonOf(error)}`);
      return;
    }
    this.turn();
  }

  #keepAlive(native: NativeConnection, now: number): void {
    if (this.#keepAliveMs !== undefined && this.#opened) {
      if (now - this.#lastSentAt >= this.#keepAliveMs) {
        native.sendAckEliciting();
        this.#askedAt = Math.min(this.#askedAt, now);
      }
    }
    if (now < this.#askedAt + this.#keepAliveAnswerMs) return;
    // After a long stall of ours the answer may be here already, not yet read from the socket.
    setImmediate(() => {
      if (this.#native === undefined || this.#askedAt === Infinity) return;
      this.#abort(this.#native, 'a keep-alive was not answered');
    });
  }

  #resendFirstFlight(now: number): void {
    if (now < this.#resendAt) return;
    this.#resendAt = now + this.#resendMs;
    this.#repeatFirstFlight();
  }

  #repeatFirstFlight(): void {
    for (const datagram of this.#firstFlight ?? []) this.#sendTo(datagram, this.remote);
  }

  /**
   * A dialer that repeats its first Initial has not got our answer, which quiche would repeat only
   * after a second.
   */
  #hearAgain(id: string): void {
    if (!this.#opened && id === this.#firstId) this.#repeatFirstFlight();
  }

  /** Ends the connection for a reason of our own, and tells the peer if that is possible. */
  #abort(native: NativeConnection, reason: string): void {
    const farewell = this.#sayClose(native, false, INTERNAL_ERROR);
    const kind = this.#opened ? 'transport' : 'handshake';
    this.#finish({ kind, code: INTERNAL_ERROR, reason }, farewell);
  }

  /** Sends CONNECTION_CLOSE at once. @returns what was sent; undefined: nothing could be. */
  #sayClose(
    native: NativeConnection,
    app: boolean,
    code: number,
    reason = '',
  ): Farewell | undefined {
    try {
      native.close(app, code, Buffer.from(reason));
      const sent = native.send(this.#host.slab.room());
      if (sent === null) return undefined;
      const [length, { to }] = sent;
      const datagram = this.#host.slab.take(length);
      this.#sendTo(datagram, to);
      // A bystander could have an address that is not proven sent more than it may be.
      if (this.#unproven !== undefined || !this.#opened) return undefined;
      return { datagram: Uint8Array.from(datagram), send: (again) => this.#sendTo(again, to) };
    } catch {
      // It was broken to begin with; the peer learns by its idle timeout.
      return undefined;
    }
  }

  #finish(reason: CloseReason, farewell?: Farewell): void {
    if (this.#native === undefined) return;
    this.#native = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    const ids = this.#ids.release();
    if (this.#firstId !== undefined) this.#host.removeId(this.#firstId);
    this.#firstFlight = undefined;
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#writers.clear();
    this.#waiting = undefined;
    if (streams.length > 0) {
      // Not before readers had a turn to take what came with the end.
      setImmediate(() => endStreams(streams, reason));
    }
    this.#host.gone(this, this.#opened, ids, farewell);
    this.#resolveClosed(reason);
  }
}

function endStreams(streams: readonly QuicStream[], reason: CloseReason): void {
  for (const stream of streams) {
    stream.destroy(
      new ChattyError('CHATTY_TRANSPORT', `the connection ended: ${reason.reason || reason.kind}`),
    );
  }
}
