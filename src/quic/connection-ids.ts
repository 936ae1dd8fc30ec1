import type { Random } from '../base/random.ts';
import { idKey, OUR_ID_BYTES } from './datagram.ts';
import type { NativeConnection } from './native.ts';

const RESET_TOKEN_BYTES = 16;

export interface IdRegistry {
  readonly random: Random;
  add(id: string): void;
  remove(id: string): void;
}

/**
 * The connection IDs by which the peer can reach one connection. As many spare ones as it takes are
 * issued at all times, since every new path needs a fresh one (RFC 9000 §5.1.1).
 */
export class ConnectionIds {
  readonly #registry: IdRegistry;
  readonly #ids: string[];

  /** The ID that `native` was made with counts from now on. */
  constructor(native: NativeConnection, registry: IdRegistry) {
    this.#registry = registry;
    const first = idKey(native.sourceId());
    this.#ids = [first];
    registry.add(first);
  }

  /** Forgets the IDs that the peer has retired and replaces them. @throws what quiche throws. */
  refresh(native: NativeConnection): void {
    for (;;) {
      const retired = native.retiredScidNext();
      if (retired === null) break;
      const id = idKey(retired);
      const index = this.#ids.indexOf(id);
      if (index >= 0) this.#ids.splice(index, 1);
      this.#registry.remove(id);
    }
    for (let left = native.sourceCidsLeft(); left > 0; left--) {
      const id = this.#registry.random.bytes(OUR_ID_BYTES);
      // We never send stateless resets, yet the token must be one that nobody can guess.
      native.newSourceCid(id, toBigInt(this.#registry.random.bytes(RESET_TOKEN_BYTES)), false);
      this.#ids.push(idKey(id));
      this.#registry.add(idKey(id));
    }
  }

  /** The connection is over. */
  release(): void {
    for (const id of this.#ids) this.#registry.remove(id);
    this.#ids.length = 0;
  }
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}
