import type { Address } from '../base/address.ts';
import type { Random } from '../base/random.ts';

/** A check that may still be answered. */
export interface Transaction {
  readonly id: Uint8Array;
  readonly remote: Address;
  /** See `Path.local`. */
  readonly local: Address | undefined;
  readonly sentAt: number;
}

const ID_BYTES = 12;
/** Whoever copies a check to more ports than this is not remembered for each. */
const MAX_SOURCES = 4;

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

  open(remote: Address, local: Address | undefined, now: number): Transaction {
    const transaction = { id: this.#random.bytes(ID_BYTES), remote, local, sentAt: now };
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

/** Which of the friend's latest checks have been seen, and from where: a copy must do nothing. */
export class SeenChecks {
  readonly #capacity: number;
  readonly #sources = new Map<string, Set<string>>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** @returns whether the check is new, was seen from this address, or only from elsewhere. */
  add(id: Uint8Array, source: Address): 'first' | 'again' | 'elsewhere' {
    const key = keyOf(id);
    const address = `${source.host} ${source.port}`;
    const sources = this.#sources.get(key);
    if (sources?.has(address) === true) return 'again';
    if (sources === undefined) {
      this.#sources.set(key, new Set([address]));
      trim(this.#sources, this.#capacity);
      return 'first';
    }
    if (sources.size < MAX_SOURCES) sources.add(address);
    return 'elsewhere';
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
