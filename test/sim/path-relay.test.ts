import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import { expectConnected, ROUTERS, type SimulatedPeer, useOnePair } from './path-world.ts';
import { introduceWithRelay, relayedHomes, type RelayWorld } from './relay-world.ts';

/** Seeds 1 to this are run; `CHATTY_SEEDS=N` runs N more. */
const SEEDS = 400 + Number(process.env['CHATTY_SEEDS'] ?? 0);
const NAMES = Object.keys(ROUTERS).filter((name) => name !== 'masquerade, early');
const SYMMETRIC = 'symmetric, random ports';
const PORT_RESTRICTED = 'EIM, address-and-port-dependent filtering';
const some = Array.from({ length: 20 }, (_, index) => index + 1);

function classes({ alice, bob }: RelayWorld): (string | undefined)[] {
  return [alice, bob].map(({ agent }) => agent?.selected()?.pathClass);
}

/** When both had a path, of any kind. */
function talkAt({ alice, bob }: RelayWorld): number {
  return Math.max(alice.firstAt('selected'), bob.firstAt('selected'));
}

/** As the link does: while there is no path, paths are asked for anew every 5 s. */
function keepPunching({ network }: RelayWorld, peer: SimulatedPeer): void {
  network.after(5000, () => {
    if (peer.agent?.selected() === undefined) peer.step({ type: 'network-changed' });
    keepPunching({ network } as RelayWorld, peer);
  });
}

describe('two peers with a relay', () => {
  it.each(some)('where no port can be guessed, stay on it at both ends (seed %i)', (seed) => {
    const world = relayedHomes(SYMMETRIC, SYMMETRIC, seed, (seed % 3) * 0.1);
    introduceWithRelay(world);
    world.network.runUntil(60_000);
    expectConnected(world, `seed ${seed}`);
    expect(classes(world)).toEqual(['relay', 'relay']);
  });

  it.each(some)('use it at once, and a direct path from when there is one (seed %i)', (seed) => {
    const world = relayedHomes(PORT_RESTRICTED, PORT_RESTRICTED, seed, (seed % 3) * 0.1);
    introduceWithRelay(world, 0);
    world.network.runUntil(1);
    expect(classes(world)).toEqual(['relay', 'relay']);
    world.network.runUntil(10_000);
    expectConnected(world, `seed ${seed}`);
    expect(classes(world)).toEqual(['public', 'public']);
    if (world.network.conditions.loss > 0) return;
    const { relayed } = world.relay;
    world.network.runUntil(120_000);
    // What is not needed costs its server nothing.
    expect(world.relay.relayed).toBe(relayed);
  });

  it.each(some)('go on over it when the direct path breaks, and return (seed %i)', (seed) => {
    const world = relayedHomes(PORT_RESTRICTED, PORT_RESTRICTED, seed);
    const { network, relay } = world;
    introduceWithRelay(world);
    network.runUntil(10_000);
    network.tap = (_from, to) => to.host === relay.address.host || to.host.startsWith('192.168');
    const { tap } = network;
    network.tap = (from, to, datagram) =>
      from.host === relay.address.host || tap(from, to, datagram);
    network.runUntil(18_000);
    expectConnected(world, `seed ${seed}`);
    expect(classes(world)).toEqual(['relay', 'relay']);
    network.tap = () => true;
    network.runUntil(120_000);
    expectConnected(world, `seed ${seed}`);
    expect(classes(world)).toEqual(['public', 'public']);
  });

  it.each(some)('are direct though its server is silent (seed %i)', (seed) => {
    const world = relayedHomes(PORT_RESTRICTED, PORT_RESTRICTED, seed);
    world.relay.up = false;
    introduceWithRelay(world);
    world.network.runUntil(10_000);
    expectConnected(world, `seed ${seed}`);
    expect(classes(world)).toEqual(['public', 'public']);
  });

  it.each(some)('notice within 10 s that its server is gone (seed %i)', (seed) => {
    const world = relayedHomes(SYMMETRIC, SYMMETRIC, seed);
    introduceWithRelay(world);
    world.network.runUntil(10_000);
    world.relay.up = false;
    world.network.runUntil(20_000);
    expect(classes(world)).toEqual([undefined, undefined]);
    world.relay.up = true;
    world.network.runUntil(40_000);
    expectConnected(world, `seed ${seed}`);
  });
});

describe('whatever finishes first', () => {
  it(
    `both sides end on the same path, in ${SEEDS} worlds`,
    () => {
      let relayed = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const chance = seededRandom(seed + 1_000_000);
        const pick = (): string => NAMES[chance.below(NAMES.length)] ?? 'public';
        const [a, b] = [pick(), pick()];
        const world = relayedHomes(a, b, seed, chance.fraction() * 0.2);
        const { alice, bob, network, relay } = world;
        const outages = Array.from({ length: 4 }, () => {
          const from = chance.fraction() * 20_000;
          const [ways, isRelay] = [[alice], [bob], [alice, bob], [relay]].map(
            (each, index) => [each, index === 3] as const,
          )[chance.below(4)] ?? [[], false];
          const sources = ways.flatMap((way) =>
            'addresses' in way ? way.addresses : [way.address],
          );
          return { from, to: from + chance.fraction() * (isRelay ? 3000 : 9000), sources };
        });
        network.tap = (from) =>
          !outages.some(
            (outage) =>
              outage.from <= network.now &&
              network.now < outage.to &&
              outage.sources.includes(from),
          );
        introduceWithRelay(world, 1000);
        for (const peer of [alice, bob]) keepPunching(world, peer);
        network.runUntil(30_000);
        network.conditions.loss = 0;
        network.runUntil(60_000);
        const why = `seed ${seed}: ${a} and ${b}, ${classes(world).join(' and ')}`;
        expectConnected(world, why);
        expect(classes(world)[0], why).toBe(classes(world)[1]);
        if (classes(world)[0] === 'relay') relayed++;
      }
      expect(relayed).toBeGreaterThan(SEEDS / 20);
      expect(relayed).toBeLessThan(SEEDS / 2);
    },
    60_000 + 100 * SEEDS,
  );

  it('neither side waits for the other: there is a path at once, and agreement in a second', () => {
    for (const seed of some) {
      const world = relayedHomes(PORT_RESTRICTED, 'public', seed);
      introduceWithRelay(world, 0);
      world.network.runUntil(1000);
      expect(talkAt(world)).toBe(0);
      expect(useOnePair(world)).toBe(true);
    }
  });
});
