/**
 * Where outgoing datagrams are built. They are given to the system at once, but the few that it
 * refuses for the moment stay queued by reference: so the space is used in rotation, and is much
 * larger than what may be queued.
 */
const SLAB_BYTES = 1024 * 1024;

export class Slab {
  readonly #bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly #datagramBytes: number;
  #at = 0;

  /** @param datagramBytes - The longest datagram. */
  constructor(datagramBytes: number) {
    this.#datagramBytes = datagramBytes;
  }

  /** Room for one datagram; the same until `take`. */
  room(): Buffer {
    return this.#bytes.subarray(this.#at, this.#at + this.#datagramBytes);
  }

  /** The first `length` bytes of `room()`, which then moves on. */
  take(length: number): Buffer {
    const datagram = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    if (this.#at + this.#datagramBytes > SLAB_BYTES) this.#at = 0;
    return datagram;
  }
}
