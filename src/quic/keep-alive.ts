/**
 * When a connection has been silent for so long that something has to be sent, and when a peer that
 * does not answer it counts as dead. Times are those of the injected clock, in ms.
 */
export class KeepAlive {
  readonly #everyMs: number;
  readonly #answerMs: number;
  #sentAt: number;
  /** When the keep-alive was sent since which nothing has come. */
  #askedAt = Infinity;

  /**
   * @param everyMs - The longest that nothing is sent; undefined: for ever.
   * @param answerMs - The longest that nothing is heard after a keep-alive; undefined: for ever.
   */
  constructor(everyMs: number | undefined, answerMs: number | undefined, now: number) {
    this.#everyMs = everyMs ?? Infinity;
    this.#answerMs = answerMs ?? Infinity;
    this.#sentAt = now;
  }

  sent(now: number): void {
    this.#sentAt = now;
  }

  heard(): void {
    this.#askedAt = Infinity;
  }

  /** A keep-alive is sent. */
  asked(now: number): void {
    this.#askedAt = Math.min(this.#askedAt, now);
  }

  /** Whether nothing has come since the last keep-alive. */
  get isAwaited(): boolean {
    return this.#askedAt !== Infinity;
  }

  /** When the next keep-alive is to be sent. */
  get askAt(): number {
    return this.#sentAt + this.#everyMs;
  }

  /** When the answer is overdue; Infinity: none is. */
  get overdueAt(): number {
    return this.#askedAt + this.#answerMs;
  }
}
