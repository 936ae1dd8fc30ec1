import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Clock } from '../base/clock.ts';
import { ExitCode } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type { Environment } from './program.ts';
import { RestartPolicy, type Verdict } from './restart-policy.ts';
import { FromWorker, ToWorker } from './supervised.ts';

/** A worker drains within 10 s and closes within another; who has not ended by then hangs. */
const STOP_WITHIN_MS = 15_000;

export interface SupervisorOptions {
  /** The program that every worker runs. */
  readonly script: string;
  /** The arguments of each worker. */
  readonly workers: readonly (readonly string[])[];
  readonly env: Environment;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Stops all of them. */
  readonly signal: AbortSignal;
}

/**
 * Runs workers as child processes that share nothing but this process's output, and starts anew
 * those that end. They are asked to stop over their channel, not by a signal: whoever signals the
 * whole group, as terminals do, has signalled them already, and a second signal means "at once".
 * The channel also ends them when this process is gone.
 * @returns the exit code.
 */
export async function supervise(options: SupervisorOptions): Promise<number> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const codes = await Promise.all(
    options.workers.map(async (args, worker) => {
      const code = await keepRunning({ ...options, signal }, args, worker);
      // One that cannot begin takes the others along; else this process is stopping already.
      stop.abort(new Error('a worker cannot begin'));
      return code;
    }),
  );
  return codes.find((code) => code !== ExitCode.done) ?? ExitCode.done;
}

/** @returns the exit code once the signal has aborted, or the worker cannot begin. */
async function keepRunning(
  options: SupervisorOptions,
  args: readonly string[],
  worker: number,
): Promise<number> {
  const { clock, random, logger, signal } = options;
  const policy = new RestartPolicy(random);
  const stopping = (): boolean => signal.aborted;
  while (!stopping()) {
    policy.started(clock.now());
    const child = startWorker(options, args);
    const fields = { worker, process: child.pid };
    logger.info('worker started', fields);
    child.on('message', (message) => {
      if (message === FromWorker.ready) policy.ready();
    });
    const [code, endedBy] = await ending(child, options);
    if (stopping()) break;
    const verdict: Verdict = policy.ended(code, clock.now());
    if (verdict.kind === 'give-up') {
      logger.error('worker cannot begin', { ...fields, code });
      return verdict.code;
    }
    const restartInMs = Math.round(verdict.afterMs);
    logger.warn('worker ended', { ...fields, code, signal: endedBy, restartInMs });
    await clock.sleep(verdict.afterMs, signal).catch(() => undefined);
  }
  return ExitCode.done;
}

function startWorker({ script, env }: SupervisorOptions, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, script, ...args], {
    // Its lines go out as they are: each is written at once, whole.
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...env },
  });
}

/** Waits for its end, which an abort of the signal asks for and, after a while, brings about. */
async function ending(
  child: ChildProcess,
  { clock, signal, logger }: SupervisorOptions,
): Promise<readonly [number | null, NodeJS.Signals | null]> {
  const patience = new AbortController();
  const onAbort = (): void => {
    child.send(ToWorker.stop, () => undefined);
    void clock
      .sleep(STOP_WITHIN_MS, patience.signal)
      .then(() => child.kill('SIGKILL'))
      .catch(() => undefined);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  } catch (error) {
    logger.error('worker could not be started', { reason: (error as Error).message });
    return [null, null];
  } finally {
    signal.removeEventListener('abort', onAbort);
    patience.abort();
  }
}
