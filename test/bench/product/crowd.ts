import type { Address } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import type { QuicEndpoint } from '../../../src/quic/index.ts';
import { serveTasks } from '../worker.ts';
import { openEndpoint, portOf, Waiting, wishFor } from './waiting-peer.ts';

/** The process of many peers: how many of them join at the same time. */
const AT_ONCE = 64;

/** One at least. */
type Servers = readonly [Address, ...Address[]];

/** Somebody whose friend never comes, on one of the servers by its number. */
function joinAlone(from: QuicEndpoint, servers: Servers, number: number): Promise<Waiting> {
  const server = servers[number % servers.length] ?? servers[0];
  const name = `waiting-${number}`;
  return Waiting.join(from, server, name, `friend of ${name}`);
}

interface Pair {
  readonly waiting: Waiting;
  readonly wisher: Waiting;
  readonly waitingName: string;
}

const pairs: Pair[] = [];

const tasks = {
  /**
   * Registers `count` peers who wait for somebody who never comes, on these servers in turn.
   * @returns how many a second.
   */
  join: async (work: { servers: Servers; first: number; count: number }): Promise<number> => {
    const from = await openEndpoint();
    const startedAt = performance.now();
    let next = work.first;
    const last = work.first + work.count;
    const some = async (): Promise<void> => {
      while (next < last) await joinAlone(from, work.servers, next++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, some));
    return (work.count / (performance.now() - startedAt)) * 1000;
  },

  /**
   * The same, each when it is due, whether or not those before have done.
   * @returns how many a second did, and how many did not get in.
   */
  joinAtRate: async (work: {
    servers: Servers;
    first: number;
    count: number;
    perSecond: number;
  }) => {
    const from = await openEndpoint();
    const startedAt = performance.now();
    const joins: Promise<Waiting>[] = [];
    while (joins.length < work.count) {
      const due = startedAt + (joins.length * 1000) / work.perSecond;
      if (performance.now() < due) await systemClock.sleep(due - performance.now());
      joins.push(joinAlone(from, work.servers, work.first + joins.length));
    }
    const settled = await Promise.allSettled(joins);
    const failed = settled.filter(({ status }) => status === 'rejected').length;
    return { rate: ((work.count - failed) / (performance.now() - startedAt)) * 1000, failed };
  },

  /**
   * Registers pairs of which only one side has its wish yet, the other side on the last of the
   * servers. @returns the two sides' ports, and the number of the first pair.
   */
  pair: async ({ servers, count }: { servers: Servers; count: number }) => {
    const [waiters, wishers] = [await openEndpoint(), await openEndpoint()];
    const first = pairs.length;
    while (pairs.length < first + count) {
      const [waitingName, wisherName] = [`early-${pairs.length}`, `late-${pairs.length}`];
      pairs.push({
        waitingName,
        waiting: await Waiting.join(waiters, servers[0], waitingName, wisherName),
        wisher: await Waiting.join(wishers, servers.at(-1) ?? servers[0], wisherName, undefined),
      });
    }
    return { waiting: portOf(waiters), wisher: portOf(wishers), first };
  },

  /** The other side's wish. @returns milliseconds until the one who waits knows its friend. */
  wish: async (index: number): Promise<number> => {
    const pair = pairs[index];
    if (pair === undefined) throw new RangeError(`no pair ${index}`);
    const both = [pair.waiting.next('match'), pair.wisher.next('match')] as const;
    const startedAt = performance.now();
    pair.wisher.send({
      $case: 'wish',
      value: { wish: wishFor(pair.waitingName), withdraw: false },
    });
    const [{ at }] = await Promise.all(both);
    return at - startedAt;
  },
};

export type CrowdTasks = typeof tasks;

serveTasks(tasks);
