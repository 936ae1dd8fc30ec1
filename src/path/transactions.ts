import type { Address } from '../base/address.ts';
import type { Random } from '../base/random.ts';

/** A check that may still be answered. */
export interface Transaction {
  readonly id: Uint8Array;
  readonly remote: Address;
  readonly sentAt: number;
}

const ID_BYTES = 12;

/**
 * Checks on their way. Every packet is a transaction of its own, so that an answer tells which
 * packet it answers, and counts once.
 */
export class Transactions {
  readonly #random: Random;
  readonly #capacity: number;
  readonly #byId = new Map<string, Transaction>();

  /** @param capacity beyond it the oldest is given up. */
  constructor(random: Random, capacity: number) {
    this.#random = random;
    this.#capacity = capacity;
  }

  open(remote: Address, now: number): Transaction {
    const transaction = { id: this.#random.bytes(ID_BYTES), remote, sentAt: now };
    this.#byId.set(keyOf(transaction.id), transaction);
    trim(this.#byId, this.#capacity);
    return transaction;
  }

  find(id: Uint8Array): Transaction | undefined {
    return this.#byId.get(keyOf(id));
  }

  close(transaction: Transaction): void {
    this.#byId.delete(keyOf(transaction.id));
  }

  clear(): void {
    this.#byId.clear();
  }
}

/** Which of the friend's latest checks have been seen, so that a copy of one does nothing. */
export class SeenChecks {
  readonly #capacity: number;
  readonly #ids = new Map<string, true>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** @returns whether it is the first of its id. */
  add(id: Uint8Array): boolean {
    const key = keyOf(id);
    if (this.#ids.has(key)) return false;
    this.#ids.set(key, true);
    trim(this.#ids, this.#capacity);
    return true;
  }
}

function keyOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1');
}

/** Forgets the oldest entries of a map beyond `capacity`. */
function trim(map: Map<string, unknown>, capacity: number): void {
  for (const key of map.keys()) {
    if (map.size <= capacity) return;
    map.delete(key);
  }
}
