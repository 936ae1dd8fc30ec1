import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { cellOf } from './cells.ts';
import { Laboratory } from './laboratory.ts';
import { Pair, type Seat, withCell } from './meeting.ts';
import { optionsOf } from './options.ts';
import type { Person } from './person.ts';
import type { Site } from './site.ts';

const options = optionsOf(process.env);
/** For a busy machine; what it took is among the results. */
const RECOVERY_MS = 40_000;
/** As long as a lid is closed: friends have noticed, and servers have not. */
const SLEEP_MS = 20_000;
/** Servers have noticed, too: a silent peer's registration is over after 40 s. */
const LONG_SLEEP_MS = 50_000;
/** A number in a network that nobody there has. */
const FREE_HOST = 77;

const NAMES = [
  'eim-apdf × masquerade',
  ...(options.full ? ['public × masquerade', 'one LAN'] : []),
];

interface Roaming {
  readonly cell: string;
  readonly after: string;
  readonly ms: number;
  /** Whether anybody was told that the friend is away. */
  readonly reconnecting: boolean;
}

const found: Roaming[] = [];
let laboratory: Laboratory;

beforeAll(async () => {
  laboratory = await Laboratory.start(options.seed);
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
  if (found.length > 0) console.table(found);
});

describe.runIf(options.only === undefined)('a conversation', () => {
  it.each(NAMES)(
    '%s: goes on from another address, another network, and after sleep',
    async (name) => {
      const cell = cellOf(name);
      await withCell(laboratory, cell, async (seats) => {
        const elsewhere = await laboratory.site('eim-eif');
        const pair = new Pair(laboratory, seats);
        const trouble = async (after: string, strike: () => Promise<unknown>): Promise<void> => {
          const told = pair.people.map(({ events }) => events.length);
          await strike();
          const from = clock.now();
          const heard = await pair.talk(RECOVERY_MS);
          const ms = Math.round(clock.now() - from);
          expect(heard, `${name}, after ${after}: ${pair.story}`).toBe(true);
          const direct = (person: Person): boolean => person.path?.['path'] === 'direct';
          for (const person of pair.people) {
            const isBack = await person.until(() => direct(person), RECOVERY_MS);
            expect(isBack, `${name}, after ${after}: ${pair.story}`).toBe(true);
          }
          const news = pair.people.flatMap(({ events }, index) => events.slice(told[index]));
          const reconnecting = news.some(({ event }) => event === 'reconnecting');
          found.push({ cell: name, after, ms, reconnecting });
          // Whoever was away for longer than servers wait was given up, and is met again.
          if (after !== 'a long sleep') {
            expect(news.filter(({ event }) => event === 'disconnected')).toEqual([]);
          }
        };
        try {
          expect((await pair.meet('direct', false)).outcome, pair.story).toBe('direct');
          const [, mover] = seats;
          await trouble('another address', () => renumber(mover));
          const sleep = async (ms: number): Promise<void> => {
            pair.b.pause();
            await clock.sleep(ms);
            pair.b.goOn();
          };
          await trouble('sleep', () => sleep(SLEEP_MS));
          if (options.full) await trouble('a long sleep', () => sleep(LONG_SLEEP_MS));
          await trouble('another network', () => moveTo(mover, elsewhere));
          for (const { events } of pair.people) {
            const ids = events.filter(({ event }) => event === 'message').map(({ id }) => id);
            expect(ids, pair.story).toEqual(ids.map((_, index) => index + 1));
          }
        } finally {
          await pair.leave();
          await laboratory.remove(elsewhere);
        }
      });
    },
  );
});

/** The computer gets another address in the network that it is in. */
async function renumber({ site, computer }: Seat): Promise<void> {
  const { subnet } = site.plan;
  const [before = ''] = site.ownAddresses(computer);
  await laboratory.namespaces.inside(site.computers[computer] ?? '', [
    `ip address del ${before}/24 dev eth0`,
    `ip address add 192.168.${subnet}.${FREE_HOST}/24 dev eth0`,
    `ip route replace default via 192.168.${subnet}.1`,
  ]);
}

/** The computer leaves its network for another site's, by another interface. */
async function moveTo({ site, computer }: Seat, elsewhere: Site): Promise<void> {
  const { subnet, name } = elsewhere.plan;
  const { namespaces } = laboratory;
  const router = namespaces.nameOf(`${name}-router`);
  const itself = namespaces.nameOf(site.computers[computer] ?? '');
  await namespaces.script([
    `ip -n ${router} link add guest type veth peer name eth1 netns ${itself}`,
    `ip -n ${router} link set guest master lan up`,
    `ip -n ${itself} link set eth0 down`,
    `ip -n ${itself} address add 192.168.${subnet}.${FREE_HOST}/24 dev eth1`,
    `ip -n ${itself} link set eth1 up`,
    `ip -n ${itself} route add default via 192.168.${subnet}.1`,
  ]);
}
