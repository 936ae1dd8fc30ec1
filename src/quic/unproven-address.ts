import type { Address } from '../base/address.ts';

/** What may be sent to an unproven address for each byte that came from it (RFC 9000 §8.1). */
const AMPLIFICATION = 3;

/**
 * An address that a client has not proven to receive at: where its first datagram came from, or
 * another than before, mostly because its NAT gave it a new one. It is answered there at once
 * (RFC 9000 §9.3), but within the amplification limit: somebody else can send, or repeat, datagrams
 * from an address of his choice.
 */
export class UnprovenAddress {
  readonly address: Address;
  #budgetBytes = 0;

  constructor(address: Address) {
    this.address = address;
  }

  received(bytes: number): void {
    this.#budgetBytes += AMPLIFICATION * bytes;
  }

  /** How many bytes may be sent there now. */
  get budgetBytes(): number {
    return this.#budgetBytes;
  }

  /** Whether so many bytes may be sent there now; if so, they count. */
  spend(bytes: number): boolean {
    if (bytes > this.#budgetBytes) return false;
    this.#budgetBytes -= bytes;
    return true;
  }
}
