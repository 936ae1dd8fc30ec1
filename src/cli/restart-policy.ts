import { backoffDelayMs } from '../base/backoff.ts';
import { ExitCode } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

/** A worker is worth waiting for at most so long; one that fails at once is not tried every moment. */
const BACKOFF = { initialMs: 250, maxMs: 30_000 } as const;
/** Who has run this long has recovered from whatever ended those before. */
const STEADY_MS = 60_000;

/** What is wrong with the settings does not get better by trying again. */
const HOPELESS: readonly (number | null)[] = [ExitCode.usage, ExitCode.config];

export type Verdict =
  | { readonly kind: 'restart'; readonly afterMs: number }
  /** Its first start failed over its settings: the supervisor ends with the same code. */
  | { readonly kind: 'give-up'; readonly code: number };

/** When a worker that has ended is started again. One for each worker. */
export class RestartPolicy {
  readonly #random: Random;
  #startedAt = 0;
  #wasReady = false;
  #failures = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  started(now: number): void {
    this.#startedAt = now;
  }

  /** It serves: its settings are good. */
  ready(): void {
    this.#wasReady = true;
  }

  /** It has ended, though nobody asked it to. @param code its exit code; null: by a signal. */
  ended(code: number | null, now: number): Verdict {
    if (code !== null && !this.#wasReady && HOPELESS.includes(code)) {
      return { kind: 'give-up', code };
    }
    this.#failures = now - this.#startedAt >= STEADY_MS ? 1 : this.#failures + 1;
    return {
      kind: 'restart',
      afterMs: backoffDelayMs(this.#failures, BACKOFF, this.#random),
    };
  }
}
