import type { Random } from '../base/random.ts';
import { idKey, OUR_ID_BYTES } from './datagram.ts';
import type { NativeConnection } from './native.ts';

const RESET_TOKEN_BYTES = 16;
/** The most IDs of ours that a peer is made to remember, whatever it offers. */
const MAX_PEER_LIMIT = 16;

export interface IdRegistry {
  readonly random: Random;
  add(id: string): void;
  remove(id: string): void;
}

/** The connection IDs by which the peer can reach one connection. All methods pass on throws. */
export class ConnectionIds {
  readonly #registry: IdRegistry;
  readonly #spare: boolean;
  readonly #ids: string[];
  #original: string | undefined;
  /** While the peer is being made to prove its address: IDs to be retired, and new ones. */
  #proof:
    | { readonly stale: Set<string>; readonly fresh: Set<string>; readonly limit: number }
    | undefined;

  /**
   * The ID that `native` was made with counts from now on.
   * @param spare - Whether the peer gets as many spare ones as it takes, which it needs for every
   * path that it opens (RFC 9000 §5.1.1).
   * @param original - The ID of a client's own choice, by which it reaches us until the handshake is
   * done (RFC 9000 §7.2).
   */
  constructor(
    native: NativeConnection,
    spare: boolean,
    original: string | undefined,
    registry: IdRegistry,
  ) {
    this.#registry = registry;
    this.#spare = spare;
    this.#original = original;
    const first = idKey(native.sourceId());
    this.#ids = [first];
    registry.add(first);
    if (original !== undefined) registry.add(original);
  }

  /** Whether `id` is the one that the client chose, and the handshake is not done. */
  isOriginal(id: string): boolean {
    return id === this.#original;
  }

  /** The handshake is done: the peer has an ID of ours. */
  dropOriginal(): void {
    if (this.#original !== undefined) this.#registry.remove(this.#original);
    this.#original = undefined;
  }

  /** Forgets the IDs that the peer has retired, and issues those that are wanted. */
  refresh(native: NativeConnection): void {
    for (;;) {
      const retired = native.retiredScidNext();
      if (retired === null) break;
      this.#forget(idKey(retired));
    }
    if (this.#spare) {
      for (let left = native.sourceCidsLeft(); left > 0; left--) this.#issue(native);
    }
    this.#advanceProof(native);
  }

  /**
   * Makes the peer change to an ID that it can know only from what is sent from now on: every ID it
   * has is retired in favour of a fresh one (RFC 9000 §5.1.2).
   */
  demandProof(native: NativeConnection): void {
    const limit = Math.min(native.stats().peerActiveConnIdLimit, MAX_PEER_LIMIT);
    this.#proof = { stale: new Set(this.#ids), fresh: new Set(), limit };
    this.#advanceProof(native);
  }

  /** Whether `id`, by which the peer reached us, was sent only since `demandProof`. */
  isProof(id: string): boolean {
    return this.#proof?.fresh.has(id) ?? false;
  }

  /** The proof was given, or is wanted no more. */
  endProof(): void {
    this.#proof = undefined;
  }

  /** The connection is over. @returns the IDs of ours that led to it. */
  release(): readonly string[] {
    for (const id of this.#ids) this.#registry.remove(id);
    this.dropOriginal();
    return this.#ids;
  }

  /**
   * quiche retires the lowest ID whenever one is issued beyond the peer's limit, and can have only
   * a few waiting for the peer to comply: one at a time. The peer uses the lowest that is left.
   */
  #advanceProof(native: NativeConnection): void {
    const proof = this.#proof;
    if (proof === undefined || proof.stale.size === 0) return;
    while (native.activeSourceCids() <= proof.limit) proof.fresh.add(this.#issue(native));
  }

  #issue(native: NativeConnection): string {
    const id = this.#registry.random.bytes(OUR_ID_BYTES);
    // We never send stateless resets, yet the token must be one that nobody can guess.
    const token = toBigInt(this.#registry.random.bytes(RESET_TOKEN_BYTES));
    native.newSourceCid(id, token, true);
    const key = idKey(id);
    this.#ids.push(key);
    this.#registry.add(key);
    return key;
  }

  #forget(id: string): void {
    const index = this.#ids.indexOf(id);
    if (index >= 0) this.#ids.splice(index, 1);
    this.#proof?.stale.delete(id);
    this.#registry.remove(id);
  }
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}
