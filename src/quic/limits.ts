/** What an endpoint grants to others. Every one is a cap; what is over it is dropped silently. */
export interface QuicLimits {
  /** Accepted connections, handshakes included (default 50,000; one costs about 32 KiB). */
  readonly maxConnections: number;
  /** The same from one source prefix (`sourcePrefix`; default 4,000: a large shared NAT). */
  readonly maxConnectionsPerPrefix: number;
  /** Accepted connections whose handshake is not finished (default 2,000, two seconds of work). */
  readonly maxHandshakes: number;
  /** The same from one source prefix (default 500). */
  readonly maxHandshakesPerPrefix: number;
  /** Streams the peer may have open at once on one connection (default 128). */
  readonly maxStreams: number;
  /** Bytes the peer may send on one connection beyond what has been read (default 4 MiB). */
  readonly receiveWindowBytes: number;
}

export const DEFAULT_LIMITS: QuicLimits = {
  maxConnections: 50_000,
  maxConnectionsPerPrefix: 4_000,
  maxHandshakes: 2_000,
  maxHandshakesPerPrefix: 500,
  maxStreams: 128,
  receiveWindowBytes: 4 * 1024 * 1024,
};

/**
 * Counts accepted connections against the caps. A connection enters as a handshake, may settle once
 * and leaves once; the caller keeps to that order.
 */
export class Census {
  readonly #limits: QuicLimits;
  readonly #connections = new Map<string, number>();
  readonly #handshakes = new Map<string, number>();
  connections = 0;
  handshakes = 0;

  constructor(limits: QuicLimits) {
    this.#limits = limits;
  }

  /** Counts one more handshake from `prefix`, unless a cap forbids it. */
  enter(prefix: string): boolean {
    const limits = this.#limits;
    if (
      this.connections >= limits.maxConnections ||
      this.handshakes >= limits.maxHandshakes ||
      (this.#connections.get(prefix) ?? 0) >= limits.maxConnectionsPerPrefix ||
      (this.#handshakes.get(prefix) ?? 0) >= limits.maxHandshakesPerPrefix
    ) {
      return false;
    }
    this.connections += 1;
    this.handshakes += 1;
    add(this.#connections, prefix, 1);
    add(this.#handshakes, prefix, 1);
    return true;
  }

  /** A handshake from `prefix` is done. */
  settle(prefix: string): void {
    this.handshakes -= 1;
    add(this.#handshakes, prefix, -1);
  }

  /** A connection from `prefix` is gone. */
  leave(prefix: string, settled: boolean): void {
    if (!settled) this.settle(prefix);
    this.connections -= 1;
    add(this.#connections, prefix, -1);
  }
}

function add(counts: Map<string, number>, prefix: string, by: number): void {
  const count = (counts.get(prefix) ?? 0) + by;
  if (count === 0) counts.delete(prefix);
  else counts.set(prefix, count);
}
