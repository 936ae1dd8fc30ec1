import type { Address } from '../../src/base/address.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import {
  type Candidate,
  type Credentials,
  parseStun,
  PathAgent,
  type PathEffect,
  type PathInput,
} from '../../src/path/index.ts';
import { classifyNat, type Observation } from '../../src/path/nat-classification.ts';
import {
  type GuessProgress,
  GuessTurn,
  PortGuess,
  type PortGuessInput,
} from '../../src/path/port-guess.ts';
import type { NatReport } from '../../src/path/port-prediction.ts';
import { Reopening, type ReopeningInput } from '../../src/path/reopening.ts';
import { Nat, type NatBehaviour, SimulatedNetwork, type Site } from './nat-network.ts';

/** Servers whose word is asked: two computers, one of them at two ports. */
const SERVERS: readonly Address[] = [
  { host: '198.51.100.1', port: 4433 },
  { host: '198.51.100.2', port: 4433 },
  { host: '198.51.100.2', port: 443 },
];
/** From a peer to a server, or back. */
const SERVER_MS = 20;
/** Of the socket that everything but guesses goes through. */
const OWN_PORT = 40_000;

/** A peer that guesses ports, or opens another: shells around what decides, as thin as can be. */
class GuessingPeer {
  readonly credentials: Credentials;
  readonly site: Site;
  readonly progress: GuessProgress[] = [];
  readonly sprayed: Address[] = [];
  agent: PathAgent | undefined;
  guess: PortGuess | undefined;
  reopening: Reopening | undefined;
  /** The socket opened for it, and where servers see that. */
  reopened: { readonly socket: Address; readonly mapped: Address } | undefined;
  reopenings = 0;
  directAt = Infinity;
  sentPackets = 0;
  mostSockets = 0;
  friend: GuessingPeer | undefined;
  report: NatReport | undefined;
  readonly sockets: Address[] = [];
  readonly #own: Address;
  readonly #network: SimulatedNetwork;
  readonly #random: Random;
  readonly #turn: GuessTurn;
  #nextPort = 50_000;
  #attempt: Address[] = [];
  #alarms = 0;

  constructor(
    name: string,
    options: {
      network: SimulatedNetwork;
      site: Site;
      host: string;
      random: Random;
      turn?: GuessTurn;
    },
  ) {
    this.credentials = { ufrag: `${name}frag1234`, password: `${name}-password-of-22-characters` };
    this.#network = options.network;
    this.site = options.site;
    this.#random = options.random;
    this.#turn = options.turn ?? new GuessTurn();
    this.#own = { host: options.host, port: OWN_PORT };
    this.#attach(this.#own, undefined);
  }

  /** Where servers see the peer's own socket. */
  get reflexive(): Address {
    return this.#network.publicAddressOf(this.#own, this.site, SERVERS[0] ?? this.#own);
  }

