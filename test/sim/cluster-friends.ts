import { sessionFromWire, sessionToWire } from '../../src/rendezvous/session-order.ts';
import type { MatchFound } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import type { Network } from './cluster-network.ts';
import { keyed, type Person, type SimPeer } from './cluster-peer.ts';
import type { Who } from './link-process.ts';
import { World as LinkWorld } from './link-world.ts';

/** The connections of friends who were told of each other: a world of its own for each pair. */
export class Friends {
  readonly #network: Network;
  readonly #askAgain: (session: string, friend: string) => void;
  readonly #pairs = new Map<string, { readonly world: LinkWorld; readonly people: string[] }>();

  /** @param askAgain has the peer of this session wish for its friend once more. */
  constructor(network: Network, askAgain: (session: string, friend: string) => void) {
    this.#network = network;
    this.#askAgain = askAgain;
  }

  part(a: string, b: string): void {
    for (const pair of this.#pairs.values()) {
      if (pair.people.includes(a) && pair.people.includes(b)) pair.world.breakNetwork();
    }
  }

  heal(): void {
    for (const { world } of this.#pairs.values()) world.healNetwork();
  }

  /** Whether the two have exactly one connection, the same on both sides. */
  connected(a: SimPeer, b: SimPeer): boolean {
    const [one, other] = keyed(a.person) < keyed(b.person) ? [a, b] : [b, a];
    const sessions = [sessionToWire(one.session), sessionToWire(other.session)] as const;
    return this.#pairs.get(pairOf(a.person, b.person))?.world.settledBetween(sessions) === true;
  }

  gone(peer: SimPeer, silently: boolean): void {
    const session = sessionToWire(peer.session);
    for (const { world } of this.#pairs.values()) {
      for (const who of [0, 1] as const) world.end(who, session, !silently);
    }
  }

  /** The peer is told of its friend. */
  link(peer: SimPeer, friend: SimPeer, match: MatchFound): void {
    const { friendEndpoint: endpoint, friendSession: session, friendWasWaiting } = match;
    if (endpoint === undefined || session === undefined) return;
    const pair = pairOf(peer.person, friend.person);
    let world = this.#pairs.get(pair)?.world;
    if (world === undefined) {
      const people = [peer.person, friend.person];
      const [one, other] = people.toSorted((a, b) => (keyed(a) < keyed(b) ? -1 : 1)) as [
        Person,
        Person,
      ];
      world = this.#newPair([one, other]);
      this.#pairs.set(pair, { world, people: [one.host, other.host] });
      if (!this.#network.reachable(one.host, other.host)) world.breakNetwork();
    }
    const who: Who = keyed(peer.person) < keyed(friend.person) ? 0 : 1;
    const own = sessionToWire(peer.session);
    world.matched(who, own, { session, key: match.friendKey, endpoint, friendWasWaiting });
  }

  #newPair(people: readonly [Person, Person]): LinkWorld {
    return new LinkWorld(this.#network.random, {
      swift: false,
      cluster: {
        clock: this.#network.clock,
        fingerprints: [Buffer.from(people[0].key, 'hex'), Buffer.from(people[1].key, 'hex')],
        note: (text) => this.#network.say(`  ${people.map(({ name }) => name).join('+')} ${text}`),
        renewWish: (who, session) => {
          this.#askAgain(sessionFromWire(session) ?? '', people[who === 0 ? 1 : 0].name);
        },
      },
    });
  }
}

function pairOf(a: Person, b: Person): string {
  return [keyed(a), keyed(b)].sort().join(' ');
}
