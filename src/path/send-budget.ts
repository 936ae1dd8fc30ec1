/** The gap between two checks that nothing but our own schedule asks for (Ta, RFC 8445 §14.2). */
const PACING_MS = 5;
/** A late timer may be made up for by so many checks at once. */
const MAX_CATCH_UP = 3;
/** Three rounds of nine checks to sixteen candidates, at once; after that, a trickle. */
const BURST = 3 * 9 * 16;
const REFILL_INTERVAL_MS = 200;

/**
 * How many checks may go to addresses that have not answered, and how fast: whatever a friend or a
 * server names, in whatever order, the packets it can make us send are bounded.
 */
export class SendBudget {
  #tokens = BURST;
  #countedAt: number;
  #nextPacedAt: number;

  constructor(now: number) {
    this.#countedAt = now;
    this.#nextPacedAt = now;
  }

  /** From when on a check may go; one that is `paced` keeps its distance from the one before. */
  availableAt(paced: boolean): number {
    const fundedAt = this.#tokens >= 1 ? -Infinity : this.#countedAt + REFILL_INTERVAL_MS;
    return paced ? Math.max(this.#nextPacedAt, fundedAt) : fundedAt;
  }

  /** A check goes at `now`, which is not before it may. */
  spend(now: number, paced: boolean): void {
    const refilled = Math.floor((now - this.#countedAt) / REFILL_INTERVAL_MS);
    this.#tokens = Math.min(BURST, this.#tokens + refilled) - 1;
    this.#countedAt += refilled * REFILL_INTERVAL_MS;
    if (!paced) return;
    const behind = now - MAX_CATCH_UP * PACING_MS;
    this.#nextPacedAt = Math.max(this.#nextPacedAt, behind) + PACING_MS;
  }
}
