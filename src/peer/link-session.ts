import { compareBytes } from '../base/identity.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import { compareSessions } from '../rpc/session-id.ts';
import type { ConnectionId, FriendGreeting, LinkEffect, LinkInput } from './link-events.ts';
import type { Match } from './match.ts';

/** How long the side that was waiting lets the other dial first, from the first checked path. */
const DIAL_GRACE_MS = { lowerFingerprint: 150, higherFingerprint: 300 } as const;
/** Delay before another dial after one that failed. */
const REDIAL_MS = 500;
/** Connections that keep ending soon are dialled anew with growing delays, up to this. */
const MAX_REDIAL_MS = 8_000;
/** A connection that stood for this long did not end soon. */
const STEADY_MS = 5_000;
/**
 * How long a connection may go without its hello or welcome, or stay beside the one in use: several
 * round trips of the slowest network.
 */
const GREETING_MS = 5_000;
/** The path layer's own three rounds of checks take 12 s; then it is asked for more. */
const FIRST_REPUNCH_MS = 13_000;
const REPUNCH_MS = 5_000;
/** A session that could not be reached for this long is given up until it is matched anew. */
const GIVE_UP_MS = 30_000;
/** The highest generation that travels (`uint32`). */
const MAX_GENERATION = 2 ** 32 - 1;

interface Connection {
  readonly dialledByUs: boolean;
  readonly since: number;
  /** Both sides have said hello: the dialer has the welcome, the acceptor has sent it. */
  greeted: boolean;
  /** By which it is judged: the hello's, and once greeted the higher of both sides'. */
  generation: number;
  /** The friend's, once greeted; 0 where it tells none. */
  conversation: bigint;
  /** When it is closed unless it has been greeted and is the one in use. */
  expiresAt: number | undefined;
}

/** What outlives a session that was given up: the same two sessions may be matched again. */
export interface SessionMemory {
  readonly session: SessionId;
  readonly key: Uint8Array;
  readonly generation: number;
  readonly conversation: bigint;
  /** The user was told of a connection. */
  readonly announced: boolean;
  /** The friend has greeted in this session. */
  readonly proven: boolean;
}

/**
 * Everything known about reaching one friend in one of its sessions.
 *
 * Which of several connections stays has to be decided alike on both sides. `generation` counts the
 * greeted connections between the two sessions that have ended. A connection of a higher generation
 * replaces one of a lower: whoever dialled it knows that the lower one is dead. Two of one generation
 * come from both sides dialling at once, and the one dialled by the lower fingerprint stays; or from
 * one side dialling twice, which means that its first is dead, for each side dials one at a time.
 *
 * A friend that ends the conversation and begins another in the same session counts generations anew.
 * Connections of the conversation before are dead to it, whatever their generation.
 */
export class LinkSession {
  readonly #weAreLower: boolean;
  readonly #begunAt: number;
  readonly #connections = new Map<ConnectionId, Connection>();
  #match: Match;
  #active: ConnectionId | undefined;
  #generation: number;
  /** The friend's highest so far. */
  #conversation: bigint;
  #announced: boolean;
  #proven: boolean;
  /** While it is, connections are made and greeted on, and carry nothing: nobody is told of them. */
  #onTrial: boolean;
  #pathReady = false;
  #dialling = false;
  #dialAt: number | undefined;
  #repunchAt: number | undefined;
  /** Connections in a row that ended soon. */
  #shortLived = 0;
  /** Since when there is no path or no connection; undefined while there are both. */
  #apartSince: number | undefined;
  #effects: LinkEffect[] = [];

  constructor(
    match: Match,
    options: {
      readonly ownFingerprint: Uint8Array;
      readonly memory: SessionMemory | undefined;
      /** Another session is in use until this one has proven to be there. */
      readonly onTrial: boolean;
      readonly now: number;
    },
  ) {
    this.#match = match;
    this.#weAreLower = compareBytes(options.ownFingerprint, match.key) < 0;
    this.#onTrial = options.onTrial;
    this.#generation = options.memory?.generation ?? 0;
    this.#conversation = options.memory?.conversation ?? 0n;
    this.#announced = options.memory?.announced ?? false;
    this.#proven = options.memory?.proven ?? false;
    this.#begunAt = options.now;
    this.#apartSince = options.now;
    this.#repunchAt = options.now + FIRST_REPUNCH_MS;
  }

  get match(): Match {
    return this.#match;
  }

  get active(): ConnectionId | undefined {
    return this.#active;
  }

  /** Whether the friend has yet to prove that it has this session. */
  get onTrial(): boolean {
    return this.#onTrial;
  }

  /** Whether frames go over a connection on which the friend has greeted in this session. */
  get isInUse(): boolean {
    return this.#inUse()?.greeted === true;
  }

