import type { Clock, Timer } from './clock.ts';

/** One timer for whatever is due next: setting it takes back what was set before. */
export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #timer: Timer | undefined;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** Rings at `at`, in milliseconds of the clock, or at once if that is over; undefined, Infinity: never. */
  set(at: number | undefined): void {
    this.cancel();
    if (at === undefined || at === Infinity) return;
    this.#timer = this.#clock.setTimer(at - this.#clock.now(), () => {
      this.#timer = undefined;
      this.#ring();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
