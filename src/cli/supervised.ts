import process from 'node:process';

/** What a supervisor says to its worker over the channel between them. */
export const ToWorker = { stop: 'stop' } as const;
/** What a worker says to its supervisor. */
export const FromWorker = { ready: 'ready' } as const;

/** The way to the supervisor, in a process that has one. */
export interface Supervision {
  /** Aborted when the worker is to stop. */
  readonly stop: AbortSignal;
  /** Aborted when the supervisor is gone: nobody waits for this process any more. */
  readonly gone: AbortSignal;
  /** Tells the supervisor that the worker serves. */
  ready(): void;
}

/** @returns undefined where this process was started without a channel to a supervisor. */
export function supervision(): Supervision | undefined {
  if (process.send === undefined) return undefined;
  const stop = new AbortController();
  const gone = new AbortController();
  const onGone = (): void => {
    gone.abort(new Error('the supervisor is gone'));
    stop.abort(gone.signal.reason);
  };
  process.once('disconnect', onGone);
  process.on('message', (message) => {
    if (message === ToWorker.stop) stop.abort(new Error('the supervisor stops'));
  });
  if (!process.connected) onGone();
  const ready = (): void => {
    if (process.connected) process.send?.(FromWorker.ready, undefined, {}, () => undefined);
  };
  return { stop: stop.signal, gone: gone.signal, ready };
}
