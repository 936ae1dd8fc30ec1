import type { NetworkInterfaceInfo } from 'node:os';
import { type Address, familyOf, formatAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { compareBytes } from '../base/identity.ts';
import type { Random } from '../base/random.ts';
import {
  type Candidate,
  encodeServerProbe,
  gatherHostCandidates,
  PathAgent,
  parseStun,
  readRelayFrame,
  readServerAnswer,
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
import { addressFromWire, addressToWire } from '../rpc/wire-address.ts';
import { FriendPath, type FriendPathEvents } from './friend-path.ts';
import { HeldChecks } from './held-checks.ts';
import type { Match, RelayOffer } from './match.ts';
import type { RelayRoute } from './relay-client.ts';

/** A server that has not answered a probe after these many milliseconds will not. */
const PROBE_AT_MS = [0, 100, 300, 700] as const;
const PROBE_GIVE_UP_MS = 1_500;
/** Bytes behind our ICE user name fragment and password (RFC 8445 §5.3 asks for 24 and 128 bits). */
const UFRAG_BYTES = 9;
const PASSWORD_BYTES = 18;

type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>;

interface Probe {
  readonly remote: Address;
  readonly transactionId: Uint8Array;
  answered(observation: ServerObservation): void;
}

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
  readonly #held: HeldChecks;
  readonly #probes = new Set<Probe>();

  constructor(options: {
    readonly endpoint: QuicEndpoint;
    readonly clock: Clock;
    readonly random: Random;
    /** Of our key: with the friend's it tells which side selects the path that both use. */
    readonly ownFingerprint: Uint8Array;
    /** No byte may go over a relay. */
    readonly relayRefused?: boolean;
  }) {
    this.#endpoint = options.endpoint;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#ownFingerprint = options.ownFingerprint;
    this.#relayRefused = options.relayRefused ?? false;
    this.#held = new HeldChecks(options.clock);
    this.#ufrag = this.#token(UFRAG_BYTES);
    this.#password = this.#token(PASSWORD_BYTES);
    this.#endpoint.onStun = (datagram, remote) => this.#receive(datagram, remote);
    this.#endpoint.onRelay = (datagram, remote) => this.receiveRelay(datagram, remote, false);
  }

  /** Every address of this computer, with the ports of our sockets. */
  hostAddresses(interfaces: Interfaces): readonly Address[] {
    return this.#hostCandidates(interfaces).map(({ address }) => address);
  }

  /** What servers are told of where this peer can be reached; they add what they observe. */
  ownEndpoint(interfaces: Interfaces): Endpoint {
    const candidates = this.#hostCandidates(interfaces).map(({ address }) => ({
      kind: CandidateKind.CANDIDATE_KIND_HOST,
      address: addressToWire(address),
    }));
    return {
      candidates,
      ufrag: this.#ufrag,
      password: this.#password,
      relayRefused: this.#relayRefused,
    };
  }

  /** Starts checking paths to the session of a match. */
  punch(
    match: Match,
    options: {
      readonly onLoopback: boolean;
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
        onLoopback: options.onLoopback,
        random: this.#random,
      },
      this.#clock.now(),
    );
    const path = new FriendPath({
      agent,
      clock: this.#clock,
      send: (datagram, remote) => this.#endpoint.send(datagram, remote),
      routesTo: (offer) => options.routesTo?.(offer) ?? [],
      deliver: (datagram, carrier) => this.#endpoint.deliver(datagram, 'relay', carrier),
      events: options.events,
      onClose: () => this.#paths.delete(path),
    });
    this.#paths.set(path, ufrag);
    for (const { message, remote } of this.#held.take(`${this.#ufrag}:${ufrag}`)) {
      path.step({ type: 'stun', message, remote });
    }
    if (!this.#relayRefused) path.relays.offer(match.relays ?? []);
    return path;
  }

  merge(path: FriendPath, endpoint: Endpoint, relays?: readonly RelayOffer[]): void {
    if (this.#paths.has(path)) this.#paths.set(path, endpoint.ufrag);
    path.step({
      type: 'remote-candidates',
      candidates: candidatesOf(endpoint),
      credentials: { ufrag: endpoint.ufrag, password: endpoint.password },
    });
    if (!this.#relayRefused && relays !== undefined) path.relays.offer(relays);
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
    const transactionId = this.#random.bytes(12);
    const datagram = encodeServerProbe(transactionId);
    return new Promise((resolve) => {
      const timers: Timer[] = [];
      const done = (observation: ServerObservation | undefined): void => {
        for (const timer of timers) timer.cancel();
        this.#probes.delete(probe);
        resolve(observation);
      };
      const probe: Probe = { remote, transactionId, answered: done };
      this.#probes.add(probe);
      for (const atMs of PROBE_AT_MS) {
        timers.push(this.#clock.setTimer(atMs, () => this.#endpoint.send(datagram, remote)));
      }
      timers.push(this.#clock.setTimer(PROBE_GIVE_UP_MS, () => done(undefined)));
    });
  }

  close(): void {
    for (const path of [...this.#paths.keys()]) path.close();
    this.#endpoint.onStun = undefined;
    this.#endpoint.onRelay = undefined;
  }

  #receive(datagram: Uint8Array, remote: Address): void {
    const message = parseStun(datagram);
    if (message === undefined) return;
    for (const probe of this.#probes) {
      if (formatAddress(probe.remote) !== formatAddress(remote)) continue;
      const observation = readServerAnswer(message, probe.transactionId);
      if (observation !== undefined) {
        probe.answered(observation);
        return;
      }
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

  #hostCandidates(interfaces: Interfaces): readonly Candidate[] {
    const portOf = (family: 4 | 6): number | undefined =>
      this.#endpoint.addresses.find((address) => familyOf(address) === family)?.port;
    return gatherHostCandidates(interfaces, { 4: portOf(4), 6: portOf(6) });
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

/** What the wire says, without what is no candidate; the agent applies the rules. */
function candidatesOf(endpoint: Endpoint): Candidate[] {
  return endpoint.candidates.flatMap((wire): Candidate[] => {
    const address = addressFromWire(wire.address);
    const kind = KINDS.get(wire.kind);
    return address === undefined || kind === undefined ? [] : [{ kind, address }];
  });
}
