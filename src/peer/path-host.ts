import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { type Address, familyOf, scopeOf } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { compareBytes } from '../base/identity.ts';
import type { Random } from '../base/random.ts';
import {
  type Candidate,
  gatherHostCandidates,
  GuessTurn,
  type NatReport,
  PathAgent,
  parseStun,
  PortGuess,
  readRelayFrame,
  Reopening,
  type ServerObservation,
  type StunMessage,
  usernameOf,
} from '../path/index.ts';
import type { QuicEndpoint } from '../quic/index.ts';
import {
  type Candidate as WireCandidate,
  CandidateKind,
} from '../rpc/generated/chatty/v1/common.ts';
import type { Endpoint } from '../rpc/generated/chatty/v1/common.ts';
import { compareSessions } from '../rpc/session-id.ts';
import { addressFromWire, addressToWire } from '../rpc/wire-address.ts';
import { FriendPath, type FriendPathEvents } from './friend-path.ts';
import { HeldChecks } from './held-checks.ts';
import type { Match, RelayOffer } from './match.ts';
import { NatObserver } from './nat-observer.ts';
import { guessTargetOf, natReportToWire } from './nat-report.ts';
import { type NetworkSide, type Obstacle, obstacleBetween } from './obstacle.ts';
import { PathReopener } from './path-reopener.ts';
import { PortGuesser } from './port-guesser.ts';
import type { RelayRoute } from './relay-client.ts';
import { ServerProbes } from './server-probes.ts';

/** Bytes behind our ICE user name fragment and password (RFC 8445 §5.3 asks for 24 and 128 bits). */
const UFRAG_BYTES = 9;
const PASSWORD_BYTES = 18;
/** Friends that a second way in is open for at a time; each is a candidate to all. */
const MAX_REOPENED = 4;

type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>;

/**
 * What all paths of a peer share: its ICE credentials, its candidates, and the one handler of STUN
 * datagrams, which finds out whose each is.
 */
export class PathHost {
  readonly #endpoint: QuicEndpoint;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #ownFingerprint: Uint8Array;
  readonly #relayRefused: boolean;
  readonly #ufrag: string;
  readonly #password: string;
  /** With the friend's user name fragment. */
  readonly #paths = new Map<FriendPath, string>();
  /** The sessions that paths lead to. */
  readonly #matches = new Map<FriendPath, Match>();
  readonly #held: HeldChecks;
  readonly #probes: ServerProbes;
  /** What our own NAT does. */
  readonly nat: NatObserver;
  readonly #natReported: () => void;
  readonly #turn = new GuessTurn();
  /** A port of our router that leads to ours; servers take it where they see us at its IP address. */
  mapped: Address | undefined;

