import { describe, expect, it } from 'vitest';
import { type Random, seededRandom } from '../../src/base/random.ts';
import { World } from './link-world.ts';

const SEEDS = 2_000;
/** From the end of all faults to one connection in use on both sides. */
const SETTLED_WITHIN_MS = 60_000;
/** Then nothing at all may happen for so long. */
const QUIET_MS = 60_000;

interface Troubles {
  readonly cuts: boolean;
  readonly outages: boolean;
  readonly restarts: boolean;
  readonly renewals: boolean;
  readonly lies: boolean;
  /** Newer programs of a person's that come and go while an older one goes on. */
  readonly usurpers: boolean;
}

const NONE: Troubles = {
  ...{ cuts: false, outages: false, restarts: false, renewals: false, lies: false },
  usurpers: false,
};

/** Runs `act` in a world of its own, and tells with which seed and how it came to what failed. */
function inWorld<T>(seed: number, swift: boolean, act: (world: World, random: Random) => T): T {
  const random = seededRandom(seed);
  const world = new World(random, { swift });
  try {
    return act(world, random);
  } catch (error) {
    const trace = world.trace.slice(-250).join('\n');
    throw new Error(`seed ${seed}: ${String(error)}\n${trace}`, { cause: error });
  }
}

/** @returns how long it took, from the end of the faults, to settle. */
function run(world: World, random: Random, troubles: Troubles): number {
  world.matchBoth();
  for (let step = world.between(0, 25); step > 0; step--) {
    const pauseMs = world.chance(30) ? world.between(2_000, 40_000) : world.between(0, 600);
    world.clock.runUntil(world.clock.now() + pauseMs);
    const who = random.below(2) as 0 | 1;
    const dice = random.below(100);
    if (troubles.usurpers && world.chance(8)) world.usurp(random.below(2) as 0 | 1);
    if (troubles.lies && world.chance(30)) world.lie(random.below(2) as 0 | 1);
    if (dice < 40) world.say(who);
    else if (dice < 65 && troubles.cuts) world.cut(who);
    else if (dice < 72 && troubles.outages) world.losePathOf(who);
    else if (dice < 85 && troubles.outages) world.breakNetwork();
    else if (dice < 94) world.healNetwork();
    else if (dice < 97 && troubles.restarts) world.restart(who);
    else if (troubles.renewals) world.renew(who);
  }
  world.say(0);
  world.say(1);
  world.healNetwork();
  return settle(world, troubles);
}

function settle(world: World, troubles = NONE): number {
  const healedAt = world.clock.now();
  let settledAt: number | undefined;
  const end = (): number => (settledAt ?? healedAt + SETTLED_WITHIN_MS) + QUIET_MS;
  for (let next = world.clock.nextAt; next !== undefined; next = world.clock.nextAt) {
    if (settledAt === undefined && next > healedAt + SETTLED_WITHIN_MS) {
      throw new Error('the two sides do not agree on a connection');
    }
    if (next > end()) break;
    world.clock.fireNext();
    // Only what lasts counts.
    if (!world.settled) settledAt = undefined;
    else settledAt ??= world.clock.now();
    if (world.clock.now() > healedAt + SETTLED_WITHIN_MS + QUIET_MS) break;
  }
  if (settledAt === undefined) throw new Error('the two sides have no connection');
  for (const process of world.people) {
    const friend = world.friendOf(process);
    const due = process.machine.nextDeadline();
    if (due !== undefined) throw new Error(`${process.label} still has something due at ${due}`);
    expect(process.conversation.unacknowledged, 'without acknowledgement').toBe(0);
    const runs = world.runs.filter(({ who }) => who === friend.who);
    const heardBy = runs.map(({ received }) =>
      received
        .filter((text) => text.startsWith(`${process.label}/`))
        .map((text) => Number(text.slice(process.label.length + 1))),
    );
    for (const heard of heardBy) {
      expect(heard, 'once, in order').toEqual([...new Set(heard)].sort((a, b) => a - b));
    }
    expect(heardBy.flat(), 'up to the last').toContain(process.said);
    if (troubles.usurpers) continue;
    // What one run of the friend's has had, another that goes on beside it need not hear.
    const heard = heardBy[runs.indexOf(friend)] ?? [];
    const first = process.said - heard.length;
    expect(heard, 'without gaps').toEqual(heard.map((_, index) => first + index + 1));
  }
  return settledAt - healedAt;
}

describe('two peers that are matched settle on one connection, the same on both sides', () => {
  it.each<[string, Troubles, number]>([
    ['over a slow network', NONE, 15_000],
    ['when connections break on one side', { ...NONE, cuts: true }, 20_000],
    ['when the network fails and heals', { ...NONE, outages: true }, 30_000],
    [
      'when everything breaks and programs restart',
      { ...NONE, cuts: true, outages: true, restarts: true },
      30_000,
    ],
    ['when conversations end without a word and begin anew', { ...NONE, renewals: true }, 20_000],
    [
      'when all of that happens',
      { ...NONE, cuts: true, outages: true, restarts: true, renewals: true },
      40_000,
    ],
    ['when servers lie of newer sessions', { ...NONE, lies: true }, 40_000],
    ['when a program outlives a newer one', { ...NONE, usurpers: true }, 50_000],
    [
      'when all of that happens, and servers lie',
      { cuts: true, outages: true, restarts: true, renewals: true, lies: true, usurpers: true },
      60_000,
    ],
  ])(`%s, ${SEEDS} seeds`, (_, troubles, boundMs) => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      inWorld(seed, false, (world, random) => {
        expect(run(world, random, troubles), 'milliseconds to settle').toBeLessThan(boundMs);
      });
    }
  });

  it(`at once, without a break, on the lower fingerprint's where it dials, ${SEEDS} seeds`, () => {
    let doubleDials = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      inWorld(seed, true, (world) => {
        world.matchBoth();
        world.say(0);
        world.say(1);
        expect(settle(world), 'milliseconds to settle').toBeLessThan(1_500);
        expect(world.reconnects, 'breaks that the users saw').toBe(0);
        const [lower, higher] = world.isLower(0) ? world.people : world.people.toReversed();
        const dialled = [lower, higher].map((side) =>
          [...(side?.ends.values() ?? [])].some(({ dialledHere }) => dialledHere),
        );
        expect(lower?.openEnds[0]?.dialledHere).toBe(dialled[0]);
        if (!dialled.includes(false)) doubleDials++;
      });
    }
    expect(doubleDials, 'seeds in which both dialled').toBeGreaterThan(SEEDS / 10);
  });

  it(`and no server interrupts them by lying of newer sessions, ${SEEDS} seeds`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      inWorld(seed, true, (world) => {
        world.matchBoth();
        world.say(0);
        world.say(1);
        settle(world);
        const talking = world.people.map(({ machine }) => machine.active);
        for (let lies = 0; lies < 20; lies++) {
          world.lie(world.chance(50) ? 0 : 1);
          world.clock.runUntil(world.clock.now() + world.between(0, 10_000));
          world.say(world.chance(50) ? 0 : 1);
        }
        settle(world);
        expect(world.people.map(({ machine }) => machine.active)).toEqual(talking);
        expect(world.reconnects, 'breaks that the users saw').toBe(0);
      });
    }
  });
});
