import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const KEPT_STDERR_CHARACTERS = 4_000;

type Event = Readonly<Record<string, unknown>>;

/** One of Chatty's own commands on a computer of the network. */
export class Program {
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  /** Set from the moment on at which it is expected to end. */
  ending = false;
  readonly #child: ChildProcess;
  #stderr = '';

  constructor(
    on: readonly [string, ...string[]],
    command: string,
    args: readonly string[],
    heard: (event: Event) => void,
  ) {
    const script = fileURLToPath(new URL(`../../bin/${command}`, import.meta.url));
    const [first, ...rest] = on;
    const child = spawn(first, [...rest, process.execPath, script, ...args]);
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => heard(JSON.parse(line) as Event));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR_CHARACTERS);
    });
    child.stdin.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: null, signal: null }));
    });
  }

  get stderr(): string {
    return this.#stderr;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  endInput(): void {
    this.#child.stdin?.end();
  }
}
