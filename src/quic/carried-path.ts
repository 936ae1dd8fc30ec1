import type { Address } from '../base/address.ts';
import { reasonOf } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { HostPort, NativeConnection } from './native.ts';
import { addressOfClass, CARRIED_LOCAL, classOfAddress } from './synthetic-address.ts';
import type { Carrier } from './types.ts';

/** So long after a move, what was under way before has arrived, or most likely never will. */
const SETTLED_MS = 300;

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
  /** Since it last stayed on one for a while. */
  readonly #left = new Set<PathClass>();
  #movedAt = -Infinity;

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
  advance(native: NativeConnection, now: number): void {
    this.#follow(native, now);
    this.#migrate(native, now);
    this.#probeLeft(native, now);
  }

  /** When `advance` has something to do, whatever comes; Infinity: never. */
  get advanceAt(): number {
    return this.#left.size === 0 ? Infinity : this.#movedAt + SETTLED_MS;
  }

  /** Sends a datagram to where quiche wants it. */
  send(datagram: Uint8Array, to: HostPort): void {
    const pathClass = classOfAddress(to.host);
    if (pathClass !== undefined) this.#carrier.send(datagram, pathClass);
  }

  /** The peer chose a path of another class. */
  #follow(native: NativeConnection, now: number): void {
    for (;;) {
      // The declaration promises an event; there is null when there are no more.
      const event = native.pathEventNext() as ReturnType<typeof native.pathEventNext> | null;
      if (event === null) return;
      if (event.type !== 'PeerMigrated') continue;
      this.#moveTo(classOfAddress(event.new.host), event.new, now);
    }
  }

  #migrate(native: NativeConnection, now: number): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    const address = addressOfClass(wanted);
    try {
      native.migrate(CARRIED_LOCAL, address);
    } catch (error) {
      // Spare connection IDs are on their way: tried again in the next turn.
      if (reasonOf(error) === 'OutOfIdentifiers') return;
      throw error;
    }
    this.#wanted = undefined;
    this.#used.add(wanted);
    this.#moveTo(wanted, address, now);
  }

  #moveTo(pathClass: PathClass | undefined, remote: Address, now: number): void {
    if (this.#pathClass !== undefined) this.#left.add(this.#pathClass);
    this.#pathClass = pathClass;
    this.#remote = remote;
    this.#movedAt = now;
  }

  /**
   * quiche finds out what was lost on a path by what is acknowledged of that path alone, so the end of
   * what was sent on one that is left, if lost, would never be sent again. It gets one more packet,
   * which the carrier brings to the peer on whatever path there is.
   */
  #probeLeft(native: NativeConnection, now: number): void {
    if (now < this.advanceAt) return;
    for (const pathClass of this.#left) {
      if (pathClass === this.#pathClass) continue;
      try {
        native.probePath(CARRIED_LOCAL, addressOfClass(pathClass));
      } catch {
        // quiche has given that path up, and with it what was sent there.
      }
    }
    this.#left.clear();
  }
}
