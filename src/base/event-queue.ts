/** How many events wait at most for a reader who does not come, beside those that must be kept. */
const MAX_WAITING = 4_096;

/**
 * Events for one reader, in order: pushed by a machine, taken with `for await`. A reader may break
 * off and come again: nothing is lost between. Where nobody reads, the oldest events are forgotten,
 * except those that must be kept, which whoever pushes them bounds.
 */
export class EventQueue<Event> implements AsyncIterable<Event> {
  readonly #mustKeep: (event: Event) => boolean;
  #waiting: Event[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  /** @param mustKeep which events are never forgotten; by default none. */
  constructor(mustKeep: (event: Event) => boolean = () => false) {
    this.#mustKeep = mustKeep;
  }

  push(event: Event): void {
    if (this.#closed) return;
    this.#waiting.push(event);
    // Seldom, so that an event costs the same however many wait.
    if (this.#waiting.length % MAX_WAITING === 0) this.#forget();
    this.#wake?.();
  }

  /** Ends the iteration once what is waiting has been taken. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Event> {
    for (;;) {
      while (this.#waiting.length > 0) yield this.#waiting.shift() as Event;
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  #forget(): void {
    const oldest = this.#waiting.length - MAX_WAITING / 2;
    this.#waiting = this.#waiting.filter((event, at) => at >= oldest || this.#mustKeep(event));
  }
}
