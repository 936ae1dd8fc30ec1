/** A timer that has been set; `cancel` is idempotent and a no-op after it fired. */
export interface Timer {
  cancel(): void;
}

/**
 * Where every part of Chatty gets its time from, so that tests and simulations can run under a
 * virtual one.
 */
export interface Clock {
  /** Milliseconds on a monotonic clock with an arbitrary origin; may be fractional. */
  now(): number;
  /** Milliseconds since 1970-01-01 UTC by the computer's calendar, which may jump. */
  wallClock(): number;
  /** Calls `fire` once, `delayMs` (clamped to 0) from now. The timer keeps the process alive. */
  setTimer(delayMs: number, fire: () => void): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when `signal` aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** The longest delay `setTimeout` keeps; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

class SystemClock implements Clock {
  now(): number {
    return performance.now();
  }

  wallClock(): number {
    return Date.now();
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const handle = setTimeout(fire, Math.min(Math.max(0, delayMs), MAX_DELAY_MS));
    return {
      cancel: () => {
        clearTimeout(handle);
      },
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }
}

/** `Clock.sleep` in terms of `Clock.setTimer`, for every clock. */
export function sleepOn(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The computer's own clock. */
export const systemClock: Clock = new SystemClock();
