import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';

/** Of the text a program writes to stderr, this much is kept to explain its end. */
const KEPT_STDERR_CHARACTERS = 4_000;

export type Command = 'chatty' | 'chatty-loadbalancer' | 'chatty-rendezvous' | 'chatty-local';

/** The commands of this program; another version's are elsewhere. */
const OWN_COMMANDS = new URL('../../bin/', import.meta.url);

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One of Chatty's own commands as a child process that speaks JSON lines on stdout. */
export class ChildProgram {
  readonly command: Command;
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #events: AsyncIterableIterator<string>;
  #stderr = '';
  #ending: Ending | undefined;

  /**
   * @param env its environment; by default this process's.
   * @param commands the folder of the commands, ending in a slash.
   */
  constructor(
    command: Command,
    args: readonly string[],
    env: NodeJS.ProcessEnv = process.env,
    commands = OWN_COMMANDS,
  ) {
    this.command = command;
    const script = fileURLToPath(new URL(command, commands));
    this.#child = spawn(process.execPath, [script, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env,
    });
    this.#events = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR_CHARACTERS);
    });
    // A program that has ended no longer reads; its ending is reported by `ended`.
    this.#child.stdin.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        this.#ending = { code, signal };
        resolve(this.#ending);
      });
      this.#child.once('error', () => resolve({ code: null, signal: null }));
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** What it wrote to stderr lately. */
  get stderr(): string {
    return this.#stderr.trim();
  }

  /** Its events, one JSON object a line, until it ends; other lines are left out. One reader. */
  async *events(): AsyncGenerator<Record<string, unknown>> {
    for await (const line of this.#events) {
      const event = readEvent(line);
      if (event !== undefined) yield event;
    }
  }

  /**
   * The next event of this name; those before it are dropped.
   * @throws ChattyError CHATTY_PLATFORM if the program ends first, with what it wrote to stderr.
   */
  async event(name: string): Promise<Record<string, unknown>> {
    for (;;) {
      const next = (await this.#events.next()) as IteratorResult<string, undefined>;
      if (next.done === true) {
        await this.ended;
        throw new ChattyError('CHATTY_PLATFORM', `${this.command} ended early: ${this.stderr}`);
      }
      const event = readEvent(next.value);
      if (event?.['event'] === name) return event;
    }
  }

  write(input: string | Uint8Array): void {
    this.#child.stdin.write(input);
  }

  writeLine(line: string): void {
    this.write(`${line}\n`);
  }

  endInput(): void {
    this.#child.stdin.end();
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ending === undefined) this.#child.kill(signal);
  }

  /** Asks it to end, insists after `patienceMs`, and waits until it has. */
  async stop(clock: Clock, patienceMs: number): Promise<Ending> {
    this.signal('SIGTERM');
    const timer = clock.setTimer(patienceMs, () => this.signal('SIGKILL'));
    try {
      return await this.ended;
    } finally {
      timer.cancel();
    }
  }
}

function readEvent(line: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === 'object' && parsed !== null
      ? (parsed as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
