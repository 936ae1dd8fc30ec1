import type { Address } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import type { PathClass } from '../base/path-class.ts';
import {
  type GuessProgress,
  type Path,
  type PathAgent,
  type PathEffect,
  type PathInput,
  type PortGuessInput,
  parseStun,
  type RelayLimit,
} from '../path/index.ts';
import type { Carrier } from '../quic/index.ts';
import type { RelayOffer } from './match.ts';
import type { PathReopener } from './path-reopener.ts';
import { PathSilence } from './path-silence.ts';
import type { PortGuesser } from './port-guesser.ts';
import { RelayClient, type RelayRoute } from './relay-client.ts';

/** The path in use is in doubt when three keep-alives have had no answer; it is lost at 6.5 s. */
const DOUBT_AFTER_MS = 5_500;
/** When one has had none: enough where servers say at the same time that the friend has moved. */
const EARLY_DOUBT_MS = 4_500;
/** RFC 7983 §7. */
const MAX_STUN_FIRST_BYTE = 3;
/** Past a home's and a carrier's routers, and not to the friend's: those are 8 away and more. */
const SHORT_HOPS = 5;

/** Of a long header, what holds the connection ID its sender chose at random. */
const DISTINCT_BYTES = 22;
/** So many that were sent ahead are taken for one session of the friend. */
const MAX_TAKEN = 8;

export interface FriendPathEvents {
  /**
   * There is a path where there was none, or one that has answered where there was a relay's word.
   * @param presumed whether it is a relay's word.
   */
  ready(presumed: boolean): void;
  /** The friend has answered on one more path: its connections may come on it. */
  opened(): void;
  /** The best path is another one. */
  selected(path: Path): void;
  /** There is none any more. */
  lost(): void;
  /** A direct path was looked for long enough, and there is none. */
  notDirect?(): void;
  /** The one in use has been silent for so long that one side may be elsewhere: servers are to see. */
  doubted?(): void;
  /** A relaying server drops what is too much. */
  relayLimited?(limit: RelayLimit): void;
  /** Ports are guessed, or that is over. */
  guessing?(progress: GuessProgress): void;
}

export interface FriendPathOptions {
  readonly agent: PathAgent;
  readonly clock: Clock;
  /**
   * Sends from the socket that everything goes through, or from the one `Path.local` names; false
   * where it could not.
   * @param hops so many routers it passes (default: all there are).
   */
  send(datagram: Uint8Array, remote: Address, local?: Address, hops?: number): boolean;
  /** Guesses ports where ordinary checks find no path. */
  readonly guesser?: PortGuesser;
  /** Opens a second way in where they find none. */
  readonly reopener?: PathReopener;
  /** The ways to a relaying server, best first. */
  routesTo?(offer: RelayOffer): readonly RelayRoute[];
  /** Takes a QUIC datagram that came over a relay; it is valid only during the call. */
  deliver?(datagram: Uint8Array, path: FriendPath): void;
  readonly events: FriendPathEvents;
  onClose(): void;
}

/**
 * The paths to one session of a friend: carries out what the `PathAgent` decides, and is what the
 * QUIC connections to that session lie on.
 */
export class FriendPath implements Carrier {
  readonly #options: FriendPathOptions;
  /** The relays between us and the friend. */
  readonly relays: RelayClient;
  readonly #alarm: Alarm;
  /** First datagrams that were sent ahead, by how they begin. */
  readonly #taken = new Set<string>();
  #isDirect = false;
  /** Of the path in use, the last answer after which it was in doubt. */
  #doubtedSince: number | undefined;
  readonly #silence = new PathSilence();
  #closed = false;

