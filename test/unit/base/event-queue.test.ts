import { describe, expect, it } from 'vitest';
import { EventQueue } from '../../../src/base/event-queue.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function collect<T>(queue: EventQueue<T>): { seen: T[]; done: Promise<void> } {
  const seen: T[] = [];
  const done = (async () => {
    for await (const event of queue) seen.push(event);
  })();
  return { seen, done };
}

describe('an event queue', () => {
  it('gives what was pushed before and after the reader came, in order', async () => {
    const queue = new EventQueue<number>();
    queue.push(1);
    queue.push(2);
    const { seen, done } = collect(queue);
    await turn();
    expect(seen).toEqual([1, 2]);
    queue.push(3);
    await turn();
    queue.push(4);
    queue.push(5);
    queue.close();
    await done;
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  it('keeps the order when the reader pushes while it reads', async () => {
    const queue = new EventQueue<number>();
    queue.push(1);
    queue.push(2);
    const seen: number[] = [];
    for await (const event of queue) {
      seen.push(event);
      if (event === 1) queue.push(3);
      if (event === 3) queue.close();
    }
    expect(seen).toEqual([1, 2, 3]);
  });

  it('ends only after what was waiting has been taken, and takes nothing more', async () => {
    const queue = new EventQueue<number>();
    queue.push(1);
    queue.close();
    queue.push(2);
    queue.close();
    const { seen, done } = collect(queue);
    await done;
    expect(seen).toEqual([1]);
  });

  it('ends for a reader that waits', async () => {
    const queue = new EventQueue<number>();
    const { seen, done } = collect(queue);
    await turn();
    queue.close();
    await done;
    expect(seen).toEqual([]);
  });

  it('gives what is left to the next reader when one breaks off, wherever', async () => {
    const queue = new EventQueue<number>();
    for (const event of [1, 2, 3]) queue.push(event);
    for await (const event of queue) {
      expect(event).toBe(1);
      break;
    }
    queue.push(4);
    queue.close();
    const { seen, done } = collect(queue);
    await done;
    expect(seen).toEqual([2, 3, 4]);
  });

  it('forgets the oldest where nobody reads, but nothing that must be kept', async () => {
    const queue = new EventQueue<number>((event) => event % 10_000 === 0);
    for (let event = 0; event < 100_000; event++) queue.push(event);
    queue.close();
    const { seen, done } = collect(queue);
    await done;
    expect(seen.length).toBeLessThan(5_000);
    expect(seen.filter((event) => event % 10_000 === 0)).toHaveLength(10);
    expect(seen.at(-1)).toBe(99_999);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });
});
