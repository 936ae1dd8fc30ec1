import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { cellOf } from './cells.ts';
import { expectationOf } from './expectation.ts';
import { Laboratory } from './laboratory.ts';
import { type Meeting, Pair, withCell } from './meeting.ts';
import { optionsOf } from './options.ts';
import { writePart } from './parts.ts';
import { modelOf } from './router-types.ts';
import type { Person } from './person.ts';

const options = optionsOf(process.env);
const SILENCE_MS = 30_000;
/** Of the worst routers. */
const SHORT_LIFETIME_MS = 20_000;
/** A path is given up after 6.5 s; the rest is for finding another one, and for a busy machine. */
const RECOVERY_MS = 40_000;
const LOSSY_RUNS = options.full ? 100 : 5;
/** Of a thousand packets, on each of the two lines between two sites: 5 % in all. */
const LOSS_PERMILLE = 25;

/** One friend each that the network reaches without guessing, or by a relay. */
const LASTING = [
  'public × masquerade',
  'public × symmetric-sequential',
  'eim-eif × eim-apdf',
  ...(options.full
    ? [
        'public × eim-eif',
        'public × eim-adf',
        'public × eim-apdf',
        'public × symmetric-random',
        'public × cgn',
        'ipv6-firewall × ipv6-firewall',
        'masquerade × masquerade',
        'masquerade × cgn',
        'public × udp-443',
        'masquerade × udp-443',
        'public × no-udp',
        'masquerade × no-udp',
      ]
    : []),
];

const recoveries: { readonly cell: string; readonly after: string; readonly ms: number }[] = [];
const lossy: Meeting[] = [];
let laboratory: Laboratory;
let meeting: Promise<unknown> = Promise.resolve();

beforeAll(async () => {
  laboratory = await Laboratory.start(options.seed);
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
  await writePart(options.results, 'endurance', { recoveries, lossy });
});

describe.runIf(options.only === undefined)('a conversation', () => {
  it.concurrent.each(LASTING)(
    '%s: outlives silence, rebindings and new addresses',
    async (name) => {
      const expected = expectationOf(cellOf(name)).outcome;
      const trouble = async (pair: Pair, after: string, strike: () => Promise<unknown>) => {
        await strike();
        const from = clock.now();
        const heard = await pair.talk(RECOVERY_MS);
        expect(heard, `${name}, after ${after}: ${pair.story}`).toBe(true);
        recoveries.push({ cell: name, after, ms: Math.round(clock.now() - from) });
      };
      await withCell(
        laboratory,
        cellOf(name),
        async (seats) => {
          const [a, b] = seats;
          const pair = new Pair(laboratory, seats);
          try {
            const { outcome } = await oneAtATime(() => pair.meet(expected, false));
            expect(outcome, pair.story).toBe(expected);
            await trouble(pair, '30 s of silence', () => clock.sleep(SILENCE_MS));
            expect(lossesOf(pair), pair.story).toEqual([]);
            await trouble(pair, 'a rebinding of one', () => b.site.rebind());
            await trouble(pair, 'a rebinding of both', () =>
              Promise.all([a.site.rebind(), b.site.rebind()]),
            );
            await trouble(pair, 'another address of one', () =>
              b.site.move(laboratory.newAddress()),
            );
            if (expected === 'direct' && !mayBeSpoilt(name)) {
              await pair.settled(RECOVERY_MS);
              expect(pair.people.map(({ path }) => path?.['path'])).toEqual(['direct', 'direct']);
            }
            expect(repeatedIn(pair), pair.story).toEqual([]);
          } finally {
            await pair.leave();
          }
        },
        { lifetimeMs: SHORT_LIFETIME_MS },
      );
    },
  );
});

describe.runIf(options.only === undefined)('masquerade × masquerade with 5 % loss', () => {
  it(`never has its sides on different paths in ${LOSSY_RUNS} runs`, async () => {
    await withCell(laboratory, cellOf('masquerade × masquerade'), async (seats) => {
      for (const { site } of seats) await site.lose(LOSS_PERMILLE);
      while (lossy.length < LOSSY_RUNS) {
        const pair = new Pair(laboratory, seats);
        try {
          lossy.push(await pair.meet('direct', false));
        } finally {
          await pair.leave();
        }
      }
      const apart = lossy.filter(({ agree, outcome }) => !agree && outcome !== 'failed');
      expect(apart).toEqual([]);
    });
  }, 600_000);
});

/** Two people start at a time, so that a machine of two cores shows what they do, not what it does. */
function oneAtATime<Result>(meet: () => Promise<Result>): Promise<Result> {
  const met = meeting.then(meet);
  meeting = met.catch(() => undefined);
  return met;
}

/**
 * Two Linux routers that have both forgotten: each answers the other side's packets, both ports move,
 * and one fresh socket meets no port that is where servers see it. Two would have to meet.
 */
function mayBeSpoilt(name: string): boolean {
  const { a, b } = cellOf(name);
  return [a, b].every((type) => modelOf(type).claim.ipv4?.earlyPacketMoves === true);
}

function lossesOf(pair: Pair): unknown[] {
  return [pair.a, pair.b].flatMap(({ events }) =>
    events.filter(({ event }) => event === 'reconnecting' || event === 'disconnected'),
  );
}

/** Messages that came twice. */
function repeatedIn(pair: Pair): unknown[] {
  const twice = ({ events }: Person): unknown[] => {
    const ids = events.filter(({ event }) => event === 'message').map(({ id }) => id);
    return ids.filter((id, index) => ids.indexOf(id) !== index);
  };
  return [...twice(pair.a), ...twice(pair.b)];
}
