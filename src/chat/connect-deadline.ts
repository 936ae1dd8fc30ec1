/** Without `--timeout`, how long the program looks for a first rendezvous server. */
const NO_SERVER_MS = 15_000;

/**
 * What ran out: no rendezvous server has answered, or one has but no friend came or no path to
 * them was found.
 */
export type Expired = 'no-server' | 'no-friend';

/**
 * Bounds the time from the start to the first `connected`: by the user's timeout, or else only the
 * search for a first server, by 15 s. Once a server has answered, losing every server ends nothing.
 * Pure.
 */
export class ConnectDeadline {
  readonly #timeoutAt: number | undefined;
  readonly #noServerAt: number;
  #answered = false;
  #over = false;

  /** @param timeoutMs the user's timeout; undefined: none. */
  constructor(startedAt: number, timeoutMs: number | undefined) {
    this.#timeoutAt = timeoutMs === undefined ? undefined : startedAt + timeoutMs;
    this.#noServerAt = this.#timeoutAt ?? startedAt + NO_SERVER_MS;
  }

  /** A rendezvous server has registered this peer. */
  serverAnswered(): void {
    this.#answered = true;
  }

  /** The friend is connected: nothing can run out any more. */
  connected(): void {
    this.#over = true;
  }

  /** When `expired` has to be asked; undefined: never. */
  nextDeadline(): number | undefined {
    if (this.#over) return undefined;
    return this.#answered ? this.#timeoutAt : this.#noServerAt;
  }

  /** What has run out by now, if anything. */
  expired(now: number): Expired | undefined {
    const at = this.nextDeadline();
    if (at === undefined || now < at) return undefined;
    return this.#answered ? 'no-friend' : 'no-server';
  }
}
