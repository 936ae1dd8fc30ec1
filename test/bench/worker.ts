import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** No task takes so long, unless something is broken. */
const MAX_TASK_MS = 300_000;

/** Of a worker's requests, their arguments and their answers, by name. */
export type Tasks = Record<string, (argument: never) => unknown>;

type Argument<Task> = Task extends (argument: infer Value) => unknown ? Value : never;
type Answer<Task> = Task extends (...args: never[]) => infer Value ? Awaited<Value> : never;

/** A process of the bench that does one task at a time, as it is told over the channel. */
export class Worker<Of extends Tasks> implements AsyncDisposable {
  readonly #child: ChildProcess;

  /** @param script a module that calls `serveTasks`. */
  constructor(script: URL, args: readonly string[] = []) {
    this.#child = fork(script, args, { execArgv: ['--import', 'tsx', '--expose-gc'] });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Has the task done. @throws Error with what the worker threw, or if it ends or hangs. */
  async run<Name extends keyof Of & string>(
    name: Name,
    argument: Argument<Of[Name]>,
  ): Promise<Answer<Of[Name]>> {
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(MAX_TASK_MS)]);
    const answered = once(this.#child, 'message', { signal });
    const onExit = (): void => ended.abort(new Error(`a process ended during ${name}`));
    this.#child.once('exit', onExit);
    try {
      this.#child.send({ name, argument });
      const [{ answer, error }] = (await answered) as [{ answer?: unknown; error?: string }];
      if (error !== undefined) throw new Error(`${name}: ${error}`);
      return answer as Answer<Of[Name]>;
    } finally {
      this.#child.off('exit', onExit);
    }
  }

  /** Ends it without a word. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.kill();
    await gone;
  }
}

/** The other end: does what the parent asks, until the parent is gone. */
export function serveTasks(tasks: Tasks): void {
  process.on('disconnect', () => process.exit());
  process.on('message', ({ name, argument }: { name: string; argument: never }) => {
    void (async () => {
      try {
        process.send?.({ answer: await tasks[name]?.(argument) });
      } catch (error) {
        process.send?.({ error: error instanceof Error ? (error.stack ?? '') : String(error) });
      }
    })();
  });
}

/** What this process holds once its garbage is gone. Collecting it costs CPU. */
export function rssBytes(): number {
  for (let count = 0; count < 3; count++) globalThis.gc?.();
  return process.memoryUsage.rss();
}

/** CPU of all of this process's threads since it began. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export function percentile(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