  constructor(options: FriendPathOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => this.step({ type: 'tick' }));
    this.relays = new RelayClient({
      clock: options.clock,
      routesTo: (offer) => options.routesTo?.(offer) ?? [],
      events: {
        opened: (remote) => this.step({ type: 'relay-opened', remote }),
        closed: (remote) => this.step({ type: 'relay-closed', remote }),
        received: (payload, remote) => this.#receiveRelayed(payload, remote),
        limited: (limit) => options.events.relayLimited?.(limit),
      },
    });
    this.step({ type: 'tick' });
  }

  get best(): Path | undefined {
    return this.#options.agent.selected();
  }

  step(input: PathInput): void {
    if (this.#closed) return;
    const { agent, clock } = this.#options;
    // First the relays hear where we are, then what is sent over them.
    if (input.type === 'network-changed') this.relays.networkChanged();
    const { best: before } = this;
    const { answeredAt: answeredBefore } = agent;
    const effects = agent.step(input, clock.now());
    for (const effect of effects) this.#carryOut(effect);
    this.#doubt(DOUBT_AFTER_MS);
    const { answeredAt } = agent;
    const doubtAt = this.#isDoubted ? Infinity : (answeredAt ?? Infinity) + DOUBT_AFTER_MS;
    this.#alarm.set(Math.min(agent.nextDeadline() ?? Infinity, doubtAt));
    const best = this.best;
    if (best !== undefined && answeredAt !== answeredBefore) this.#silence.heard(best.remote);
    const isSure = best?.via === 'udp' && best.checkedAt !== undefined && !this.#isDoubted;
    this.relays.want(!isSure || this.#silence.isSilent(best.remote));
    this.#tellOfPaths();
    const isNews = before === undefined || (before.presumed && best?.presumed === false);
    if (best !== undefined && isNews) this.#options.events.ready(best.presumed);
    if (best === undefined && before !== undefined) this.#options.events.lost();
  }

  get #isDoubted(): boolean {
    const { answeredAt } = this.#options.agent;
    return answeredAt !== undefined && answeredAt === this.#doubtedSince;
  }

  /** Doubts the path in use, if it has been silent for so long; one silence is told of once. */
  #doubt(silentMs: number): void {
    const { agent, clock, events } = this.#options;
    const { answeredAt } = agent;
    if (answeredAt !== this.#doubtedSince) this.#doubtedSince = undefined;
    if (this.#closed || this.#isDoubted || answeredAt === undefined) return;
    if (clock.now() - answeredAt < silentMs) return;
    this.#doubtedSince = answeredAt;
    events.doubted?.();
  }

  /** Servers say that the friend is at another address: where it has just become silent, that is why. */
  friendMoved(): void {
    this.#doubt(EARLY_DOUBT_MS);
  }

  #tellOfPaths(): void {
    const { agent, guesser, reopener } = this.#options;
    const isDirect = agent.paths.some(({ via }) => via === 'udp');
    reopener?.pathKnown(isDirect, this.best);
    if (isDirect === this.#isDirect) return;
    this.#isDirect = isDirect;
    guesser?.step({ type: 'direct', connected: isDirect });
  }

  #carryOut(effect: PathEffect): void {
    if (effect.type === 'send') this.#sendCheck(effect);
    else if (effect.type === 'answered') this.#options.events.opened();
    else if (effect.type === 'selected') this.#options.events.selected(effect.path);
    else if (effect.type === 'failed') this.#options.events.notDirect?.();
    // Rounds without a path, `failed` included, are nothing to act on here: as long as there is none,
    // the link asks for more every 5 s (`repunch`), until it gives the session up.
  }

  send(datagram: Uint8Array, pathClass: PathClass): void {
    const { best } = this;
    const path = this.#options.agent.selected(pathClass) ?? best;
    if (path === undefined || best === undefined || this.#closed) return;
    // A connection that began on a relay leaves it as soon as it can: what it sends until then need
    // not wait for that. Nor does the friend mind which path a datagram comes on.
    const isBetter = path.via === 'relay' && best.via === 'udp';
    const first = isBetter ? best : path;
    // A friend that uses the relay answers on it what we say here, acknowledgements too: where nothing
    // of that comes here, it may have left the path that we still take for the better one.
    const bytes = isBetter ? Infinity : datagram.length;
    const isSilent = first.via === 'udp' && this.#isSilent(bytes, first);
    if (isBetter || (isSilent && best.remote !== path.remote)) {
      this.#transmit(datagram, best.remote, best.local);
    }
    if (!isBetter || isSilent || best.checkedAt === undefined) {
      this.#transmit(datagram, path.remote, path.local);
    }
  }

  /** Whether nothing comes back on the path that this is sent on: if so, all others are tried, too. */
  #isSilent(bytes: number, path: Path): boolean {
    const { clock } = this.#options;
    if (this.#silence.sent(bytes, path, clock.now())) {
      // Not from within the connection that sends.
      clock.setTimer(0, () => this.step({ type: 'network-changed' }));
    }
    return this.#silence.isSilent(path.remote);
  }

  /**
   * What the friend sent ahead with its wish, as if it had come over a relay. Servers may hand it over
   * more than once: a connection that is through already must not be begun again by it.
   */
  takeFirstFlight(datagrams: readonly Uint8Array[]): void {
    for (const datagram of datagrams) {
      const id = Buffer.from(datagram.subarray(0, DISTINCT_BYTES)).toString('hex');
      if (this.#closed || this.#taken.has(id) || this.#taken.size >= MAX_TAKEN) continue;
      this.#taken.add(id);
      this.#options.deliver?.(Uint8Array.from(datagram), this);
    }
  }

  #sendCheck({ datagram, remote, local, short }: Extract<PathEffect, { type: 'send' }>): void {
    if (short === true) this.#options.send(datagram, remote, local, SHORT_HOPS);
    else this.#transmit(datagram, remote, local);
  }

  #transmit(datagram: Uint8Array, remote: Address, local: Address | undefined): void {
    if (!this.relays.send(datagram, remote)) this.#options.send(datagram, remote, local);
  }

  #receiveRelayed(payload: Uint8Array, remote: Address): void {
    if (this.#closed) return;
    if ((payload[0] ?? 0) > MAX_STUN_FIRST_BYTE) {
      this.#options.deliver?.(payload, this);
      return;
    }
    const message = parseStun(payload);
    if (message !== undefined) this.step({ type: 'stun', message, remote });
  }

  /** Where packets on the path really go: what stands for a relay is no address. */
  addressOf(path: Path): Address {
    return this.relays.serverAt(path.remote) ?? path.remote;
  }

  /**
   * Of a datagram that came.
   * @param local the socket it came to: one of all the peer's, or one opened for this friend.
   */
  classOf(remote: Address, local?: Address): PathClass | undefined {
    if (this.#closed) return undefined;
    this.#silence.heard(remote);
    return this.#options.agent.classOf(remote, this.socketOf(local));
  }

  /** A socket as in `Path.local`: undefined for those that everything goes through. */
  socketOf(local: Address | undefined): Address | undefined {
    if (local === undefined) return undefined;
    const { guesser, reopener } = this.#options;
    return guesser?.has(local) === true || reopener?.has(local) === true ? local : undefined;
  }

  /** Where servers are to say that the friend finds us, beside where they see us themselves. */
  get mapped(): Address | undefined {
    return this.#options.reopener?.mapped;
  }

  /** What the NATs do has become known, or was asked anew. */
  natKnown(
    input: Extract<PortGuessInput, { type: 'own-nat' | 'friend-nat' | 'network-changed' }>,
  ): void {
    if (this.#closed) return;
    this.#options.guesser?.step(input);
    this.#options.reopener?.step(input);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#alarm.cancel();
    this.relays.close();
    this.#options.guesser?.close();
    this.#options.reopener?.close();
    this.#options.onClose();
  }
}