  get candidates(): Candidate[] {
    return [
      { kind: 'srflx', address: this.reflexive },
      { kind: 'host', address: this.#own },
      ...(this.reopened === undefined
        ? []
        : [{ kind: 'mapped', address: this.reopened.mapped } as const]),
    ];
  }

  /** Its own socket has talked to a server. */
  open(): void {
    this.#network.publicAddressOf(this.#own, this.site, SERVERS[0] ?? this.#own);
  }

  /** What a fresh socket is seen as; one server is enough to know where a known NAT is now. */
  observe(): NatReport | undefined {
    const socket = { host: this.#own.host, port: this.#nextPort++ };
    const asked = this.report === undefined ? SERVERS : SERVERS.slice(0, 1);
    const observations = asked.map((server, index): Observation => {
      const mapped = this.#network.publicAddressOf(socket, this.site, server);
      return { server, mapped, at: this.#network.now + index / 10 };
    });
    const lastObserved = observations[0]?.mapped;
    return this.report === undefined || lastObserved === undefined
      ? classifyNat(observations, [socket])
      : { ...this.report, lastObserved };
  }

  meet(friend: GuessingPeer): void {
    this.friend = friend;
    const { now } = this.#network;
    this.guess = new PortGuess({ turn: this.#turn, random: this.#random }, now);
    this.reopening = new Reopening(now);
    this.agent = new PathAgent(
      {
        local: this.credentials,
        remote: friend.credentials,
        remoteCandidates: friend.candidates,
        families: new Set([4] as const),
        onLoopback: false,
        controlling: this.credentials.ufrag < friend.credentials.ufrag,
        random: this.#random,
      },
      now,
    );
    this.step({ type: 'tick' });
    this.#tellNat({ type: 'own-nat', nat: this.report });
    if (friend.report !== undefined) this.hear(friend.report, friend.reflexive);
  }

  /** Servers tell of the friend's report. */
  hear(nat: NatReport, reflexive: Address): void {
    this.#tellNat({ type: 'friend-nat', nat, reflexive });
  }

  #tellNat(input: Extract<PortGuessInput, { type: 'own-nat' | 'friend-nat' }>): void {
    this.#tellGuess(input);
    this.#tellReopening(input);
  }

  /** Asks servers anew, and has the friend told. */
  renewReport(): void {
    const observed = this.observe();
    this.#network.after(2 * SERVER_MS, () => {
      this.report = observed;
      this.#tellNat({ type: 'own-nat', nat: observed });
      if (observed === undefined) return;
      this.#network.after(2 * SERVER_MS, () => this.friend?.hear(observed, this.reflexive));
    });
  }

  step(input: PathInput): void {
    const { agent } = this;
    if (agent === undefined) return;
    const { now } = this.#network;
    for (const effect of agent.step(input, now)) {
      if (effect.type === 'send') this.#send(effect);
    }
    const path = agent.selected();
    const isDirect = path !== undefined;
    if (isDirect && this.directAt === Infinity) this.directAt = now;
    this.#tellGuess({ type: 'direct', connected: isDirect });
    const used = path?.local !== undefined && path.local === this.reopened?.socket;
    this.#tellReopening({ type: 'path', direct: isDirect, used });
    this.#schedule();
  }

  #tellGuess(input: PortGuessInput): void {
    for (const effect of this.guess?.step(input, this.#network.now) ?? []) {
      switch (effect.type) {
        case 'report':
          this.renewReport();
          break;
        case 'open-sockets':
          this.#open(effect.count);
          break;
        case 'close-sockets':
          this.#close();
          break;
        case 'guess': {
          const local = effect.socket === undefined ? undefined : this.#attempt[effect.socket];
          this.sprayed.push(effect.remote);
          this.step({ type: 'guess', remote: effect.remote, local, short: effect.short });
          break;
        }
        case 'progress':
          this.progress.push(effect.progress);
      }
    }
    this.#schedule();
  }

  #tellReopening(input: ReopeningInput): void {
    for (const effect of this.reopening?.step(input, this.#network.now) ?? []) {
      switch (effect.type) {
        case 'open-socket':
          this.#reopen();
          break;
        case 'open-port': {
          const local = this.reopened?.socket;
          this.step({ type: 'guess', remote: effect.remote, local, short: true });
          break;
        }
        case 'tell': {
          const { candidates, credentials, friend } = this;
          // From one server to the other as well: what went straight to the friend was faster.
          this.#network.after(3 * SERVER_MS, () =>
            friend?.step({ type: 'remote-candidates', candidates, credentials }),
          );
          break;
        }
        case 'close-socket':
          this.#closeReopened();
      }
    }
    this.#schedule();
  }

  #reopen(): void {
    this.#closeReopened();
    this.reopenings++;
    const socket = { host: this.#own.host, port: this.#nextPort++ };
    this.#attach(socket, socket);
    const mapped = this.#network.publicAddressOf(socket, this.site, SERVERS[0] ?? socket);
    this.reopened = { socket, mapped };
    this.#network.after(2 * SERVER_MS, () => this.#tellReopening({ type: 'opened', mapped }));
  }

  #closeReopened(): void {
    const { reopened } = this;
    if (reopened === undefined) return;
    this.reopened = undefined;
    this.#network.detach(reopened.socket, this.site);
    this.step({ type: 'socket-closed', local: reopened.socket });
  }

