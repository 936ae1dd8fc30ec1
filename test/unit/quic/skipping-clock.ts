import { type Clock, systemClock, type Timer } from '../../../src/base/clock.ts';

/** The system's clock, which can be set forward. */
export class SkippingClock implements Clock {
  #ahead = 0;
  readonly #timers = new Set<{ at: number; fire: () => void; timer: Timer }>();

  now(): number {
    return systemClock.now() + this.#ahead;
  }

  wallClock(): number {
    return systemClock.wallClock() + this.#ahead;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const run = (): void => {
      this.#timers.delete(entry);
      fire();
    };
    const entry = {
      at: this.now() + delayMs,
      fire: run,
      timer: systemClock.setTimer(delayMs, run),
    };
    this.#timers.add(entry);
    return {
      cancel: () => {
        this.#timers.delete(entry);
        entry.timer.cancel();
      },
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(delayMs, signal);
  }

  skip(ms: number): void {
    this.#ahead += ms;
    for (const entry of [...this.#timers]) {
      if (entry.at > this.now()) continue;
      entry.timer.cancel();
      entry.fire();
    }
  }
}
