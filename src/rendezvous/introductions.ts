import type {
  FirstFlight as WireFlight,
  RelayOffer,
  ServerToPeer,
} from '../rpc/generated/chatty/v1/rendezvous.ts';
import { type FirstFlight, FirstFlights, flightFromWire } from './first-flights.ts';
import type { Introducer } from './introducer.ts';
import type { Match } from './matching.ts';
import type { RecordKey } from './record.ts';
import { endpointToWire } from './record-codec.ts';
import type { RelayServers } from './relay-servers.ts';
import { sessionToWire } from './session-order.ts';

export type IntroductionEffect =
  | { readonly type: 'send'; readonly connection: number; readonly frame: ServerToPeer }
  /** The peer is told of a friend: from now on the two may be relayed. */
  | {
      readonly type: 'relay';
      readonly connection: number;
      readonly own: RecordKey;
      readonly friend: RecordKey;
    }
  /** The first flight of a peer here, for a friend who is registered with these servers. */
  | {
      readonly type: 'pass';
      readonly servers: readonly string[];
      readonly from: RecordKey;
      readonly flight: FirstFlight;
    };

export interface IntroductionsOptions {
  readonly serverId: string;
  readonly introducer: Introducer;
  /** Default: nobody relays. */
  readonly relays?: RelayServers;
  readonly connectionOf: (registration: number) => number | undefined;
}

/**
 * What peers here are told of their friends: where they are, who relays between the two, and what the
 * friend has sent ahead. All instants are on the monotonic clock.
 */
export class Introductions {
  readonly #options: IntroductionsOptions;
  readonly #flights = new FirstFlights();

  constructor(options: IntroductionsOptions) {
    this.#options = options;
  }

  /** A peer here sends something ahead, before it is told of the friend. */
  keep(from: RecordKey, wire: WireFlight | undefined, now: number): void {
    const { relays, serverId } = this.#options;
    // It goes by way of a server: not of one that does not relay.
    const flight = relays?.canRelay(serverId) === true ? flightFromWire(wire) : undefined;
    if (flight !== undefined) this.#flights.keep(from, flight, now);
  }

  /** Another server passes on what a peer that is registered there sends ahead. */
  passed(
    server: string,
    from: RecordKey,
    flight: FirstFlight,
    now: number,
  ): readonly IntroductionEffect[] {
    if (!this.#options.introducer.ownersOf(from).includes(server)) return [];
    this.#flights.keep(from, flight, now);
    // Unless the friend was told of the peer already, it comes with the match.
    return this.remind(from, flight.friend, now);
  }

  /** Tells a peer of a friend, with what the friend has sent ahead, and passes on what it has itself. */
  tell(registration: number, match: Match, now: number): readonly IntroductionEffect[] {
    const { introducer, relays, serverId } = this.#options;
    const connection = this.#options.connectionOf(registration);
    if (connection === undefined) return [];
    const own = introducer.recordOf(registration);
    const friend = { name: match.friend, key: match.friendKey, session: match.friendSession };
    const offers = own === undefined ? [] : (relays?.offers(match.relays, own, friend) ?? []);
    const ahead = own === undefined ? [] : this.#flights.take(friend, own.name, now);
    if (own === undefined || offers.length === 0) {
      return [{ type: 'send', connection, frame: matchFrame(match, [], []) }];
    }
    const effects: IntroductionEffect[] = [
      { type: 'relay', connection, own, friend },
      { type: 'send', connection, frame: matchFrame(match, offers, ahead) },
    ];
    const servers = introducer.ownersOf(friend);
    if (servers.includes(serverId)) return effects;
    const datagrams = this.#flights.take(own, friend.name, now);
    if (datagrams.length > 0) {
      const { name, key, session } = own;
      const flight = { friend: friend.name, datagrams };
      effects.push({ type: 'pass', servers, from: { name, key, session }, flight });
    }
    return effects;
  }

  /** Tells a friend here once more of `from`, whose first flight came too late for the match. */
  remind(from: RecordKey, friend: string, now: number): readonly IntroductionEffect[] {
    if (!this.#flights.holds(from, friend, now)) return [];
    const told = this.#options.introducer.introducedTo(from, friend);
    return told === undefined ? [] : this.tell(told.registration, told.match, now);
  }
}

function matchFrame(
  match: Match,
  relays: RelayOffer[],
  firstFlight: readonly Buffer[],
): ServerToPeer {
  return {
    kind: {
      $case: 'match',
      value: {
        friend: match.friend,
        friendKey: Buffer.from(match.friendKey, 'hex'),
        friendSession: sessionToWire(match.friendSession),
        friendEndpoint: endpointToWire(match.friendEndpoint),
        friendWasWaiting: match.friendWasWaiting,
        ownSession: sessionToWire(match.ownSession),
        relays,
        friendFirstFlight: [...firstFlight],
      },
    },
  };
}
