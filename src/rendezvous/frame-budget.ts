/** How many frames a peer may send at once: a hello, every wish it can have, and some changes. */
const BURST = 320;
/** How many it gets back every second. */
const PER_SECOND = 8;

/**
 * What one peer may cost: a frame takes one from the budget, and each can change a record on every
 * server. (A token bucket.)
 */
export class FrameBudget {
  #left = BURST;
  #at: number;

  constructor(now: number) {
    this.#at = now;
  }

  /** Takes one. @returns false when there is none left. */
  take(now: number): boolean {
    this.#left = Math.min(BURST, this.#left + ((now - this.#at) / 1000) * PER_SECOND);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
