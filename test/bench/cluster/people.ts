import { systemClock } from '../../../src/base/clock.ts';
import { Chatty } from '../../../src/index.ts';
import { serveTasks } from '../worker.ts';

/** The process of many people, each a whole instance of the library who waits for a friend. */
const LISTEN = [{ host: '127.0.0.1', port: 0 }];
const AT_ONCE = 16;
const REGISTRATIONS = 2;

class Waiting {
  readonly #servers: string[] = [];
  #wake: () => void = () => undefined;

  constructor(me: Chatty) {
    void this.#follow(me);
  }

  /** On which servers it has waited, in order. */
  get servers(): readonly string[] {
    return this.#servers;
  }

  /** Resolves when it has registered so many times in all. */
  async registered(times: number): Promise<void> {
    while (this.#servers.length < times) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async #follow(me: Chatty): Promise<void> {
    for await (const event of me.events) {
      if (event.type !== 'registered') continue;
      this.#servers.push(event.server);
      this.#wake();
    }
  }
}

const people: Waiting[] = [];
let again: Promise<readonly number[]> = Promise.resolve([]);

const tasks = {
  /** So many come up, evenly over `withinMs`, and wait on two servers each. */
  open: async (work: {
    count: number;
    withinMs: number;
    loadBalancers: readonly string[];
  }): Promise<void> => {
    const { loadBalancers } = work;
    const startedAt = performance.now();
    const some = async (): Promise<void> => {
      while (people.length < work.count) {
        const place = people.length;
        people.length += 1;
        const name = `waiting-${place}`;
        const due = startedAt + (place * work.withinMs) / work.count;
        await systemClock.sleep(due - performance.now());
        const me = await Chatty.open({ name, loadBalancers, listen: LISTEN });
        me.connect(`friend of ${name}`);
        const waiting = new Waiting(me);
        people[place] = waiting;
        await waiting.registered(REGISTRATIONS);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, some));
  },

  /**
   * The time is taken from now on, until so many of those who have waited on this server have moved:
   * some have left it before, where slow registrations had made one too many.
   */
  watch: ({ server, count }: { server: string; count: number }): void => {
    const startedAt = performance.now();
    const times: number[] = [];
    again = new Promise((resolve) => {
      for (const waiting of people.filter(({ servers }) => servers.includes(server))) {
        void waiting.registered(waiting.servers.length + 1).then(() => {
          times.push(performance.now() - startedAt);
          if (times.length === count) resolve(times);
        });
      }
    });
  },

  /** After how many milliseconds each of them waited on two servers again. */
  moved: () => again,
};

export type PeopleTasks = typeof tasks;

serveTasks(tasks);
