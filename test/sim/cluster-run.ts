import type { Random } from '../../src/base/random.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { Wish } from '../../src/rendezvous/record.ts';
import type { Parts } from './cluster-parts.ts';
import type { Person, SimPeer } from './cluster-peer.ts';
import { differencesOf, faultsOf, unconnectedIn } from './cluster-verdict.ts';
import { World } from './cluster-world.ts';

const NAMES = ['anna', 'ben', 'cleo', 'dora', 'emil', 'fay'];
/** How long the world is troubled; then it is left alone. */
const TROUBLED_MS = 40_000;
/** From the end of all troubles: tables are equal, all else is well, friends are connected. */
const EQUAL_WITHIN_MS = 30_000;
const WELL_WITHIN_MS = 45_000;
const CONNECTED_WITHIN_MS = 75_000;
/** What is under way just then may need a moment. */
const GRACE_MS = 2_500;

/** What can happen; a seed has some of it. */
const KINDS = [
  'crashes',
  'restarts',
  'drains',
  'pauses',
  'partitions',
  'balancers',
  'moves',
  'calendars',
  'losses',
  'repeats',
  'lost-updates',
  'squatters',
] as const;
export type Kind = (typeof KINDS)[number];

/** What ends servers, of which a world has so many in all. */
const ENDING: ReadonlySet<Kind> = new Set(['crashes', 'restarts', 'drains']);
const MAX_SERVERS_EVER = 10;

export interface Run {
  readonly world: World;
  readonly kinds: ReadonlySet<Kind>;
  /** What was not as it has to be. */
  readonly faults: readonly string[];
}

/** One world from a seed, troubled and then left alone. */
export function runCluster(
  seed: number,
  options: { readonly parts?: Parts; readonly kinds?: readonly Kind[] } = {},
): Run {
  const random = seededRandom(seed);
  const swarm = KINDS.filter(() => random.below(2) === 0);
  const kinds = new Set(options.kinds ?? swarm);
  const links = !kinds.has('squatters');
  const { parts } = options;
  const world = new World(random, { links, ...(parts === undefined ? {} : { parts }) });
  const { network } = world;
  const run = (faults: readonly string[]): Run => ({ world, kinds, faults });
  try {
    if (kinds.has('losses')) network.lost = 1 + random.below(5);
    if (kinds.has('repeats')) network.repeated = 1 + random.below(20);
    for (let count = 1 + random.below(2); count > 0; count--) {
      world.startBalancer(world.newPlace(1));
    }
    for (let count = 2 + random.below(3); count > 0; count--) world.startServer();
    // Half the worlds are calm for a while before the first trouble.
    const calmMs = random.below(2) === 0 ? 20_000 : 0;
    while (network.clock.now() < TROUBLED_MS + calmMs) {
      const pauseMs = random.below(4) === 0 ? 5_000 : 400;
      network.clock.runUntil(network.clock.now() + random.below(pauseMs));
      const person = random.below(100) < 50;
      if (person || network.clock.now() < calmMs) befall(world, random, kinds);
      else disturb(world, random, kinds);
      if (world.breaches.length > 0) return run(world.breaches);
    }
    makeWhole(world);
    return run(settle(world, kinds));
  } catch (error) {
    return run([...world.breaches, error instanceof Error ? (error.stack ?? '') : String(error)]);
  }
}

/** Something happens to a person. */
function befall(world: World, random: Random, kinds: ReadonlySet<Kind>): void {
  const peer = world.pick(world.waiting);
  const dice = random.below(100);
  if (peer === undefined || (dice < 45 && world.waiting.length < 9)) {
    const name = world.pick(NAMES) ?? 'anna';
    const wishes = new Map<string, Wish>();
    for (let count = 1 + random.below(3); count > 0; count--) {
      const wish = randomWish(world, name, kinds);
      wishes.set(wish.friend, wish);
    }
    world.startPeer(personOf(name, keyOf(name, random, kinds)), [...wishes.values()]);
  } else if (dice < 60) peer.quit();
  else if (dice < 65) peer.crash();
  else if (dice < 80) rewish(world, random, kinds, peer);
  else if (dice < 90) peer.move(`frag${world.serial()}`);
  else peer.loseConnection();
}

function rewish(world: World, random: Random, kinds: ReadonlySet<Kind>, peer: SimPeer): void {
  peer.rewish(randomWish(world, peer.person.name, kinds), random.below(3) === 0);
}

