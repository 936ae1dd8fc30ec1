import { compareBytes } from '../base/identity.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import { compareSessions } from '../rpc/session-id.ts';
import type { ConnectionId, FriendGreeting, LinkEffect, LinkInput } from './link-events.ts';
import {
  isEarlierThan,
  judge,
  type LinkConnection,
  MAX_GENERATION,
  mayYetWin,
} from './link-connection.ts';
import { DialPace, graceMs, REDIAL_MS } from './dial-pace.ts';
import type { Match } from './match.ts';

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
 * Everything known about reaching one friend in one of its sessions. Which of several connections
 * stays: `link-connection.ts`.
 */
export class LinkSession {
  readonly #weAreLower: boolean;
  readonly #begunAt: number;
  readonly #connections = new Map<ConnectionId, LinkConnection>();
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
  readonly #pace = new DialPace();
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
    this.#leaveTrial(true);
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
        this.#findPath(input.presumed === true, now);
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

  #findPath(presumed: boolean, now: number): void {
    const at = now + this.#graceMs(presumed);
    const known = this.#pathReady ? this.#dialAt : undefined;
    this.#dialAt = known === undefined ? Math.max(this.#dialAt ?? now, at) : Math.min(known, at);
    this.#pathReady = true;
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

  #graceMs(presumed = false): number {
    return graceMs({
      presumed,
      weAreLower: this.#weAreLower,
      wasConnected: this.#announced,
      friendWasWaiting: this.#match.friendWasWaiting,
    });
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

  /** The friend has greeted in this session. `stays`: the connection in use is no other after that. */
  #prove(stays: boolean): void {
    this.#proven = true;
    this.#leaveTrial(stays);
  }

  #leaveTrial(stays: boolean): void {
    if (!this.#onTrial) return;
    this.#onTrial = false;
    const [first] = this.#connections.keys();
    if (first !== undefined) this.#announce(first);
    // Frames go over the one that is in use at the end of the step: of another, nobody is told.
    if (this.#active !== undefined && stays) this.#tellActive(this.#active, undefined);
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
    const judgement = rival === undefined ? 'wins' : judge(rival, generation, this.#weAreLower);
    if (judgement === 'loses') {
      this.#close(id, 'the other connection stays', now);
      return;
    }
    this.#generation = Math.max(this.#generation, generation);
    connection.greeted = true;
    this.#prove(judgement === 'waits');
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
      this.#closeOthers(
        id,
        (other) => !mayYetWin(other, this.#weAreLower, connection.generation),
        now,
      );
    }
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
    this.#prove(this.#active === id || !this.#weAreLower);
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
    for (const [other, connection] of [...this.#connections]) {
      if (isEarlierThan(connection, conversation)) {
        this.#close(other, 'the friend has begun anew', now);
      }
    }
    return true;
  }

  /** The connection that carries our frames. */
  #inUse(): LinkConnection | undefined {
    return this.#active === undefined ? undefined : this.#connections.get(this.#active);
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
    which: (other: LinkConnection) => boolean,
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
    this.#pace.ended(connection.greeted, now - connection.since);
    this.#dialAt = now + this.#graceMs() + this.#pace.delayMs;
    if (!this.#pathReady) this.#repunchAt = now;
    this.#apart(now);
  }

  /**
   * The connection in use has ended. The friend may not know it and go on using it; that ends when it
   * gets the hello of a newer one, so what had lost to the one that ended is closed, not used again.
   */
  #replaceActive(ended: LinkConnection, now: number): void {
    this.#active = undefined;
    if (ended.greeted) {
      const next = Math.min(ended.generation + 1, MAX_GENERATION);
      this.#generation = Math.max(this.#generation, next);
    }
    this.#closeOthers(
      undefined,
      (other) => !mayYetWin(other, this.#weAreLower, ended.generation),
      now,
    );
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