  constructor(options: {
    readonly endpoint: QuicEndpoint;
    readonly clock: Clock;
    readonly random: Random;
    /** Of our key: with the friend's it tells which side selects the path that both use. */
    readonly ownFingerprint: Uint8Array;
    /** No byte may go over a relay. */
    readonly relayRefused?: boolean;
    /** What is said of our NAT, or of where we are behind it, has changed: friends are to be told. */
    natReported?(): void;
  }) {
    this.#endpoint = options.endpoint;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#ownFingerprint = options.ownFingerprint;
    this.#relayRefused = options.relayRefused ?? false;
    this.#natReported = () => options.natReported?.();
    this.#held = new HeldChecks(options.clock);
    this.#ufrag = this.#token(UFRAG_BYTES);
    this.#password = this.#token(PASSWORD_BYTES);
    this.#probes = new ServerProbes({
      clock: options.clock,
      random: options.random,
      send: (datagram, remote, local) => this.#endpoint.send(datagram, remote, local),
    });
    this.nat = new NatObserver({
      clock: options.clock,
      openSocket: () => this.#endpoint.openSocket(4),
      closeSocket: (local) => this.#endpoint.closeSocket(local),
      ask: (server, local) => this.#probes.ask(server, local),
      interfaces: () => networkInterfaces(),
      reported: (nat) => {
        for (const path of this.#paths.keys()) path.natKnown({ type: 'own-nat', nat });
        this.#natReported();
      },
    });
    this.#endpoint.onStun = (datagram, remote, local) => this.#receive(datagram, remote, local);
    this.#endpoint.onRelay = (datagram, remote) => this.receiveRelay(datagram, remote, false);
  }

  /** Every address of this computer, with the ports of our sockets. */
  hostAddresses(interfaces: Interfaces): readonly Address[] {
    const portOf = (family: 4 | 6): number | undefined =>
      this.#endpoint.addresses.find((address) => familyOf(address) === family)?.port;
    const found = gatherHostCandidates(interfaces, { 4: portOf(4), 6: portOf(6) });
    return found.map(({ address }) => address);
  }

  /** What servers are told of where this peer can be reached; they add what they observe. */
  ownEndpoint(interfaces: Interfaces): Endpoint {
    const reopened = [...this.#paths.keys()].flatMap(({ mapped }) => mapped ?? []);
    const mapped = [this.mapped ?? [], ...reopened.slice(-MAX_REOPENED)].flat();
    const candidates = [
      ...mapped.map((address) => candidateToWire(CandidateKind.CANDIDATE_KIND_MAPPED, address)),
      ...this.hostAddresses(interfaces).map((address) =>
        candidateToWire(CandidateKind.CANDIDATE_KIND_HOST, address),
      ),
    ];
    const { report } = this.nat;
    return {
      candidates,
      ...(report === undefined ? {} : { nat: natReportToWire(report) }),
      ufrag: this.#ufrag,
      password: this.#password,
      relayRefused: this.#relayRefused,
    };
  }

  /** Starts checking paths to the session of a match. */
  punch(
    match: Match,
    options: {
      readonly onLoopback: () => boolean;
      /** The ways to a relaying server, best first. */
      routesTo?(offer: RelayOffer): readonly RelayRoute[];
      readonly events: FriendPathEvents;
    },
  ): FriendPath {
    const { ufrag, password } = match.endpoint;
    const agent = new PathAgent(
      {
        local: { ufrag: this.#ufrag, password: this.#password },
        remote: { ufrag, password },
        remoteCandidates: candidatesOf(match.endpoint),
        // Exactly one of two sides (RFC 8445 §6.1.1), whichever was started first.
        controlling: compareBytes(this.#ownFingerprint, match.key) < 0,
        families: new Set(this.#endpoint.addresses.map(familyOf)),
        // That servers see us there may turn out later.
        get onLoopback() {
          return options.onLoopback();
        },
        random: this.#random,
      },
      this.#clock.now(),
    );
    const sockets = {
      clock: this.#clock,
      openSocket: () => this.#endpoint.openSocket(4),
      closeSocket: (local: Address) => this.#endpoint.closeSocket(local),
      socketClosed: (local: Address) => path.step({ type: 'socket-closed', local }),
    };
    const guesser = new PortGuesser({
      ...sockets,
      guess: new PortGuess({ turn: this.#turn, random: this.#random }, this.#clock.now()),
      check: (remote, local, short) => path.step({ type: 'guess', remote, local, short }),
      isHeardAt: (local) => agent.isHeardAt(local),
      report: () => void this.nat.renew(),
      progress: (progress) => options.events.guessing?.(progress),
    });
    const reopener = new PathReopener({
      ...sockets,
      reopening: new Reopening(this.#clock.now()),
      locate: (local) => this.nat.locate(local),
      openPort: (remote, local) => path.step({ type: 'guess', remote, local, short: true }),
      located: () => this.#natReported(),
    });
    const path: FriendPath = new FriendPath({
      agent,
      clock: this.#clock,
      send: (datagram, remote, local, hops) => this.#endpoint.send(datagram, remote, local, hops),
      guesser,
      reopener,
      routesTo: (offer) => options.routesTo?.(offer) ?? [],
      deliver: (datagram, carrier) => this.#endpoint.deliver(datagram, 'relay', carrier),
      events: options.events,
      onClose: () => {
        this.#paths.delete(path);
        this.#matches.delete(path);
      },
    });
    this.#paths.set(path, ufrag);
    for (const { message, remote } of this.#held.take(`${this.#ufrag}:${ufrag}`)) {
      path.step({ type: 'stun', message, remote });
    }
    this.#matches.set(path, match);
    path.natKnown({ type: 'own-nat', nat: this.nat.report });
    tellFriendsNat(path, match.endpoint);
    return path;
  }

  /**
   * What servers relay between us and the session of a match that there are paths to: to be told after
   * `punch`, and whenever they match it again.
   */
  relay(match: Match): void {
    if (this.#relayRefused) return;
    for (const [path] of this.#pathsTo(match)) {
      path.relays.offer(match.relays ?? []);
      path.takeFirstFlight(match.firstFlight ?? []);
    }
  }

  /** With what servers told of the session last. */
  #pathsTo({ key, session }: Match): (readonly [FriendPath, Match])[] {
    return [...this.#matches].filter(
      ([, match]) =>
        compareBytes(match.key, key) === 0 && compareSessions(match.session, session) === 0,
    );
  }

  /** Why there is no direct path to the session of a match, by what is known of it now. */
  obstacleTo(match: Match, udpBlocked: boolean): Obstacle {
    const { endpoint } = this.#pathsTo(match)[0]?.[1] ?? match;
    const isSeen = ({ kind }: Candidate): boolean => kind !== 'host';
    const candidates = candidatesOf(endpoint);
    const isPublic = candidates.some(({ address }) => scopeOf(address.host) === 'public');
    // Whom a server sees by UDP has an address that it was seen at.
    const friendIsBlocked = !candidates.some(isSeen) && !isPublic;
    return obstacleBetween(
      sideOf(udpBlocked, this.nat.report),
      sideOf(friendIsBlocked, guessTargetOf(endpoint)?.nat),
    );
  }

  merge(path: FriendPath, endpoint: Endpoint): void {
    if (this.#paths.has(path)) this.#paths.set(path, endpoint.ufrag);
    const match = this.#matches.get(path);
    if (match !== undefined) this.#matches.set(path, { ...match, endpoint });
    path.step({
      type: 'remote-candidates',
      candidates: candidatesOf(endpoint),
      credentials: { ufrag: endpoint.ufrag, password: endpoint.password },
    });
    tellFriendsNat(path, endpoint);
    path.friendMoved();
  }

  /** This computer may be on another network: what was known of it is found out anew. */
  networkChanged(): void {
    for (const path of [...this.#paths.keys()]) {
      path.step({ type: 'network-changed' });
      path.natKnown({ type: 'network-changed' });
    }
    this.nat.networkChanged();
  }

  /** Takes a relay frame that came from `source`, by tunnel or not; valid only during the call. */
  receiveRelay(datagram: Uint8Array, source: Address, tunnelled: boolean): void {
    const frame = readRelayFrame(datagram);
    if (frame === undefined) return;
    for (const { relays } of this.#paths.keys()) {
      if (relays.has(frame.channel)) relays.receive(frame, source, tunnelled);
    }
  }

  /** Asks a server under which address it sees us. Resolves to undefined where none answers. */
  observe(remote: Address): Promise<ServerObservation | undefined> {
    return this.#probes.ask(remote);
  }

  close(): void {
    for (const path of [...this.#paths.keys()]) path.close();
    this.nat.close();
    this.#endpoint.onStun = undefined;
    this.#endpoint.onRelay = undefined;
  }

  #receive(datagram: Uint8Array, remote: Address, local: Address): void {
    const message = parseStun(datagram);
    if (message === undefined) return;
    const isOwn = this.#endpoint.addresses.includes(local);
    if (this.#probes.receive(message, remote, isOwn ? undefined : local)) return;
    if (!isOwn) {
      // From where one friend's ports are guessed, only that friend is heard.
      const guessing = [...this.#paths.keys()].find((path) => path.socketOf(local) !== undefined);
      guessing?.step({ type: 'stun', message, remote, local });
      return;
    }
    // An agent takes only what is authenticated for it, so at most one of them does.
    for (const path of this.#paths.keys()) path.step({ type: 'stun', message, remote });
    if (message.kind === 'request') this.#holdEarly(message, datagram, remote);
  }

  /** Keeps a check that is for us, of a friend we have not been matched with yet. */
  #holdEarly(message: StunMessage, datagram: Uint8Array, remote: Address): void {
    const username = usernameOf(message);
    const prefix = `${this.#ufrag}:`;
    if (username?.startsWith(prefix) !== true) return;
    if ([...this.#paths.values()].includes(username.slice(prefix.length))) return;
    const kept = parseStun(Uint8Array.from(datagram));
    if (kept !== undefined) this.#held.hold(username, kept, remote);
  }

  #token(bytes: number): string {
    return Buffer.from(this.#random.bytes(bytes)).toString('base64');
  }
}

const KINDS: ReadonlyMap<WireCandidate['kind'], Candidate['kind']> = new Map([
  [CandidateKind.CANDIDATE_KIND_HOST, 'host'],
  [CandidateKind.CANDIDATE_KIND_SERVER_REFLEXIVE, 'srflx'],
  [CandidateKind.CANDIDATE_KIND_MAPPED, 'mapped'],
]);

function sideOf(udpBlocked: boolean, nat: NatReport | undefined): NetworkSide {
  const { mapping, only443 = false, lastObserved } = nat ?? {};
  return { udpBlocked, mapping, only443, outerHost: lastObserved?.host };
}

function candidateToWire(kind: WireCandidate['kind'], address: Address): WireCandidate {
  return { kind, address: addressToWire(address) };
}

function tellFriendsNat(path: FriendPath, endpoint: Endpoint): void {
  const { nat, reflexive } = guessTargetOf(endpoint) ?? {};
  path.natKnown({ type: 'friend-nat', nat, reflexive });
}

/** What the wire says, without what is no candidate; the agent applies the rules. */
function candidatesOf(endpoint: Endpoint): Candidate[] {
  return endpoint.candidates.flatMap((wire): Candidate[] => {
    const address = addressFromWire(wire.address);
    const kind = KINDS.get(wire.kind);
    return address === undefined || kind === undefined ? [] : [{ kind, address }];
  });
}
