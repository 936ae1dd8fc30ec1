import type { Clock, Timer } from '../base/clock.ts';

/**
 * One lazy timer for all the deadlines of a connection. Deadlines mostly move away: a timer that is
 * set for an earlier one stays, and its owner, finding nothing to do, sets it anew.
 */
export class DeadlineTimer {
  readonly #clock: Clock;
  readonly #fire: () => void;
  #timer: Timer | undefined;
  #at = Infinity;

  constructor(clock: Clock, fire: () => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  /** Calls `fire` at `at` or before; Infinity: need not. */
  set(at: number, now: number): void {
    if (at >= this.#at) return;
    this.#timer?.cancel();
    this.#at = at;
    this.#timer = this.#clock.setTimer(at - now, () => {
      this.#timer = undefined;
      this.#at = Infinity;
      this.#fire();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
