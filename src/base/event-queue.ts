/**
 * Events for one reader, in order: pushed by a machine, taken with `for await`. Whoever pushes bounds
 * what can be waiting.
 */
export class EventQueue<Event> implements AsyncIterable<Event> {
  #waiting: Event[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  push(event: Event): void {
    if (this.#closed) return;
    this.#waiting.push(event);
    this.#wake?.();
  }

  /** Ends the iteration once what is waiting has been taken. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Event> {
    for (;;) {
      const events = this.#waiting;
      this.#waiting = [];
      yield* events;
      if (this.#waiting.length > 0) continue;
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
