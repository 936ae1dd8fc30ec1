import { formatAddress } from '../../src/base/address.ts';
import type { Timer } from '../../src/base/clock.ts';
import type { ServerPool, ServerPoolInput } from '../../src/peer/server-pool.ts';
import type { Wish } from '../../src/rendezvous/record.ts';
import { endpointToWire, wishToWire } from '../../src/rendezvous/record-codec.ts';
import { sessionToWire } from '../../src/rendezvous/session-order.ts';
import type { Server } from '../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import {
  type MatchFound,
  PeerToServer,
  ServerToPeer,
} from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import { addressesFromWire, addressToWire } from '../../src/rpc/wire-address.ts';
import type { Network } from './cluster-network.ts';
import type { Parts } from './cluster-parts.ts';
import { Program } from './cluster-program.ts';
import { SimServer } from './cluster-server.ts';
import type { WireEnd } from './cluster-wire.ts';

/** As `Registration` and `Discovery` have them. */
const ANSWER_MS = 3_000;
const DISCOVER_WITHIN_MS = 5_000;

/** What the world wants to know of its peers. */
export interface PeerWatch {
  balancers(): readonly string[];
  told(peer: SimPeer, match: MatchFound): void;
  /** A registration that stood since then is over. */
  unregistered(peer: SimPeer, server: string, since: number): void;
  /** It has left, or (`silently`) crashed with its computer. */
  gone(peer: SimPeer, silently: boolean): void;
}

interface Registration {
  readonly id: string;
  end: WireEnd | undefined;
  /** When the server's welcome came. */
  standingSince: number | undefined;
  timer: Timer | undefined;
  over: boolean;
}

/** Who a peer is: what outlives one run of its program. */
export interface Person {
  readonly name: string;
  readonly key: string;
  readonly host: string;
}

/** One run of a peer's program: its server pool and the registrations that this decides on. */
export class SimPeer extends Program {
  readonly person: Person;
  readonly session: string;
  wishes: readonly Wish[];
  /** Every wish it ever had. */
  readonly named: Wish[] = [];
  ufrag: string;
  /** When it last lost a connection of which the server does not know. */
  lostAt = -Infinity;
  /** The last match it was told of each friend. */
  readonly friends = new Map<string, MatchFound>();
  readonly #watch: PeerWatch;
  readonly #pool: ServerPool;
  readonly #registrations = new Map<string, Registration>();
  readonly #asking = new Set<string>();
  #timer: Timer | undefined;
  #leaving = false;

  constructor(
    network: Network,
    options: {
      readonly label: string;
      readonly person: Person;
      readonly startNumber: number;
      readonly wishes: readonly Wish[];
      readonly parts: Parts;
      readonly watch: PeerWatch;
    },
  ) {
    const { label, person, startNumber, wishes, parts, watch } = options;
    super(network, label, person.host);
    this.person = person;
    this.session = startNumber.toString(16).padStart(16, '0') + '0'.repeat(32);
    this.ufrag = `frag${startNumber}`;
    this.wishes = wishes;
    this.named.push(...wishes);
    this.#watch = watch;
    this.#pool = parts.pool(network.random);
    this.say(`COMES, wishes ${wishes.map(wishText).join(', ')}`);
    this.#step({ type: 'servers', servers: [] });
  }