  #open(count: number): void {
    const host = this.#own.host;
    this.#attempt = Array.from({ length: count }, () => ({ host, port: this.#nextPort++ }));
    for (const socket of this.#attempt) {
      this.sockets.push(socket);
      this.#attach(socket, socket);
    }
    this.mostSockets = Math.max(this.mostSockets, this.sockets.length);
    this.#network.after(20, () => this.#tellGuess({ type: 'opened', sockets: count }));
  }

  #close(): void {
    // The next attempt may begin in one of the steps below.
    const attempt = this.#attempt;
    this.#attempt = [];
    for (const socket of attempt) {
      if (this.agent?.isHeardAt(socket) === true) continue;
      this.sockets.splice(this.sockets.indexOf(socket), 1);
      this.#network.detach(socket, this.site);
      this.step({ type: 'socket-closed', local: socket });
    }
  }

  #attach(address: Address, local: Address | undefined): void {
    this.#network.attach(address, this.site, (datagram, remote) => {
      const message = parseStun(datagram);
      if (message !== undefined) this.step({ type: 'stun', message, remote, local });
      datagram.fill(0);
    });
  }

  #send({ datagram, remote, local, short }: Extract<PathEffect, { type: 'send' }>): void {
    this.sentPackets++;
    this.#network.send(local ?? this.#own, this.site, remote, datagram, short);
  }

  #schedule(): void {
    const { now } = this.#network;
    const deadlines = [
      this.agent?.nextDeadline(),
      this.guess?.nextDeadline(now),
      this.reopening?.nextDeadline(),
    ];
    const next = Math.min(...deadlines.map((at) => at ?? Infinity));
    const alarm = ++this.#alarms;
    if (next === Infinity) return;
    this.#network.after(Math.max(0, next - now), () => {
      if (alarm !== this.#alarms) return;
      this.#tellGuess({ type: 'tick' });
      this.#tellReopening({ type: 'tick' });
      this.step({ type: 'tick' });
    });
  }
}

export interface GuessWorld {
  readonly network: SimulatedNetwork;
  readonly waiting: GuessingPeer;
  readonly later: GuessingPeer;
}

const SYMMETRIC = {
  mapping: 'address-and-port-dependent',
  filtering: 'address-and-port-dependent',
} as const;
const NATS = {
  'endpoint-independent': {
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    ports: 'random',
  },
  masquerade: { ...SYMMETRIC, ports: 'preserving' },
  /** As Linux does: what comes uninvited takes the port of the flow it would belong to. */
  'masquerade, early': { ...SYMMETRIC, ports: 'preserving', earlyPacketsTakePorts: true },
  sequential: { ...SYMMETRIC, ports: 'sequential' },
  random: { ...SYMMETRIC, ports: 'random' },
  'random, early': { ...SYMMETRIC, ports: 'random', earlyPacketsTakePorts: true },
} satisfies Record<string, NatBehaviour>;
export type NatName = keyof typeof NATS;

/**
 * Two peers behind two NATs, 80 ms from each other and 40 ms from servers and back. One has been
 * waiting while others behind its router opened mappings, as they do during the attempt.
 */
export function guessWorld(
  waitingNat: NatName,
  laterNat: NatName,
  seed: number,
  { loss = 0, mappingsPerSecond = 5 } = {},
): GuessWorld {
  const random = seededRandom(seed);
  const network = new SimulatedNetwork({ random, loss, jitterMs: 4 });
  const home = (name: string, nat: NatName, last: number): GuessingPeer => {
    const router = new Nat(`203.0.113.${last}`, NATS[nat], random);
    const site: Site = { nat: router, delayMs: 20 };
    const neighbour: Address = { host: `192.168.1.20${last}`, port: 1000 };
    const browse = (): void => {
      const somewhere = { host: '198.51.100.77', port: 1024 + random.below(60_000) };
      network.publicAddressOf({ ...neighbour, port: 1024 + random.below(30_000) }, site, somewhere);
      if (mappingsPerSecond > 0) {
        network.after((-Math.log(1 - random.fraction()) * 1000) / mappingsPerSecond, browse);
      }
    };
    if (mappingsPerSecond > 0) browse();
    return new GuessingPeer(name, { network, site, host: `192.168.1.${last}`, random });
  };
  const world = { network, waiting: home('w', waitingNat, 1), later: home('l', laterNat, 2) };
  const { waiting, later } = world;
  waiting.open();
  waiting.report = waiting.observe();
  network.runUntil(60_000);
  later.open();
  return world;
}

/**
 * Both are told of each other; what the later peer's NAT does becomes known a moment after.
 * @param lateMs so much later does it take notice.
 */
export function introduce({ network, waiting, later }: GuessWorld, lateMs = 0): void {
  waiting.meet(later);
  network.after(lateMs + network.conditions.random.fraction() * 20, () => {
    later.meet(waiting);
    later.renewReport();
  });
}
