import { describe, expect, it } from 'vitest';
import { type Address, formatAddress } from '../../src/base/address.ts';
import { seededRandom } from '../../src/base/random.ts';
import { parseStun } from '../../src/path/index.ts';
import { Nat, SimulatedNetwork, type Site } from './nat-network.ts';
import {
  expectConnected,
  introduce,
  ROUTERS,
  SimulatedPeer,
  twoHomes,
  type World,
} from './path-world.ts';

const PORT_RESTRICTED = 'EIM, address-and-port-dependent filtering';
const SEEDS = Array.from({ length: 20 }, (_, index) => index + 1);

/** Two peers in one home, whose router lets nobody inside reach its public address from inside. */
function oneHome(seed: number, loss = 0): World & { readonly site: Site } {
  const random = seededRandom(seed);
  const network = new SimulatedNetwork({ random, loss, jitterMs: 4 });
  const behaviour = ROUTERS[PORT_RESTRICTED];
  if (behaviour === undefined) throw new Error('no such router');
  const nat = new Nat('203.0.113.10', { ...behaviour, hairpinning: true }, random);
  const site: Site = { nat, delayMs: 20 };
  const peer = (letter: string, last: number): SimulatedPeer =>
    new SimulatedPeer(letter, network, site, [{ host: `192.168.1.${last}`, port: 40_000 }], random);
  return { random, network, alice: peer('a', 2), bob: peer('b', 3), site };
}

describe('the time to a path', () => {
  it.each([
    ['public', 'public'],
    [PORT_RESTRICTED, PORT_RESTRICTED],
    ['masquerade', 'masquerade'],
  ])('is one round trip when both start together, %s and %s', (a, b) => {
    const world = twoHomes(a, b, 1);
    introduce(world, 0);
    world.network.runUntil(200);
    for (const peer of [world.alice, world.bob]) {
      // Two ways of 40 ms, up to 4 ms of jitter each; half a round trip more until both know.
      expect(peer.firstAt('selected')).toBeLessThanOrEqual(88);
      expect(peer.firstAt('checked')).toBeLessThanOrEqual(132);
    }
  });
});

describe('a pair of peers in one home', () => {
  it.each(SEEDS)('ends on the LAN, at both ends (seed %i)', (seed) => {
    const world = oneHome(seed, (seed % 3) * 0.1);
    introduce(world);
    world.network.runUntil(10_000);
    expectConnected(world);
    expect(world.alice.agent?.selected()?.pathClass).toBe('lan');
  });

  it.each(SEEDS)('goes round by the router when the LAN breaks, and returns (seed %i)', (seed) => {
    const world = oneHome(seed);
    const { network, alice, bob } = world;
    introduce(world);
    network.runUntil(10_000);
    network.tap = (_from, to) => !to.host.startsWith('192.168.');
    network.runUntil(17_000);
    expect(alice.agent?.selected()?.pathClass).toBe('public');
    expect(bob.agent?.selected()?.pathClass).toBe('public');
    expect(alice.has('all-lost') || bob.has('all-lost')).toBe(false);
    network.tap = () => true;
    network.runUntil(25_000);
    expectConnected(world);
    expect(alice.agent?.selected()?.pathClass).toBe('lan');
  });
});

describe('two peers on one computer', () => {
  it('use loopback, and are through before a person could notice', () => {
    const random = seededRandom(1);
    const network = new SimulatedNetwork({ random, loss: 0, jitterMs: 0 });
    const site: Site = { nat: undefined, delayMs: 1 };
    const peer = (letter: string, port: number): SimulatedPeer =>
      new SimulatedPeer(
        letter,
        network,
        site,
        ['127.0.0.1', '172.17.0.1', '10.0.0.5'].map((host) => ({ host, port })),
        random,
      );
    const world = { random, network, alice: peer('a', 40_001), bob: peer('b', 40_002) };
    introduce(world, 0);
    network.runUntil(5000);
    expectConnected(world);
    expect(world.alice.firstAt('selected')).toBeLessThan(2);
    expect(
      world.alice.events.find(({ effect }) => effect.type === 'selected')?.effect,
    ).toMatchObject({
      path: { remote: { host: '127.0.0.1', port: 40_002 }, kind: 'host', pathClass: 'lan' },
    });
  });
});