  has(id: ConnectionId): boolean {
    return this.#connections.has(id);
  }

  get memory(): SessionMemory {
    const { session, key } = this.#match;
    return {
      ...{ session, key, generation: this.#generation, conversation: this.#conversation },
      ...{ announced: this.#announced, proven: this.#proven },
    };
  }

  /** Whether frames that come over a connection belong to the conversation. */
  carries(id: ConnectionId): boolean {
    const connection = this.#connections.get(id);
    return connection !== undefined && (connection.dialledByUs || connection.greeted);
  }

  /**
   * The servers match the same session again, maybe with further candidates. Of two that disagree on
   * who dials at once, the one that says we do is right: the other knew less of the friend.
   */
  merge(match: Match, now: number): LinkEffect[] {
    const friendWasWaiting = this.#match.friendWasWaiting || match.friendWasWaiting;
    const isNews = friendWasWaiting && !this.#match.friendWasWaiting;
    this.#match = { ...this.#match, endpoint: match.endpoint, friendWasWaiting };
    this.#effects = [{ type: 'merge', endpoint: match.endpoint }];
    if (isNews && !this.#announced && this.#dialAt !== undefined) {
      this.#dialAt = Math.min(this.#dialAt, now);
    }
    if (!this.hopeless(now)) this.#meetDeadlines(now);
    return this.#effects;
  }

  /** This session is the one in use from now on: what was kept quiet is told. */
  endTrial(): LinkEffect[] {
    this.#effects = [];
    this.#leaveTrial();
    return this.#effects;
  }

  /** Closes every connection. */
  end(reason: string): LinkEffect[] {
    const all = [...this.#connections.keys()];
    this.#connections.clear();
    this.#active = undefined;
    return all.map((connection) => ({ type: 'close', connection, reason }));
  }

  /** Whether it is time to give the session up. */
  hopeless(now: number): boolean {
    const giveUpAt = this.#giveUpAt;
    return giveUpAt !== undefined && now >= giveUpAt;
  }

  /** Refused again and again is not there either. */
  get #giveUpAt(): number | undefined {
    const apart = this.#apartSince ?? Infinity;
    const refused = this.#proven || this.#connections.size > 0 ? Infinity : this.#begunAt;
    const since = Math.min(apart, refused);
    return since === Infinity ? undefined : since + GIVE_UP_MS;
  }

  nextDeadline(): number | undefined {
    const deadlines = [...this.#connections.values()].map(({ expiresAt }) => expiresAt);
    if (this.#mayDial()) deadlines.push(this.#dialAt);
    deadlines.push(this.#giveUpAt);
    if (!this.#pathReady) deadlines.push(this.#repunchAt);
    const set = deadlines.filter((at) => at !== undefined);
    return set.length === 0 ? undefined : Math.min(...set);
  }

  step(
    input: Exclude<LinkInput, { type: 'match' | 'goodbye' | 'beside' }>,
    now: number,
  ): LinkEffect[] {
    this.#effects = [];
    switch (input.type) {
      case 'path-ready':
        this.#findPath(now);
        break;
      case 'path-lost':
        this.#losePath(now);
        break;
      case 'dial-failed':
        this.#dialling = false;
        this.#dialAt = now + REDIAL_MS;
        break;
      case 'dialled':
      case 'accepted':
        this.#establish(input.connection, input.type === 'dialled', now);
        break;
      case 'hello':
        this.#takeHello(input, now);
        break;
      case 'welcome':
        this.#takeWelcome(input, now);
        break;
      case 'closed':
        this.#remove(input.connection, now);
        break;
      case 'tick':
        break;
    }
    if (!this.hopeless(now)) this.#meetDeadlines(now);
    return this.#effects;
  }

  #findPath(now: number): void {
    this.#pathReady = true;
    this.#dialAt = Math.max(this.#dialAt ?? now, now + this.#graceMs());
    if (this.#connections.size > 0) this.#together();
  }

  #losePath(now: number): void {
    this.#pathReady = false;
    this.#repunchAt = now + REDIAL_MS;
    this.#apart(now);
  }

  #meetDeadlines(now: number): void {
    for (const [id, { greeted, expiresAt }] of [...this.#connections]) {
      if (expiresAt === undefined || now < expiresAt) continue;
      const reason = greeted ? 'the other connection stays' : 'the friend did not greet';
      this.#close(id, reason, now);
    }
    if (!this.#pathReady && this.#repunchAt !== undefined && now >= this.#repunchAt) {
      this.#repunchAt = now + REPUNCH_MS;
      this.#effects.push({ type: 'repunch' });
    }
    if (this.#mayDial() && this.#dialAt !== undefined && now >= this.#dialAt) {
      this.#dialling = true;
      this.#effects.push({ type: 'dial', key: this.#match.key });
    }
  }

  /** At most one connection of ours, and none while the friend's stands. */
  #mayDial(): boolean {
    return this.#pathReady && !this.#dialling && this.#connections.size === 0;
  }

  #graceMs(): number {
    // After a loss both sides know of it at about the same time: the lower redials at once.
    if (this.#announced) return this.#weAreLower ? 0 : DIAL_GRACE_MS.higherFingerprint;
    if (this.#match.friendWasWaiting) return 0;
    return this.#weAreLower ? DIAL_GRACE_MS.lowerFingerprint : DIAL_GRACE_MS.higherFingerprint;
  }

  #establish(id: ConnectionId, dialledByUs: boolean, now: number): void {
    if (dialledByUs) {
      this.#dialling = false;
      // It has lost already; unheard of by the friend, it confuses nobody.
      if (this.#inUse()?.greeted === true && !this.#weAreLower) {
        this.#effects.push({ type: 'close', connection: id, reason: 'the other connection stays' });
        return;
      }
    }
    this.#connections.set(id, {
      dialledByUs,
      since: now,
      greeted: false,
      generation: this.#generation,
      conversation: 0n,
      expiresAt: now + GREETING_MS,
    });
    if (this.#connections.size === 1) {
      this.#apartSince = undefined;
      if (!this.#onTrial) this.#announce(id);
    } else this.#together();
    if (!dialledByUs) {
      // The friend dials one at a time: what it dialled before and never greeted on is dead.
      this.#closeOthers(id, (other) => !other.dialledByUs && !other.greeted, now);
      return;
    }
    this.#effects.push({ type: 'send-hello', connection: id, generation: this.#generation });
    // Messages flow at once; only a connection in use that is certain to live is preferred.
    if (this.#active === undefined) this.#activate(id, undefined, now);
  }

  #announce(id: ConnectionId): void {
    this.#effects.push({ type: 'connected', connection: id, first: !this.#announced });
    this.#announced = true;
  }

  /** The friend has greeted in this session. */
  #prove(): void {
    this.#proven = true;
    this.#leaveTrial();
  }

  #leaveTrial(): void {
    if (!this.#onTrial) return;
    this.#onTrial = false;
    const [first] = this.#connections.keys();
    if (first !== undefined) this.#announce(first);
    if (this.#active !== undefined) this.#tellActive(this.#active, undefined);
  }

  #takeHello(input: Extract<LinkInput, { type: 'hello' }>, now: number): void {
    const { connection: id, generation } = input;
    const connection = this.#connections.get(id);
    if (connection === undefined || connection.dialledByUs || connection.greeted) {
      this.#close(id, 'a hello out of place', now);
      return;
    }
    if (compareSessions(input.session, this.#match.session) !== 0) {
      this.#close(id, 'another session than matched', now);
      return;
    }
    if (!this.#isPresent(id, input.greeting, now)) return;
    const rival = this.#inUse();
    const judgement = rival === undefined ? 'wins' : this.#judge(rival, generation);
    if (judgement === 'loses') {
      this.#close(id, 'the other connection stays', now);
      return;
    }
    this.#generation = Math.max(this.#generation, generation);
    connection.greeted = true;
    this.#prove();
    connection.generation = this.#generation;
    connection.conversation = this.#conversation;
    this.#effects.push({
      type: 'send-welcome',
      connection: id,
      generation: this.#generation,
      conversation: input.greeting.conversation,
    });
    if (judgement === 'waits') {
      this.#effects.push({ type: 'greeted', greeting: input.greeting });
      return;
    }
    this.#activate(id, input.greeting, now);
    if (judgement === 'replaces') {
      this.#closeOthers(id, (other) => !this.#mayYetWin(other, connection.generation), now);
    }
  }

  /**
   * What becomes of a connection with this hello beside the one in use. waits: it will be closed
   * once the friend has welcomed the one in use, and carries until then. wins: so will the other.
   */
  #judge(rival: Connection, generation: number): 'loses' | 'waits' | 'wins' | 'replaces' {
    if (generation !== rival.generation) {
      return generation < rival.generation ? 'loses' : 'replaces';
    }
    if (!rival.dialledByUs) return 'replaces';
    if (!this.#weAreLower) return 'wins';
    return rival.greeted ? 'loses' : 'waits';
  }

  #takeWelcome(input: Extract<LinkInput, { type: 'welcome' }>, now: number): void {
    const { connection: id } = input;
    const connection = this.#connections.get(id);
    if (connection?.dialledByUs !== true || connection.greeted) {
      this.#close(id, 'a welcome out of place', now);
      return;
    }
    if (compareSessions(input.session, this.#match.session) !== 0) {
      this.#close(id, 'another session than matched', now);
      return;
    }
    if (!this.#isPresent(id, input.greeting, now)) return;
    connection.greeted = true;
    this.#prove();
    connection.conversation = this.#conversation;
    this.#generation = Math.max(this.#generation, input.generation);
    connection.generation = Math.max(connection.generation, input.generation);
    if (this.#active === id) connection.expiresAt = undefined;
    if (this.#active !== id && this.#weAreLower) this.#activate(id, input.greeting, now);
    else this.#effects.push({ type: 'greeted', greeting: input.greeting });
    // The dialer of the one that stays closes the other, now that it has the welcome: until then
    // the friend may still be using it.
    if (this.#active === id) this.#closeOthers(id, ({ greeted }) => greeted, now);
  }

  /**
   * Whether a greeting belongs to the friend's present conversation; if not, its connection is
   * closed. Those of earlier conversations are closed by the first greeting of a later one.
   */
  #isPresent(id: ConnectionId, { conversation = 0n }: FriendGreeting, now: number): boolean {
    if (conversation < this.#conversation) {
      this.#close(id, 'an earlier conversation', now);
      return false;
    }
    this.#conversation = conversation;
    const isEarlier = (other: Connection): boolean =>
      other.greeted && other.conversation < conversation;
    for (const [other, connection] of [...this.#connections]) {
      if (isEarlier(connection)) this.#close(other, 'the friend has begun anew', now);
    }
    return true;
  }

  /** The connection that carries our frames. */
  #inUse(): Connection | undefined {
    return this.#active === undefined ? undefined : this.#connections.get(this.#active);
  }

  /** Whether a greeting still to come can make this connection the one that stays. */
  #mayYetWin(connection: Connection, generation: number): boolean {
    if (connection.greeted) return false;
    return !connection.dialledByUs || (this.#weAreLower && connection.generation >= generation);
  }

  #activate(id: ConnectionId, greeting: FriendGreeting | undefined, now: number): void {
    const before = this.#inUse();
    if (before !== undefined) before.expiresAt = now + GREETING_MS;
    this.#active = id;
    const connection = this.#connections.get(id);
    if (connection?.greeted === true) connection.expiresAt = undefined;
    if (!this.#onTrial) this.#tellActive(id, greeting);
  }

  #tellActive(id: ConnectionId, greeting: FriendGreeting | undefined): void {
    const { session } = this.#match;
    this.#effects.push({ type: 'activate', connection: id, session, greeting });
  }

  #closeOthers(
    id: ConnectionId | undefined,
    which: (other: Connection) => boolean,
    now: number,
  ): void {
    for (const [other, connection] of [...this.#connections]) {
      if (other !== id && which(connection)) this.#close(other, 'the other connection stays', now);
    }
  }

  #close(id: ConnectionId, reason: string, now: number): void {
    this.#effects.push({ type: 'close', connection: id, reason });
    this.#remove(id, now);
  }

  #remove(id: ConnectionId, now: number): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    this.#connections.delete(id);
    if (this.#active === id) this.#replaceActive(connection, now);
    if (this.#connections.size > 0) return;
    const steady = connection.greeted && now >= connection.since + STEADY_MS;
    this.#shortLived = steady ? 0 : this.#shortLived + 1;
    // The first that ends soon is dialled anew at once, like any.
    const delayMs =
      this.#shortLived < 2
        ? 0
        : Math.min(REDIAL_MS * 2 ** Math.min(this.#shortLived - 2, 10), MAX_REDIAL_MS);
    this.#dialAt = now + this.#graceMs() + delayMs;
    if (!this.#pathReady) this.#repunchAt = now;
    this.#apart(now);
  }

  /**
   * The connection in use has ended. The friend may not know it and go on using it; that ends when it
   * gets the hello of a newer one, so what had lost to the one that ended is closed, not used again.
   */
  #replaceActive(ended: Connection, now: number): void {
    this.#active = undefined;
    if (ended.greeted) {
      const next = Math.min(ended.generation + 1, MAX_GENERATION);
      this.#generation = Math.max(this.#generation, next);
    }
    this.#closeOthers(undefined, (other) => !this.#mayYetWin(other, ended.generation), now);
    for (const [id, { dialledByUs }] of this.#connections) {
      if (dialledByUs) this.#activate(id, undefined, now);
    }
  }

  #together(): void {
    if (this.#apartSince === undefined) return;
    this.#apartSince = undefined;
    if (!this.#onTrial) this.#effects.push({ type: 'restored' });
  }

  #apart(now: number): void {
    if (this.#apartSince !== undefined) return;
    this.#apartSince = now;
    if (this.#announced && !this.#onTrial) this.#effects.push({ type: 'reconnecting' });
  }
}
