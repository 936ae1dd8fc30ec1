import type { Address } from '../base/address.ts';
import { reasonOf } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { HostPort, NativeConnection } from './native.ts';
import { addressOfClass, CARRIED_LOCAL, classOfAddress } from './synthetic-address.ts';
import type { Carrier } from './types.ts';

/**
 * The class of path that a carried connection is on. Its dialer moves it (connection migration,
 * RFC 9000 §9), its acceptor follows.
 */
export class CarriedPath {
  readonly #carrier: Carrier;
  #pathClass: PathClass | undefined;
  /** The synthetic address of that class. */
  #remote: Address;
  #wanted: PathClass | undefined;
  readonly #used = new Set<PathClass>();

  constructor(carrier: Carrier, pathClass: PathClass) {
    this.#carrier = carrier;
    this.#pathClass = pathClass;
    this.#remote = addressOfClass(pathClass);
    this.#used.add(pathClass);
  }

  /** What it lies on by now. */
  get carrier(): Carrier {
    return this.#carrier.successor ?? this.#carrier;
  }

  get pathClass(): PathClass | undefined {
    return this.#pathClass;
  }

  get remote(): Address {
    return this.#remote;
  }

  /**
   * What quiche is told that a datagram comes from, which came over a path of `pathClass`. During the
   * handshake, which may run over several paths at once, and to a dialer, who alone says which class
   * is used, a class that is not in use yet means nothing: quiche would drop what comes from there.
   */
  sourceOf(pathClass: PathClass, established: boolean, role: 'dialer' | 'acceptor'): Address {
    const counts = established && (role === 'acceptor' || this.#used.has(pathClass));
    return counts ? addressOfClass(pathClass) : this.#remote;
  }

  /** The connection shall move to `pathClass`, which `advance` does as soon as it can. */
  select(pathClass: PathClass): void {
    this.#wanted = pathClass;
  }

  /** Follows the peer, and moves where that is wanted. Passes on what quiche throws. */
  advance(native: NativeConnection): void {
    this.#follow(native);
    this.#migrate(native);
  }

  /** Sends a datagram to where quiche wants it. */
  send(datagram: Uint8Array, to: HostPort): void {
    const pathClass = classOfAddress(to.host);
    if (pathClass !== undefined) this.#carrier.send(datagram, pathClass);
  }

  /**
   * What quiche has to send on paths that were left, as something to send on the one in use: questions
   * whether what was sent there before came through. It takes packets for lost only when a later one of
   * the same path is acknowledged, and never asks on a path that is not in use: without this, all that
   * was on its way when a path died would be waited for, and nothing sent, for ever.
   * @returns null: nothing.
   */
  sendLeft(native: NativeConnection, room: Uint8Array): [number, { to: HostPort }] | null {
    for (const pathClass of this.#used) {
      if (pathClass === this.#pathClass) continue;
      try {
        const sent = native.sendOnPath(room, CARRIED_LOCAL, addressOfClass(pathClass));
        if (sent !== null) return [sent[0], { to: this.#remote }];
      } catch {
        // The peer has taken back the connection ID for it: nothing can be asked there.
      }
    }
    return null;
  }

  /** The peer chose a path of another class. */
  #follow(native: NativeConnection): void {
    for (;;) {
      // The declaration promises an event; there is null when there are no more.
      const event = native.pathEventNext() as ReturnType<typeof native.pathEventNext> | null;
      if (event === null) return;
      if (event.type !== 'PeerMigrated') continue;
      this.#remote = event.new;
      this.#pathClass = classOfAddress(event.new.host);
      if (this.#pathClass !== undefined) this.#used.add(this.#pathClass);
    }
  }

  #migrate(native: NativeConnection): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    const address = addressOfClass(wanted);
    try {
      // On the path that is left: see `sendLeft`.
      if (this.#pathClass !== wanted) native.sendAckEliciting();
      native.migrate(CARRIED_LOCAL, address);
    } catch (error) {
      // Spare connection IDs are on their way: tried again in the next turn.
      if (reasonOf(error) === 'OutOfIdentifiers') return;
      throw error;
    }
    this.#wanted = undefined;
    this.#pathClass = wanted;
    this.#used.add(wanted);
    this.#remote = address;
  }
}
