import { expect } from 'vitest';
import {
  type Address,
  familyOf,
  formatAddress,
  sameAddress,
  scopeOf,
} from '../../src/base/address.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import {
  admitFromPeer,
  type Candidate,
  type Credentials,
  discloseCandidates,
  isOnLoopback,
  parseStun,
  PathAgent,
  type PathEffect,
  type PathInput,
} from '../../src/path/index.ts';
import { relayAddress } from '../../src/path/relay-address.ts';
import { Nat, type NatBehaviour, SimulatedNetwork, type Site } from './nat-network.ts';

/** Where servers are: all that is known of them here is what they see. */
const SERVER: Address = { host: '198.51.100.1', port: 4433 };

/** What a peer has of a relay. */
interface RelayUse {
  send(datagram: Uint8Array): void;
  receive(datagram: Uint8Array, from: Address): void;
  /** The agent may have chosen another path. */
  update(): void;
}

/** A peer on the simulated network: the thinnest of shells around an agent. */
export class SimulatedPeer {
  readonly credentials: Credentials;
  readonly events: { readonly at: number; readonly effect: PathEffect }[] = [];
  agent: PathAgent | undefined;
  relay: RelayUse | undefined;
  /** Is told of what is no STUN. */
  onWord: (word: string, from: Address) => void = () => undefined;
  sentPackets = 0;
  readonly addresses: readonly Address[];
  readonly site: Site;
  readonly #network: SimulatedNetwork;
  readonly #random: Random;
  #alarm = 0;

