/** The last datagram of a connection that we ended, and what it takes to send it once more. */
export interface Farewell {
  readonly datagram: Uint8Array;
  send(datagram: Uint8Array): void;
}

/** Connections remembered; the oldest make room. At 100 to 200 bytes each. */
const MAX_REMEMBERED = 1024;
/** How often one connection's farewell is repeated. */
const MAX_REPEATS = 3;

/**
 * Answers peers that still send because the CONNECTION_CLOSE was lost on its way (RFC 9000 §10.2.1):
 * without it they would notice only by their idle timeout. The connection itself is forgotten by
 * then; all that is kept is the datagram that ended it.
 */
export class Farewells {
  readonly #byId = new Map<string, { readonly farewell: Farewell; left: number }>();

  remember(ids: readonly string[], farewell: Farewell): void {
    const entry = { farewell, left: MAX_REPEATS };
    for (const id of ids) this.#byId.set(id, entry);
    for (const id of this.#byId.keys()) {
      if (this.#byId.size <= MAX_REMEMBERED) break;
      this.#byId.delete(id);
    }
  }

  /** A datagram came for `id`. @returns whether that is a connection we ended. */
  answer(id: string): boolean {
    const entry = this.#byId.get(id);
    if (entry === undefined) return false;
    if (entry.left > 0) {
      entry.left -= 1;
      entry.farewell.send(entry.farewell.datagram);
    }
    return true;
  }
}
