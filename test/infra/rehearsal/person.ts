import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { inside } from './namespaces.ts';
import type { Place } from './internet.ts';
import { Failure } from './report.ts';

type Event = Readonly<Record<string, unknown>> & { event: string };

/** Somebody at a place who pasted the operator's command; speaks through a pipe. */
export class Person {
  readonly name: string;
  readonly events: (Event & { heardAt: number })[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #now: () => number;
  #stderr = '';
  #wakers: (() => void)[] = [];
  #hasEnded = false;

  constructor(
    name: string,
    child: ChildProcessByStdio<Writable, Readable, Readable>,
    now: () => number,
  ) {
    this.name = name;
    this.#child = child;
    this.#now = now;
    child.stderr.on('data', (part: Buffer) => (this.#stderr += part.toString('utf8')));
    child.stdin.on('error', () => undefined);
    child.once('exit', () => {
      this.#hasEnded = true;
      this.#wake();
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.events.push({ ...(JSON.parse(line) as Event), heardAt: this.#now() });
      this.#wake();
    });
  }

  /** Pastes `command`, in which the first two names are put in the place of alice's and bob's. */
  static paste(
    command: string,
    names: readonly [own: string, friend: string],
    place: Place,
    state: string,
    now: () => number,
  ): Person {
    const named = command.replace(/ alice bob /, ` ${names[0]} ${names[1]} `);
    const [program, ...args] = inside(place.namespace);
    const child = spawn(program, [...args, 'sh', '-c', `exec ${named}`], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, CHATTY_STATE: state },
    });
    return new Person(names[0], child, now);
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** The first event of this kind from the `from`th on that is as wanted. */
  async until(
    kind: string,
    ms: number,
    wanted: (event: Event) => boolean = () => true,
    from = 0,
  ): Promise<Event & { heardAt: number }> {
    const late = AbortSignal.timeout(ms);
    const wake = (): void => this.#wake();
    late.addEventListener('abort', wake);
    try {
      for (;;) {
        const found = this.events.slice(from).find((one) => one.event === kind && wanted(one));
        if (found !== undefined) return found;
        if (late.aborted || this.#hasEnded) throw new Failure(this.#missed(kind, ms));
        await new Promise<void>((resolve) => this.#wakers.push(resolve));
      }
    } finally {
      late.removeEventListener('abort', wake);
    }
  }

  hears(text: string, ms: number): Promise<Event & { heardAt: number }> {
    return this.until('message', ms, (event) => event['text'] === text);
  }

  get heard(): string[] {
    return this.events
      .filter(({ event }) => event === 'message')
      .map((event) => String(event['text']));
  }

  count(kind: string): number {
    return this.events.filter(({ event }) => event === kind).length;
  }

  /** Says no more, and waits for the end. */
  async leave(): Promise<void> {
    if (this.#hasEnded) return;
    this.#child.kill('SIGINT');
    await new Promise<void>((resolve) => {
      this.#wakers.push(resolve);
      if (this.#hasEnded) resolve();
    });
  }

  #missed(kind: string, ms: number): string {
    const told = this.events.slice(-8).map((event) => JSON.stringify(event));
    const how = this.#hasEnded ? 'ended' : `waited ${ms / 1000} s`;
    return [
      `${this.name} ${how} and there was no "${kind}"; the last that came:`,
      ...told,
      this.#stderr,
    ].join('\n');
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }
}