describe('a path in use', () => {
  it.each(SEEDS)('outlives routers that forget after 20 s of silence (seed %i)', (seed) => {
    const random = seededRandom(seed);
    const network = new SimulatedNetwork({ random, loss: 0, jitterMs: 4 });
    const peer = (letter: string, publicHost: string): SimulatedPeer => {
      const behaviour = ROUTERS[PORT_RESTRICTED];
      if (behaviour === undefined) throw new Error('no such router');
      const nat = new Nat(publicHost, { ...behaviour, mappingLifetimeMs: 20_000 }, random);
      const site: Site = { nat, delayMs: 20 };
      return new SimulatedPeer(letter, network, site, [{ host: '10.0.0.2', port: 40_000 }], random);
    };
    const world = {
      random,
      network,
      alice: peer('a', '203.0.113.10'),
      bob: peer('b', '203.0.113.20'),
    };
    introduce(world);
    network.runUntil(10_000);
    const before = world.alice.sentPackets + world.bob.sentPackets;
    network.runUntil(310_000);
    expectConnected(world);
    expect(world.alice.has('lost') || world.bob.has('lost')).toBe(false);
    // A check and an answer each way in four seconds, not more.
    expect(world.alice.sentPackets + world.bob.sentPackets - before).toBeLessThanOrEqual(4 * 76);
  });

  it.each(SEEDS)('follows a friend whose router gets another address (seed %i)', (seed) => {
    const world = twoHomes(PORT_RESTRICTED, 'EIM, endpoint-independent filtering', seed);
    const { alice, bob, network } = world;
    introduce(world);
    network.runUntil(10_000);
    alice.site.nat?.restart('203.0.113.99');
    network.reroute(alice.site);
    network.runUntil(30_000);
    expectConnected(world);
    expect(bob.agent?.selected()).toMatchObject({
      kind: 'prflx',
      remote: { host: '203.0.113.99' },
    });
  });

  it.each(SEEDS)('is lost 6.5 s after the last answer, and found again (seed %i)', (seed) => {
    const world = twoHomes(PORT_RESTRICTED, 'masquerade', seed);
    const { alice, bob, network } = world;
    introduce(world);
    network.runUntil(10_000);
    network.tap = () => false;
    network.runUntil(18_000);
    for (const peer of [alice, bob]) {
      expect(peer.firstAt('lost')).toBeGreaterThan(11_500);
      expect(peer.firstAt('lost')).toBeLessThan(16_600);
      expect(peer.has('all-lost')).toBe(true);
      expect(peer.agent?.state).toBe('checking');
    }
    network.tap = () => true;
    network.runUntil(30_000);
    expectConnected(world);
  });

  it.each(SEEDS)('that an outage of a minute has ended comes back by itself (seed %i)', (seed) => {
    const world = twoHomes(
      'EIM, address-dependent filtering',
      seed % 2 === 0 ? 'symmetric, random ports' : PORT_RESTRICTED,
      seed,
    );
    const { alice, bob, network } = world;
    introduce(world);
    network.runUntil(10_000);
    network.tap = () => false;
    network.runUntil(70_000);
    expect([alice.agent?.state, bob.agent?.state]).toEqual(['failed', 'failed']);
    network.tap = () => true;
    network.runUntil(77_000);
    expectConnected(world);
  });

  it('comes back within two round trips of a network change', () => {
    const world = twoHomes(PORT_RESTRICTED, PORT_RESTRICTED, 5);
    const { alice, bob, network } = world;
    introduce(world);
    network.runUntil(10_000);
    network.tap = () => false;
    network.runUntil(40_000);
    expect([alice.agent?.state, bob.agent?.state]).toEqual(['failed', 'failed']);
    network.tap = () => true;
    alice.step({ type: 'network-changed' });
    bob.step({ type: 'network-changed' });
    network.runUntil(40_200);
    expectConnected(world);
  });
});

describe('what an agent sends on a selected path', () => {
  it.each(SEEDS)('the friend takes for a path of the same class (seed %i)', (seed) => {
    const world = seed % 2 === 0 ? oneHome(seed) : twoHomes(PORT_RESTRICTED, 'masquerade', seed);
    const { alice, bob, network } = world;
    let accepted = 0;
    const refused: string[] = [];
    // A word a side every 10 ms from the moment it has a path, in an order that packets may change.
    const talk = (from: SimulatedPeer): void => {
      const path = from.agent?.selected();
      if (path !== undefined) from.send(Buffer.from(path.pathClass), path.remote);
      network.after(10, () => talk(from));
    };
    const listen = (to: SimulatedPeer): void => {
      to.onWord = (word, from: Address) => {
        const isKnown = to.agent?.classOf(from) === word;
        if (isKnown) accepted++;
        else refused.push(`${network.now} ${word} from ${formatAddress(from)}`);
      };
    };
    [alice, bob].forEach(listen);
    introduce(world);
    network.after(0, () => talk(alice));
    network.after(0, () => talk(bob));
    network.runUntil(10_000);
    expectConnected(world);
    expect(accepted).toBeGreaterThan(1700);
    // Only what overtook the very answer that would have made it welcome.
    expect(refused.length, refused.join('\n')).toBeLessThanOrEqual(1);
  });
});