  constructor(
    name: string,
    network: SimulatedNetwork,
    site: Site,
    addresses: readonly Address[],
    random: Random,
  ) {
    this.credentials = { ufrag: `${name}frag1234`, password: `${name}-password-of-22-characters` };
    this.addresses = addresses;
    this.site = site;
    this.#network = network;
    this.#random = random;
    for (const address of addresses) {
      network.attach(address, site, (datagram, from) => this.#receive(datagram, from));
    }
  }

  /** What servers know of it: each family's first address is observed, as the server sees it. */
  candidates(): Candidate[] {
    const hosts = this.addresses.map((address): Candidate => ({ kind: 'host', address }));
    return admitFromPeer(hosts, this.#observed());
  }

  #observed(): Address[] {
    const firsts = ([4, 6] as const).map((wanted) =>
      this.addresses.find((address) => familyOf(address) === wanted),
    );
    return firsts
      .filter((address) => address !== undefined)
      .map((address) =>
        scopeOf(address.host) === 'loopback'
          ? address
          : this.#network.publicAddressOf(address, this.site, SERVER),
      );
  }

  meet(friend: SimulatedPeer): void {
    const own = this.candidates();
    const told = discloseCandidates(friend.candidates(), isOnLoopback(own));
    this.agent = new PathAgent(
      {
        local: this.credentials,
        remote: friend.credentials,
        remoteCandidates: told,
        families: new Set(this.addresses.map(familyOf)),
        onLoopback: isOnLoopback(own),
        controlling: this.credentials.ufrag < friend.credentials.ufrag,
        random: this.#random,
      },
      this.#network.now,
    );
    this.step({ type: 'tick' });
  }

  step(input: PathInput): void {
    const { agent } = this;
    if (agent === undefined) return;
    const effects = agent.step(input, this.#network.now);
    for (const effect of effects) {
      if (effect.type === 'send') this.#transmit(effect.datagram, effect.remote);
      else this.events.push({ at: this.#network.now, effect });
    }
    const deadline = agent.nextDeadline();
    const alarm = ++this.#alarm;
    if (deadline === undefined) return;
    if (deadline < this.#network.now) throw new Error('a deadline that has passed was not met');
    this.#network.after(deadline - this.#network.now, () => {
      if (alarm === this.#alarm) this.step({ type: 'tick' });
    });
    this.relay?.update();
  }

  #transmit(datagram: Uint8Array, remote: Address): void {
    if (sameAddress(remote, relayAddress(0))) this.relay?.send(datagram);
    else this.send(datagram, remote);
  }

  send(datagram: Uint8Array, remote: Address): void {
    this.sentPackets++;
    const source = this.#sourceFor(remote);
    if (source !== undefined) this.#network.send(source, this.site, remote, datagram);
  }

  has(type: PathEffect['type']): boolean {
    return this.events.some(({ effect }) => effect.type === type);
  }

  firstAt(type: PathEffect['type']): number {
    return this.events.find(({ effect }) => effect.type === type)?.at ?? Infinity;
  }

  // An unbound socket: the computer sends from its first address of the family and the scope, or
  // else of the family, but to itself only from itself.
  #sourceFor(remote: Address): Address | undefined {
    const family = this.addresses.filter((address) => familyOf(address) === familyOf(remote));
    const isLoopback = (address: Address): boolean => scopeOf(address.host) === 'loopback';
    return (
      family.find((address) => scopeOf(address.host) === scopeOf(remote.host)) ??
      family.find((address) => isLoopback(address) === isLoopback(remote))
    );
  }

  #receive(datagram: Uint8Array, from: Address): void {
    const message = parseStun(datagram);
    if (datagram[0] === 0x0c) this.relay?.receive(datagram, from);
    else if (message !== undefined) this.step({ type: 'stun', message, remote: from });
    else this.onWord(Buffer.from(datagram).toString(), from);
    // As a socket's buffer is used again: nothing may hold on to it.
    datagram.fill(0);
  }
}

const EIM = { mapping: 'endpoint-independent', ports: 'random' } as const;
/** The routers that pairs of peers are tried behind. */
export const ROUTERS: Readonly<Record<string, NatBehaviour | undefined>> = {
  public: undefined,
  'EIM, endpoint-independent filtering': { ...EIM, filtering: 'endpoint-independent' },
  'EIM, address-dependent filtering': { ...EIM, filtering: 'address-dependent' },
  'EIM, address-and-port-dependent filtering': { ...EIM, filtering: 'address-and-port-dependent' },
  masquerade: {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'preserving',
  },
  'masquerade, early': {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'preserving',
    earlyPacketsTakePorts: true,
  },
  'symmetric, sequential ports': {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'sequential',
  },
  'symmetric, random ports': {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'random',
  },
};

export interface World {
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly alice: SimulatedPeer;
  readonly bob: SimulatedPeer;
}

function siteOf(name: string, publicHost: string, random: Random): Site {
  const behaviour = ROUTERS[name];
  const nat = behaviour === undefined ? undefined : new Nat(publicHost, behaviour, random);
  return { nat, delayMs: 20 };
}

/** Two peers at home behind two routers, both homes with the same subnet as so often. */
export function twoHomes(a: string, b: string, seed: number, loss = 0): World {
  const random = seededRandom(seed);
  const network = new SimulatedNetwork({ random, loss, jitterMs: 4 });
  const home = (name: string, letter: string, publicHost: string, last: number): SimulatedPeer => {
    const site = siteOf(name, publicHost, random);
    const host = site.nat === undefined ? publicHost : `192.168.1.${last}`;
    return new SimulatedPeer(letter, network, site, [{ host, port: 40_000 + last }], random);
  };
  const alice = home(a, 'a', '203.0.113.10', 2);
  const bob = home(b, 'b', '203.0.113.20', 3);
  return { random, network, alice, bob };
}

/** Both are told of each other, the second a little later. */
export function introduce({ network, alice, bob, random }: World, skewMs = 400): void {
  const [first, second] = random.below(2) === 0 ? [alice, bob] : [bob, alice];
  network.after(0, () => first.meet(second));
  network.after(random.fraction() * skewMs, () => second.meet(first));
}

/** Whether both use one pair: each sends to the address that it sees the other send from. */
export function useOnePair({ alice, bob }: World): boolean {
  const [a, b] = [alice.agent?.selected(), bob.agent?.selected()];
  if (a?.observed === undefined || b?.observed === undefined) return false;
  return sameAddress(a.remote, b.observed) && sameAddress(b.remote, a.observed);
}

/** Both have a path that both have checked, and it is the same one. */
export function expectConnected(world: World, why = ''): void {
  const { alice, bob } = world;
  expect([alice.agent?.state, bob.agent?.state], why).toEqual(['connected', 'connected']);
  const [a, b] = [alice.agent?.selected(), bob.agent?.selected()];
  expect(a?.checkedAt, why).toBeDefined();
  expect(b?.checkedAt, why).toBeDefined();
  expect(a?.pathClass, why).toBe(b?.pathClass);
  const [forth, back] = [a, b].map((path) => path && formatAddress(path.remote));
  expect(useOnePair(world), `${why}: one pair, but ${forth} and ${back}`).toBe(true);
}