/** Something happens to a program or to the network. */
function disturb(world: World, random: Random, kinds: ReadonlySet<Kind>): void {
  const kind = world.pick([...kinds]);
  const server = world.pick(world.live);
  const serving = world.live.filter((each) => each.serving);
  const victim = world.pick(serving);
  const balancer = world.pick(world.liveBalancers);
  // Each that has died is called for a quarter of an hour, which makes long worlds slow.
  if (world.servers.length >= MAX_SERVERS_EVER && kind !== undefined && ENDING.has(kind)) return;
  switch (kind) {
    case 'crashes':
      if (serving.length > 1 && victim !== undefined) world.crash(victim, random.below(2) === 0);
      if (world.live.length < 4) world.startServer();
      break;
    case 'restarts': {
      if (server === undefined) break;
      const soon = random.below(2) === 0;
      world.restartServer(server, random.below(soon ? 300 : 20_000));
      break;
    }
    case 'drains':
      if (serving.length > 1) victim?.drain();
      if (world.live.length < 4) world.startServer();
      break;
    case 'pauses': {
      const program = world.pick<SimPeer | NonNullable<typeof server | typeof balancer>>(
        [server, balancer, world.pick(world.waiting)].filter((each) => each !== undefined),
      );
      if (program === undefined) break;
      world.pause(program);
      network(world, random.below(20_000), () => {
        if (program.paused) world.resume(program);
      });
      break;
    }
    case 'partitions':
      part(world, random);
      break;
    case 'balancers':
      if (balancer === undefined) break;
      if (random.below(2) === 0) world.restartBalancer(balancer.place);
      else world.killBalancer(balancer.place, random.below(2) === 0);
      break;
    case 'moves':
      if (random.below(2) === 0 && server !== undefined && !server.draining) {
        world.readdress(server);
      } else if (balancer !== undefined) world.moveBalancer(balancer.place);
      break;
    case 'calendars':
      if (server !== undefined) {
        world.jumpCalendar(
          server.place,
          (random.below(2) === 0 ? -1 : 1) * random.below(7_200_000),
        );
      }
      break;
    case 'lost-updates':
      if (server !== undefined) {
        world.trouble();
        server.losesUpdates = random.below(60);
      }
      break;
    default:
  }
}

function network(world: World, afterMs: number, what: () => void): void {
  world.network.clock.setTimer(afterMs, what);
}

/** Cuts off one from one, one from all, or half from half; or all is whole again. */
function part(world: World, random: Random): void {
  const programs = [...world.live, ...world.liveBalancers];
  const all = random.below(2) === 0 ? [...programs, ...world.waiting] : programs;
  const places = all.map(({ place }) => place);
  const dice = random.below(4);
  if (dice === 0) {
    world.heal();
    return;
  }
  const one = world.pick(places) ?? '';
  const near = places.filter((place) => place === one || (dice === 3 && random.below(2) === 0));
  const far = dice === 1 ? [world.pick(places) ?? ''] : places;
  for (const a of near) for (const b of far) if (!near.includes(b)) world.part(a, b);
}

/** The troubles end. */
function makeWhole(world: World): void {
  world.heal();
  for (const place of world.balancerPlaces) {
    if (!world.liveBalancers.some((balancer) => balancer.place === place)) {
      world.startBalancer(place);
    }
  }
  for (const server of world.live) server.losesUpdates = 0;
  for (let count = world.live.filter(({ draining }) => !draining).length; count < 2; count++) {
    world.startServer();
  }
  world.network.lost = 0;
}

/** @returns what is not well after a time in which it has to be. */
function settle(world: World, kinds: ReadonlySet<Kind>): readonly string[] {
  const healedAt = world.network.clock.now();
  const within = (ms: number, look: () => readonly string[]): readonly string[] => {
    world.network.clock.runUntil(healedAt + ms);
    for (let waited = 0; ; waited += 100) {
      const faults = [...world.breaches, ...look()];
      if (faults.length === 0 || waited >= GRACE_MS) return faults;
      world.network.clock.runUntil(world.network.clock.now() + 100);
    }
  };
  const unequal = within(EQUAL_WITHIN_MS, () => differencesOf(world));
  if (unequal.length > 0) return unequal;
  const unwell = within(WELL_WITHIN_MS, () => faultsOf(world, kinds.has('squatters')));
  if (unwell.length > 0 || kinds.has('squatters')) return unwell;
  const { clock } = world.network;
  for (;;) {
    const apart = [...world.breaches, ...unconnectedIn(world)];
    if (apart.length === 0 || clock.now() >= healedAt + CONNECTED_WITHIN_MS) return apart;
    clock.runUntil(clock.now() + 1_000);
  }
}

function personOf(name: string, key: string): Person {
  return { name, key, host: `10.2.${NAMES.indexOf(name)}.${key.startsWith('f') ? 2 : 1}` };
}

function randomWish(world: World, own: string, kinds: ReadonlySet<Kind>): Wish {
  const friend = world.pick(NAMES.filter((name) => name !== own)) ?? 'ben';
  const keyed = world.random.below(3) === 0;
  return { friend, friendKey: keyed ? keyOf(friend, world.random, kinds) : undefined };
}

/** Mostly each name has one key; where there are squatters, sometimes another. */
function keyOf(name: string, random: Random, kinds: ReadonlySet<Kind>): string {
  const squats = kinds.has('squatters') && random.below(4) === 0;
  return (squats ? 'f' : NAMES.indexOf(name).toString()).repeat(64);
}
