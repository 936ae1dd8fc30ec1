import { systemClock as clock } from '../../src/base/clock.ts';
import type { Person } from './person.ts';

const LINE = 'x'.repeat(1_000);
/** So many lines are on their way at a time: enough to fill any line of the laboratory's. */
const WINDOW_LINES = 200;
const NEWS_MS = 1_000;

/** Lines without end from one person to another, as fast as they arrive. */
export class Transfer {
  readonly #from: Person;
  readonly #to: Person;
  readonly #running: Promise<void>;
  #stopped = false;

  constructor(from: Person, to: Person) {
    this.#from = from;
    this.#to = to;
    this.#running = this.#run();
  }

  /** The longest time in which nothing arrived, of those that ended after `at` or go on. */
  longestStallMs(at: number): number {
    const arrivals = this.#to.events.flatMap(({ event, cameAt }) =>
      event === 'message' ? cameAt : [],
    );
    const times = [...arrivals, clock.now()];
    return Math.max(
      ...times.map((time, index) => (time < at ? 0 : time - (times[index - 1] ?? time))),
    );
  }

  /** What arrived after `at`, in bytes a second. */
  bytesPerSecond(at: number): number {
    const lines = this.#to.events.filter(
      ({ event, cameAt }) => event === 'message' && cameAt >= at,
    ).length;
    return (lines * LINE.length * 1_000) / (clock.now() - at);
  }

  /** Whether every line has come once, in its order. */
  get isWhole(): boolean {
    const ids = this.#to.events.filter(({ event }) => event === 'message').map(({ id }) => id);
    return ids.every((id, index) => id === index + 1);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const from = this.#from;
    let said = from.events.filter(({ event }) => event === 'sent').length;
    while (!this.#stopped && !from.hasEnded) {
      const delivered = Number(from.last(({ event }) => event === 'delivered')?.['id'] ?? 0);
      if (said - delivered >= WINDOW_LINES) await from.news(NEWS_MS);
      for (; said - delivered < WINDOW_LINES; said++) from.say(LINE);
    }
  }
}
