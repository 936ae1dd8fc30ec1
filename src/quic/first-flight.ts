/**
 * How long a dialer's first flight waits for anything to be heard until it is repeated, at first and
 * at most, by ever twice as long; quiche alone: 1 s. What is carried begins on paths that are only
 * about to stand, like a relay on which the friend is not yet known: that takes milliseconds.
 */
const CARRIED_REPEAT_MS = { first: 25, most: 100 };
const PLAIN_REPEAT_MS = { first: 250, most: 250 };
const NEVER = { first: Infinity, most: Infinity };
/** The datagrams of a first flight, three at most (RFC 9000 §8.1). */
const MAX_DATAGRAMS = 3;

/**
 * The datagrams with which one side of a handshake begins, kept to be sent once more. A dialer
 * repeats them by the clock until it hears anything; an acceptor, whose limit is what came in,
 * whenever the dialer's come again.
 */
export class FirstFlight {
  readonly #mostMs: number;
  #repeatMs: number;
  #datagrams: Buffer[] | undefined = [];
  #repeatAt = Infinity;

  constructor(role: 'dialer' | 'acceptor', carried: boolean) {
    const dialerMs = carried ? CARRIED_REPEAT_MS : PLAIN_REPEAT_MS;
    const { first, most } = role === 'dialer' ? dialerMs : NEVER;
    this.#repeatMs = first;
    this.#mostMs = most;
  }

  /** A datagram is sent: it is copied, if it belongs to the flight. */
  sent(datagram: Uint8Array, now: number): void {
    if (this.#datagrams === undefined || this.#datagrams.length >= MAX_DATAGRAMS) return;
    this.#datagrams.push(Buffer.from(datagram));
    this.#repeatAt = now + this.#repeatMs;
  }

  get datagrams(): readonly Uint8Array[] {
    return this.#datagrams ?? [];
  }

  /** When `due` has something to repeat; Infinity: never. */
  get repeatAt(): number {
    return this.#repeatAt;
  }

  /** What is to be repeated by now; it counts as repeated. */
  due(now: number): readonly Uint8Array[] {
    if (now < this.#repeatAt) return [];
    this.#repeatMs = Math.min(2 * this.#repeatMs, this.#mostMs);
    this.#repeatAt = now + this.#repeatMs;
    return this.datagrams;
  }

  /** It has arrived, or is wanted no more. */
  end(): void {
    this.#datagrams = undefined;
    this.#repeatAt = Infinity;
  }
}