describe('punching', () => {
  it('goes on after the first packet received, until the friend is heard as well', () => {
    // An earlier program stopped at the first packet, which left the other side's hole shut.
    const world = twoHomes('public', PORT_RESTRICTED, 3);
    const { alice, bob, network } = world;
    introduce(world, 0);
    network.tap = (from) => network.now > 1500 || !alice.addresses.includes(from);
    network.runUntil(1500);
    expect(alice.agent?.ignored.foreign).toBe(0);
    expect(bob.agent?.selected()).toBeUndefined();
    network.runUntil(5000);
    expectConnected(world);
  });

  it('takes notice of packets from unexpected ports', () => {
    // An earlier program threw them away. Bob's router uses another port for each remote address.
    const world = twoHomes('EIM, address-dependent filtering', 'symmetric, random ports', 4);
    introduce(world);
    world.network.runUntil(5000);
    expectConnected(world);
    expect(world.alice.agent?.selected()?.kind).toBe('prflx');
    expect(world.bob.agent?.selected()?.kind).toBe('srflx');
  });

  it('crosses a Linux router whose port an early packet has taken, if the friend’s lets it', () => {
    const seeds = SEEDS.map((seed) => {
      const world = twoHomes('EIM, address-dependent filtering', 'masquerade, early', seed);
      introduce(world, 1000);
      world.network.runUntil(15_000);
      return world;
    });
    seeds.forEach((world, index) => expectConnected(world, `seed ${index + 1}`));
    expect(seeds.some(({ alice }) => alice.agent?.selected()?.kind === 'prflx')).toBe(true);
  });
});

describe('a third party', () => {
  const MALLORY: Address = { host: '203.0.113.66', port: 6666 };

  it.each(SEEDS)(
    'that sees and sends everything but knows no password gains nothing (seed %i)',
    (seed) => {
      const world = twoHomes('public', 'EIM, endpoint-independent filtering', seed, 0.1);
      const { alice, bob, network, random } = world;
      const site: Site = { nat: undefined, delayMs: 5 };
      let received = 0;
      let sent = 0;
      network.attach(MALLORY, site, (datagram) => (received += datagram.length));
      const forge = (datagram: Uint8Array, to: Address): void => {
        sent += datagram.length;
        network.send(MALLORY, site, to, datagram);
      };
      network.tap = (from, to, datagram) => {
        if (from === MALLORY) return true;
        const copy = datagram.slice();
        network.after(1, () => {
          // Replayed to its receiver, reflected to its sender, and with a bit flipped to both.
          const back = network.publicAddressOf(
            from,
            from.host.startsWith('192') ? bob.site : alice.site,
            to,
          );
          const flipped = copy.slice();
          const bit = random.below(flipped.length * 8);
          flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          for (const forged of [copy, flipped]) {
            forge(forged, to);
            forge(forged, back);
          }
        });
        return true;
      };
      introduce(world);
      network.runUntil(12_000);
      expectConnected(world);
      expect(sent).toBeGreaterThan(10_000);
      expect(received).toBeLessThanOrEqual(sent);
      for (const peer of [alice, bob]) {
        const ignored = peer.agent?.ignored;
        expect(peer.agent?.paths.map(({ remote }) => remote.host)).not.toContain(MALLORY.host);
        expect((ignored?.replayed ?? 0) + (ignored?.stale ?? 0)).toBeGreaterThan(0);
        expect(ignored?.reflected).toBeGreaterThan(0);
      }
    },
  );

  it('that replays checks before the friend’s own arrive gets no more than it sends', () => {
    const world = twoHomes('public', 'public', 1);
    const { alice, bob, network } = world;
    const site: Site = { nat: undefined, delayMs: 0 };
    const bytes = new Map<string, { sent: number; received: number }>();
    let port = 10_000;
    network.tap = (from, to, datagram) => {
      const message = parseStun(datagram);
      const isCheck = message?.kind === 'request' && bob.addresses.includes(from);
      if (!isCheck) return true;
      // Each from a port of its own, as if to make Alice check a whole network.
      const source: Address = { host: MALLORY.host, port: ++port };
      const count = { sent: datagram.length, received: 0 };
      bytes.set(formatAddress(source), count);
      network.attach(source, site, (answer) => (count.received += answer.length));
      const copy = datagram.slice();
      network.after(0, () => network.send(source, site, to, copy));
      return false;
    };
    introduce(world, 0);
    network.runUntil(15_000);
    expect(bytes.size).toBeGreaterThan(10);
    for (const [source, { sent, received }] of bytes) {
      expect(received, source).toBeLessThanOrEqual(sent);
    }
    expect([...bytes.values()].some(({ received }) => received > 0)).toBe(true);
    expect(alice.agent?.paths.map(({ remote }) => remote.host)).not.toContain(MALLORY.host);
  });
});
