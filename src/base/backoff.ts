import type { Random } from './random.ts';

export interface BackoffOptions {
  /** The first delay. */
  readonly initialMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
  /** Each delay is this many times the one before (default 2). */
  readonly factor?: number;
}

/**
 * The delay before attempt `attempt` (the first retry is 1): exponential, then spread evenly over
 * the upper half, so that many that failed together do not come back together.
 */
export function backoffDelayMs(attempt: number, options: BackoffOptions, random: Random): number {
  const full = Math.min(
    options.maxMs,
    options.initialMs * (options.factor ?? 2) ** Math.max(0, attempt - 1),
  );
  return full * (0.5 + random.fraction() / 2);
}
