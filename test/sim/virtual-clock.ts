import { type Clock, sleepOn, type Timer } from '../../src/base/clock.ts';

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
  cancelled: boolean;
}

/** A clock that stands still until it is told to go on; timers of one instant fire as they were set. */
export class VirtualClock implements Clock {
  readonly #startedAt: number;
  /** A binary heap: the earliest first. */
  readonly #heap: Pending[] = [];
  #now = 0;
  #count = 0;

  /** @param startedAt what the calendar shows at the start, in milliseconds since 1970 */
  constructor(startedAt = Date.UTC(2030, 0, 1)) {
    this.#startedAt = startedAt;
  }

  now(): number {
    return this.#now;
  }

  wallClock(): number {
    return this.#startedAt + this.#now;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const at = this.#now + Math.max(0, delayMs);
    const pending = { at, order: this.#count++, fire, cancelled: false };
    this.#push(pending);
    return {
      cancel: () => {
        pending.cancelled = true;
      },
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  /** When the next timer fires; undefined where none is set. */
  get nextAt(): number | undefined {
    while (this.#heap[0]?.cancelled === true) this.#pop();
    return this.#heap[0]?.at;
  }

  /** Goes on to the next timer and fires it. @returns false where there is none. */
  fireNext(): boolean {
    if (this.nextAt === undefined) return false;
    const next = this.#pop();
    if (next === undefined) return false;
    this.#now = next.at;
    next.fire();
    return true;
  }

  /** Goes on to the instant `at`, firing everything up to and at it. */
  runUntil(at: number): void {
    for (let next = this.nextAt; next !== undefined && next <= at; next = this.nextAt) {
      this.fireNext();
    }
    this.#now = Math.max(this.#now, at);
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || other === undefined) return false;
    return one.at < other.at || (one.at === other.at && one.order < other.order);
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || other === undefined) return;
    this.#heap[a] = other;
    this.#heap[b] = one;
  }

  #push(pending: Pending): void {
    let index = this.#heap.push(pending) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(index, parent)) return;
      this.#swap(index, parent);
      index = parent;
    }
  }

  #pop(): Pending | undefined {
    const [first] = this.#heap;
    const last = this.#heap.pop();
    if (last === undefined || last === first) return first;
    this.#heap[0] = last;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const child = this.#before(left + 1, left) ? left + 1 : left;
      if (!this.#before(child, index)) return first;
      this.#swap(index, child);
      index = child;
    }
  }
}
