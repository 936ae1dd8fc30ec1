import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import type { Wish } from '../../src/rendezvous/record.ts';
import { SimPeer, World } from './rendezvous-world.ts';

const SEEDS = 150;
const NAMES = ['anna', 'ben', 'cleo', 'dora', 'emil'];
/** How long the world is troubled, and then left alone. */
const TROUBLED_MS = 40_000;
const CALM_MS = 30_000;

interface Troubles {
  readonly crashes: boolean;
  readonly partitions: boolean;
  readonly squatters: boolean;
}

function randomWish(world: World, own: string, troubles: Troubles): Wish {
  const others = NAMES.filter((name) => name !== own);
  const friend = others[world.random.below(others.length)] ?? 'ben';
  const keyed = world.random.below(3) === 0;
  return { friend, friendKey: keyed ? keyOf(world, friend, troubles) : undefined };
}

/** Mostly each name has one key; where there are squatters, sometimes another. */
function keyOf(world: World, name: string, troubles: Troubles): string {
  const squats = troubles.squatters && world.random.below(4) === 0;
  return (squats ? 'f' : NAMES.indexOf(name).toString()).repeat(64);
}

function disturb(world: World, troubles: Troubles): void {
  const pick = <Item>(items: readonly Item[]): Item | undefined =>
    items[world.random.below(Math.max(1, items.length))];
  const people = world.peers.filter(({ alive }) => alive);
  const peer = pick(people);
  const dice = world.random.below(100);
  if (dice < 35 || peer === undefined) {
    const name = pick(NAMES) ?? 'anna';
    const wishes = new Map(
      Array.from({ length: 1 + world.random.below(3) }, () =>
        randomWish(world, name, troubles),
      ).map((wish) => [wish.friend, wish]),
    );
    new SimPeer(world, name, keyOf(world, name, troubles), [...wishes.values()]);
  } else if (dice < 45) peer.leave();
  else if (dice < 60) {
    peer.rewish(randomWish(world, peer.name, troubles), world.random.below(3) === 0);
  } else if (dice < 68) peer.move();
  else if (dice < 74) peer.reconnect();
  else if (dice < 80) {
    if (world.live.length < 5) world.startServer();
  } else if (dice < 86) {
    const serving = world.live.filter(({ membership }) => membership.serving);
    if (troubles.crashes && serving.length > 1) pick(serving)?.crash();
  } else if (dice < 92) {
    const [a, b] = [pick(world.live), pick(world.live)];
    if (troubles.partitions && a !== undefined && b !== undefined && a !== b) world.part(a, b);
  } else if (dice < 95) {
    if (troubles.partitions) world.healAll();
  } else if (dice < 97) {
    if (troubles.partitions) world.cutBalancer();
  } else if (troubles.crashes) world.restartBalancer();
}

function run(seed: number, troubles: Troubles): World {
  const world = new World(seededRandom(seed));
  try {
    for (let count = 2 + world.random.below(2); count > 0; count--) world.startServer();
    while (world.clock.now() < TROUBLED_MS) {
      const pauseMs = world.random.below(4) === 0 ? 4_000 : 300;
      world.clock.runUntil(world.clock.now() + world.random.below(pauseMs));
      disturb(world, troubles);
    }
    world.healAll();
    world.clock.runUntil(world.clock.now() + CALM_MS);
    expect(faultsOf(world)).toEqual([]);
  } catch (error) {
    const trace = world.trace.slice(-400).join('\n');
    throw new Error(`seed ${seed}: ${String(error)}\n${trace}`, { cause: error });
  }
  return world;
}

/** What is not as it has to be, once the network has been whole for a while. */
function faultsOf(world: World): string[] {
  const faults = [...world.breaches];
  const expected = world.peers
    .flatMap((peer) =>
      [...peer.registrations.keys()]
        .filter(({ alive }) => alive)
        .map(({ id }) =>
          [
            id.slice(0, 4),
            peer.name,
            peer.key[0],
            peer.session,
            ...peer.wishes.map(({ friend }) => friend).sort(),
          ].join(' '),
        ),
    )
    .sort();
  for (const server of world.live) {
    const held = server.contents();
    if (held.join() !== expected.join()) {
      faults.push(`${server.label} holds\n ${held.join('\n ')}\nnot\n ${expected.join('\n ')}`);
    }
  }
  const waiting = world.peers.filter(({ alive, registrations }) => alive && registrations.size > 0);
  const named = (a: SimPeer, b: SimPeer): boolean =>
    a.wishes.some((wish) => wish.friend === b.name && (wish.friendKey ?? b.key) === b.key);
  // Where several keys wait under one name, a wish without key is for the one that holds it.
  const byKey = (a: SimPeer, b: SimPeer): boolean =>
    a.wishes.some((wish) => wish.friend === b.name && wish.friendKey === b.key);
  const alone = ({ name, key }: SimPeer): boolean =>
    waiting.every((other) => other.name !== name || other.key === key);
  for (const a of waiting) {
    for (const b of waiting) {
      if (!named(a, b) || !named(b, a)) continue;
      if (!(byKey(a, b) || alone(b)) || !(byKey(b, a) || alone(a))) continue;
      const told = a.friends.get(b.name);
      if (told?.friendSession !== b.session) {
        faults.push(`${a.label} does not know of ${b.label}`);
      } else if (told.friendEndpoint.ufrag !== b.ufrag) {
        faults.push(`${a.label} has old credentials of ${b.label}`);
      }
    }
  }
  return faults;
}

function seeds(name: string, troubles: Troubles): void {
  it(`${name} (${SEEDS} seeds)`, { timeout: 120_000 }, () => {
    let told = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      for (const { friends } of run(seed, troubles).peers) told += friends.size;
    }
    // Else the simulation would prove nothing.
    expect(told).toBeGreaterThan(SEEDS);
  });
}

describe('servers with delays between them', () => {
  const calm = { crashes: false, partitions: false, squatters: false };
  seeds('match all who name each other, and disclose nothing else', calm);
  seeds('do so while servers crash and start', { ...calm, crashes: true });
  seeds('do so after partitions between them have healed', {
    ...calm,
    crashes: true,
    partitions: true,
  });
  seeds('do so while strangers take names', { crashes: true, partitions: true, squatters: true });
});