  /** Ids of the servers that have welcomed it. */
  get registeredOn(): readonly string[] {
    return [...this.#registrations.values()]
      .filter(({ standingSince }) => standingSince !== undefined)
      .map(({ id }) => id);
  }

  registeredSince(server: string): number | undefined {
    return this.#registrations.get(server)?.standingSince;
  }

  rewish(wish: Wish, withdraw: boolean): void {
    this.say(`${withdraw ? 'withdraws' : 'wishes'} ${wishText(wish)}`);
    this.wishes = this.wishes.filter(({ friend }) => friend !== wish.friend);
    if (withdraw) this.friends.delete(wish.friend);
    else {
      this.wishes = [...this.wishes, wish];
      this.named.push(wish);
    }
    this.#sendAll({ $case: 'wish', value: { wish: wishToWire(wish), withdraw } });
  }

  /** Says its wish for a friend again: it has lost the friend it was told of. */
  askAgain(friend: string): void {
    const wish = this.wishes.find((each) => each.friend === friend);
    if (wish === undefined) return;
    this.#sendAll({ $case: 'wish', value: { wish: wishToWire(wish), withdraw: false } });
  }

  /** Its credentials change. */
  move(ufrag: string): void {
    this.ufrag = ufrag;
    this.say(`has new credentials ${ufrag}`);
    this.#sendAll({ $case: 'endpoint', value: { endpoint: this.#endpoint(), stunCookies: [] } });
  }

  /** Loses one connection without the server noticing. */
  loseConnection(): void {
    const registration = [...this.#registrations.values()].find(
      ({ standingSince }) => standingSince !== undefined,
    );
    if (registration === undefined) return;
    this.say(`loses its connection to ${registration.id.slice(0, 4)}`);
    this.lostAt = this.now();
    registration.end?.drop();
    this.#ended(registration, undefined);
  }

  quit(): void {
    if (!this.alive || this.#leaving) return;
    this.say('LEAVES');
    this.#leaving = true;
    this.#timer?.cancel();
    for (const registration of [...this.#registrations.values()]) this.#leave(registration);
    this.#watch.gone(this, false);
    this.die(false);
  }

  crash(): void {
    this.say('CRASHES');
    this.#watch.gone(this, true);
    this.die(true);
  }

  #endpoint() {
    return endpointToWire({
      ...{ candidates: [], ufrag: this.ufrag, password: 'p'.repeat(24) },
      ...{ nat: undefined, relayRefused: false },
    });
  }

  #step(input: ServerPoolInput): void {
    if (!this.alive || this.#leaving) return;
    for (const effect of this.#pool.step(input, this.now())) {
      if (effect.type === 'register') this.#register(effect.server);
      else if (effect.type === 'leave') {
        const registration = this.#registrations.get(effect.id);
        if (registration !== undefined) this.#leave(registration);
      } else this.#discover();
    }
    this.#timer?.cancel();
    this.#timer = this.setTimer(this.#pool.nextDeadline() - this.now(), () =>
      this.#step({ type: 'tick' }),
    );
  }

  #discover(): void {
    for (const balancer of this.#watch.balancers()) {
      if (this.#asking.has(balancer)) continue;
      this.#asking.add(balancer);
      const request = { kind: 'get-servers' } as const;
      this.network.call(this, balancer, request, DISCOVER_WITHIN_MS, (response) => {
        this.#asking.delete(balancer);
        if (response.kind !== 'members') return;
        const servers = response.members.map(({ id, peerAddresses }): Server => ({
          id,
          addresses: peerAddresses.map(addressToWire),
          certificate: Buffer.alloc(0),
        }));
        this.#step({ type: 'servers', servers });
      });
    }
  }

  #register({ id, addresses }: Server): void {
    const [address] = addressesFromWire(addresses, 1);
    const registration: Registration = {
      ...{ id, end: undefined, standingSince: undefined, timer: undefined, over: false },
    };
    this.#registrations.set(id, registration);
    const target = address === undefined ? '' : formatAddress(address);
    this.network.open(this, target, 'quic', ANSWER_MS, {
      failed: () => this.#ended(registration, undefined),
      opened: (end) => {
        const { program } = end.other ?? {};
        // The key it was told of is the server's own.
        const right = program instanceof SimServer && program.id === id;
        if (registration.over || !right) {
          end.close();
          this.#ended(registration, undefined);
          return;
        }
        registration.end = end;
        end.onFrame = (bytes) => this.#receive(registration, bytes);
        end.onClose = () => this.#ended(registration, undefined);
        registration.timer = this.setTimer(ANSWER_MS, () => {
          end.close();
          this.#ended(registration, undefined);
        });
        this.#send(registration, {
          $case: 'hello',
          value: {
            protocol: OWN_PROTOCOL,
            name: this.person.name,
            session: sessionToWire(this.session),
            endpoint: this.#endpoint(),
            wishes: this.wishes.map(wishToWire),
            stunCookies: [],
            firstFlights: [],
          },
        });
      },
    });
  }

  #receive(registration: Registration, bytes: Uint8Array): void {
    if (registration.over || !this.alive) return;
    const { kind } = ServerToPeer.decode(bytes);
    switch (kind?.$case) {
      case 'welcome':
        registration.timer?.cancel();
        registration.standingSince = this.now();
        this.say(`is registered on ${registration.id.slice(0, 4)}`);
        this.#step({ type: 'registered', id: registration.id });
        break;
      case 'match':
        this.friends.set(kind.value.friend, kind.value);
        this.#watch.told(this, kind.value);
        break;
      case 'serverDoubt': {
        const { serverId, withinMs } = kind.value;
        const asked = this.#registrations.get(serverId)?.end;
        this.setTimer(this.network.random.below(withinMs + 1), () => asked?.ping());
        break;
      }
      case 'move':
        this.#step({ type: 'moving', id: registration.id });
        break;
      case 'error': {
        const { code, retryAfterMs } = kind.value;
        this.say(`is turned away by ${registration.id.slice(0, 4)}: ${code}`);
        // Its user is told that a newer program has taken its place, and it ends.
        if (code === 'CHATTY_REPLACED') {
          this.quit();
          break;
        }
        registration.end?.close();
        this.#ended(registration, retryAfterMs);
        break;
      }
      default:
    }
  }

  #leave(registration: Registration): void {
    this.#send(registration, { $case: 'leave', value: {} });
    registration.end?.close();
    this.#ended(registration, undefined);
  }

  #ended(registration: Registration, retryAfterMs: number | undefined): void {
    if (registration.over) return;
    registration.over = true;
    registration.timer?.cancel();
    const { id, standingSince } = registration;
    registration.standingSince = undefined;
    if (this.#registrations.get(id) === registration) this.#registrations.delete(id);
    if (standingSince !== undefined && !this.#leaving) {
      this.#watch.unregistered(this, id, standingSince);
    }
    this.#step({ type: 'failed', id, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
  }

  #sendAll(kind: NonNullable<PeerToServer['kind']>): void {
    for (const registration of this.#registrations.values()) this.#send(registration, kind);
  }

  #send(registration: Registration, kind: NonNullable<PeerToServer['kind']>): void {
    registration.end?.send(PeerToServer.encode({ kind }).finish());
  }
}

export function wishText({ friend, friendKey }: Wish): string {
  return friendKey === undefined ? friend : `${friend}=${friendKey[0] ?? ''}`;
}

/** Equal for the same person, wherever they are. */
export function keyed({ name, key }: Person): string {
  return `${name}/${key}`;
}

export function samePerson(a: Person, b: Person): boolean {
  return keyed(a) === keyed(b);
}
