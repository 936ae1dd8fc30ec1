import type { Address } from '../base/address.ts';
import type { CarriedPath } from './carried-path.ts';
import type { Farewell } from './farewells.ts';
import type { FirstFlight } from './first-flight.ts';
import type { Handshake } from './handshake.ts';
import type { KeepAlive } from './keep-alive.ts';
import type { HostPort, NativeConnection } from './native.ts';
import type { PeerAddress } from './peer-address.ts';
import type { Slab } from './slab.ts';

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
/** Less than this holds no packet worth sending. */
const MIN_PACKET_BYTES = 64;

/** What sending needs of the endpoint. */
export interface PacketSenderHost {
  readonly slab: Slab;
  /** Whether the network takes less than it is given just now. */
  readonly congested: boolean;
  /** Sends a datagram of a plain connection. */
  transmit(datagram: Uint8Array, local: Address, remote: Address): void;
  /** Counts a datagram that may not be sent yet. */
  withheld(): void;
}

/** Where one connection's datagrams go, and what takes note of them. */
interface PacketSenderParts {
  readonly local: Address;
  readonly peer: PeerAddress;
  /** Set for a carried connection, which `peer` then has no part in. */
  readonly carried: CarriedPath | undefined;
  readonly handshake: Handshake;
  readonly firstFlight: FirstFlight;
  readonly keepAlive: KeepAlive;
}

/** What is left after a `flush`: nothing for now, more for the next turn, or it would never end. */
type FlushOutcome = 'done' | 'more' | 'endless';

/**
 * Brings what quiche has to send for one connection on its way, within the limits of the peer's
 * address and of one turn of the event loop. Passes on what quiche throws, unless it says otherwise.
 */
export class PacketSender {
  readonly #host: PacketSenderHost;
  readonly #parts: PacketSenderParts;
  #unheard = 0;

  constructor(host: PacketSenderHost, parts: PacketSenderParts) {
    this.#host = host;
    this.#parts = parts;
  }

  /** Something came from the peer. */
  heard(): void {
    this.#unheard = 0;
  }

  /** Sends all that quiche has to send now. */
  flush(native: NativeConnection, now: number): FlushOutcome {
    const { slab } = this.#host;
    const { carried, firstFlight, keepAlive } = this.#parts;
    for (let count = 0; ; count++) {
      if (this.#host.congested) return 'done';
      if (count >= MAX_PACKETS_PER_TURN) return 'more';
      const room = this.#sendable(slab.room());
      if (room === undefined) return 'done';
      const sent = native.send(room) ?? carried?.sendLeft(native, room) ?? null;
      if (sent === null) return 'done';
      const [length, { to }] = sent;
      if (length === 0) continue;
      const datagram = slab.take(length);
      this.#unheard += 1;
      keepAlive.sent(now);
      firstFlight.sent(datagram, now);
      this.#sendTo(datagram, to);
      if (this.#unheard > MAX_UNHEARD_PACKETS) return 'endless';
    }
  }

  /** Sends datagrams of the first flight once more. */
  repeat(datagrams: readonly Uint8Array[]): void {
    const { carried, peer } = this.#parts;
    const to = carried?.remote ?? peer.address;
    for (const datagram of datagrams) this.#sendTo(datagram, to);
  }

  /**
   * Sends CONNECTION_CLOSE at once (RFC 9000 §10.2). Never throws.
   * @param app - Whether `code` is the application's; else it is the transport's.
   * @returns what may be sent once more; undefined: nothing.
   */
  sendClose(
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
      if (!this.#parts.peer.proven || !this.#parts.handshake.done) return undefined;
      return { datagram: Uint8Array.from(datagram), send: (again) => this.#sendTo(again, to) };
    } catch {
      // It was broken to begin with; the peer learns by its idle timeout.
      return undefined;
    }
  }

  /** As much of `room` as may be sent at once; undefined: nothing, for now. */
  #sendable(room: Buffer): Buffer | undefined {
    const { handshake, peer } = this.#parts;
    // During the handshake quiche knows the limit, too.
    if (peer.proven || !handshake.done) return room;
    if (peer.budgetBytes >= MIN_PACKET_BYTES) return room.subarray(0, peer.budgetBytes);
    this.#host.withheld();
    return undefined;
  }

  #sendTo(datagram: Uint8Array, to: HostPort): void {
    const { carried, peer, local } = this.#parts;
    if (carried !== undefined) {
      carried.send(datagram, to);
      return;
    }
    const remote = peer.spend(datagram.length);
    if (remote === undefined) this.#host.withheld();
    else this.#host.transmit(datagram, local, remote);
  }
}
