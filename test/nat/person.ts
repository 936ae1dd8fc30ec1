import { join } from 'node:path';
import { systemClock as clock } from '../../src/base/clock.ts';
import { Program } from '../chaos/program.ts';
import type { Cluster } from './cluster.ts';

const LEAVE_MS = 3_000;

/** What `chatty --json` tells, and when it came, on the laboratory's clock. */
export type Said = Readonly<Record<string, unknown>> & {
  readonly event: string;
  /** Since the program started. */
  readonly at: number;
  readonly cameAt: number;
};

interface PersonPlan {
  readonly name: string;
  readonly friend: string;
  /** What a command line begins with that is to run on their computer. */
  readonly on: readonly [string, ...string[]];
  readonly cluster: Cluster;
  /** Which of the balancers they know. */
  readonly balancer: number;
  readonly args?: readonly string[];
}

/** Somebody at `chatty --json` on a computer of the laboratory, whose input stays open. */
export class Person {
  readonly events: Said[] = [];
  readonly #program: Program;
  #wakers: (() => void)[] = [];
  #ended = false;

  constructor({ name, friend, on, cluster, balancer, args = [] }: PersonPlan) {
    this.#program = new Program(
      on,
      'chatty',
      [
        ...[name, friend, '--json', '--lb', cluster.loadBalancers[balancer] ?? ''],
        ...['--ca', cluster.caFile, '--state', join(cluster.directory, 'state', name), ...args],
      ],
      (event) => {
        this.events.push({ ...event, cameAt: clock.now() } as Said);
        this.#wake();
      },
    );
    this.#program.ending = true;
    void this.#program.ended.then(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Of stderr, the end. */
  get complaints(): string {
    return this.#program.stderr.trim();
  }

  first(event: string, wanted: (said: Said) => boolean = () => true): Said | undefined {
    return this.events.find((said) => said.event === event && wanted(said));
  }

  last(wanted: (said: Said) => boolean): Said | undefined {
    return this.events.findLast(wanted);
  }

  /** The path in use as told last. */
  get path(): Said | undefined {
    return this.last(({ event }) => event === 'connected' || event === 'path');
  }

  /** Waits until this is so of what was told; false if it is not by then, or the program ends. */
  async until(isSo: () => boolean, withinMs: number): Promise<boolean> {
    const giveUpAt = clock.now() + withinMs;
    while (!isSo()) {
      if (clock.now() >= giveUpAt || this.#ended) return isSo();
      await this.news(giveUpAt - clock.now());
    }
    return true;
  }

  /** Waits until it tells something or ends, or the time is over. */
  async news(withinMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(withinMs, resolve);
      this.#wakers.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  say(line: string): void {
    this.#program.say(line);
  }

  /** Does nothing for a while, as a program does on a busy computer. */
  pause(): void {
    this.#program.signal('SIGSTOP');
  }

  goOn(): void {
    this.#program.signal('SIGCONT');
  }

  /** As Ctrl-C would. */
  async leave(): Promise<void> {
    this.goOn();
    this.#program.signal('SIGINT');
    const timer = clock.setTimer(LEAVE_MS, () => this.#program.signal('SIGKILL'));
    await this.#program.ended;
    timer.cancel();
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }
}
