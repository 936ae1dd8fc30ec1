import type { Clock, Timer } from '../base/clock.ts';

/**
 * Tries candidates in order until one succeeds: the next begins when one fails, or `staggerMs` after
 * the one before it began, so that a silent one costs little (as RFC 8305 does for addresses). When
 * one succeeds the others are aborted.
 * @throws AggregateError with every candidate's error, in their order.
 */
export function firstSuccess<Candidate, Result>(
  candidates: readonly Candidate[],
  attempt: (candidate: Candidate, signal: AbortSignal) => Promise<Result>,
  options: { readonly staggerMs: number; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Result> {
  const stopped = new AbortController();
  const signal = AbortSignal.any([options.signal, stopped.signal]);
  return new Promise((resolve, reject) => {
    const errors: unknown[] = [];
    let begun = 0;
    let failed = 0;
    let timer: Timer | undefined;
    let over = false;
    const end = (settle: () => void): void => {
      over = true;
      timer?.cancel();
      stopped.abort(new Error('another address answered first'));
      settle();
    };
    const begin = (): void => {
      timer?.cancel();
      const index = begun;
      const candidate = candidates[index];
      if (over || candidate === undefined) return;
      begun += 1;
      timer = options.clock.setTimer(options.staggerMs, begin);
      attempt(candidate, signal).then(
        (result) => {
          if (!over) end(() => resolve(result));
        },
        (error: unknown) => {
          errors[index] = error;
          failed += 1;
          if (over) return;
          if (failed === candidates.length) end(() => reject(new AggregateError(errors)));
          else begin();
        },
      );
    };
    if (candidates.length === 0) end(() => reject(new AggregateError([])));
    else begin();
  });
}
