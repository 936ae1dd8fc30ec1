import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import { compareSessions } from '../rpc/session-id.ts';
import {
  isEarlierThan,
  judge,
  type LinkConnection,
  MAX_GENERATION,
  mayYetWin,
} from './link-connection.ts';
import type { ConnectionId, FriendGreeting, LinkEffect, LinkInput } from './link-events.ts';

/**
 * How long a connection may go without its hello or welcome, or stay beside the one in use: several
 * round trips of the slowest network.
 */
const GREETING_MS = 5_000;

type Hello = Extract<LinkInput, { type: 'hello' }>;
type Welcome = Extract<LinkInput, { type: 'welcome' }>;
type ConnectionEffect = Extract<
  LinkEffect,
  { type: 'close' | 'send-hello' | 'send-welcome' | 'greeted' }
>;

/** Who has the connections; called while one of them changes. */
export interface LinkConnectionsOwner {
  effect(effect: ConnectionEffect): void;
  /** There is one more. */
  added(id: ConnectionId): void;
  /** Frames go over this one from now on. `greeting`: the friend's, where it came already. */
  activated(id: ConnectionId, greeting: FriendGreeting | undefined): void;
  /** The friend has greeted in this session. `stays`: the one in use is no other after that. */
  proven(stays: boolean): void;
  /** None is left; this was the last. */
  emptied(last: LinkConnection, now: number): void;
}

/** The connections to one of the friend's sessions: which of them stays, and which is in use. */
export class LinkConnections {
  readonly #session: SessionId;
  readonly #weAreLower: boolean;
  readonly #owner: LinkConnectionsOwner;
  readonly #connections = new Map<ConnectionId, LinkConnection>();
  #active: ConnectionId | undefined;
  #generation: number;
  #conversation: bigint;

  /** @param known what is known of connections to the same session before. */
  constructor(
    session: SessionId,
    weAreLower: boolean,
    known: { readonly generation: number; readonly conversation: bigint },
    owner: LinkConnectionsOwner,
  ) {
    this.#session = session;
    this.#weAreLower = weAreLower;
    this.#generation = known.generation;
    this.#conversation = known.conversation;
    this.#owner = owner;
  }

  get ids(): readonly ConnectionId[] {
    return [...this.#connections.keys()];
  }

  get size(): number {
    return this.#connections.size;
  }

  /** The one that carries our frames. */
  get active(): ConnectionId | undefined {
    return this.#active;
  }

  /** Whether frames go over a connection on which the friend has greeted. */
  get isInUse(): boolean {
    return this.#inUse()?.greeted === true;
  }

  get generation(): number {
    return this.#generation;
  }

  /** The friend's highest so far. */
  get conversation(): bigint {
    return this.#conversation;
  }

  has(id: ConnectionId): boolean {
    return this.#connections.has(id);
  }

  /** Whether frames that come over a connection belong to the conversation. */
  carries(id: ConnectionId): boolean {
    const connection = this.#connections.get(id);
    return connection !== undefined && (connection.dialledByUs || connection.greeted);
  }

  nextDeadline(): number {
    const all = [...this.#connections.values()].map(({ expiresAt }) => expiresAt ?? Infinity);
    return Math.min(...all);
  }

  /** Closes those that are not to stay and had time enough. */
  expire(now: number): void {
    for (const [id, { greeted, expiresAt }] of [...this.#connections]) {
      if (expiresAt === undefined || now < expiresAt) continue;
      const reason = greeted ? 'the other connection stays' : 'the friend did not greet';
      this.#close(id, reason, now);
    }
  }

  /** A handshake is complete and the friend's key proven. */
  add(id: ConnectionId, dialledByUs: boolean, now: number): void {
    // It has lost already; unheard of by the friend, it confuses nobody.
    if (dialledByUs && this.isInUse && !this.#weAreLower) {
      this.#owner.effect({ type: 'close', connection: id, reason: 'the other connection stays' });
      return;
    }
    this.#connections.set(id, {
      dialledByUs,
      since: now,
      greeted: false,
      generation: this.#generation,
      conversation: 0n,
      expiresAt: now + GREETING_MS,
    });
    this.#owner.added(id);
    if (!dialledByUs) {
      // The friend dials one at a time: what it dialled before and never greeted on is dead.
      this.#closeOthers(id, (other) => !other.dialledByUs && !other.greeted, now);
      return;
    }
    this.#owner.effect({ type: 'send-hello', connection: id, generation: this.#generation });
    // Messages flow at once; only a connection in use that is certain to live is preferred.
    if (this.#active === undefined) this.#activate(id, undefined, now);
  }

  takeHello(input: Hello, now: number): void {
    const { connection: id, generation } = input;
    const connection = this.#connections.get(id);
    if (connection === undefined || connection.dialledByUs || connection.greeted) {
      this.#close(id, 'a hello out of place', now);
      return;
    }
    if (!this.#isMeant(input, now)) return;
    const rival = this.#inUse();
    const judgement = rival === undefined ? 'wins' : judge(rival, generation, this.#weAreLower);
    if (judgement === 'loses') {
      this.#close(id, 'the other connection stays', now);
      return;
    }
    this.#generation = Math.max(this.#generation, generation);
    connection.greeted = true;
    this.#owner.proven(judgement === 'waits');
    connection.generation = this.#generation;
    connection.conversation = this.#conversation;
    this.#owner.effect({
      type: 'send-welcome',
      connection: id,
      generation: this.#generation,
      conversation: input.greeting.conversation,
    });
    if (judgement === 'waits') {
      this.#owner.effect({ type: 'greeted', greeting: input.greeting });
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

  takeWelcome(input: Welcome, now: number): void {
    const { connection: id } = input;
    const connection = this.#connections.get(id);
    if (connection?.dialledByUs !== true || connection.greeted) {
      this.#close(id, 'a welcome out of place', now);
      return;
    }
    if (!this.#isMeant(input, now)) return;
    connection.greeted = true;
    this.#owner.proven(this.#active === id || !this.#weAreLower);
    connection.conversation = this.#conversation;
    this.#generation = Math.max(this.#generation, input.generation);
    connection.generation = Math.max(connection.generation, input.generation);
    if (this.#active === id) connection.expiresAt = undefined;
    if (this.#active !== id && this.#weAreLower) this.#activate(id, input.greeting, now);
    else this.#owner.effect({ type: 'greeted', greeting: input.greeting });
    // The dialer of the one that stays closes the other, now that it has the welcome: until then
    // the friend may still be using it.
    if (this.#active === id) this.#closeOthers(id, ({ greeted }) => greeted, now);
  }

  /** A connection has ended; nothing, if it is none of these. */
  remove(id: ConnectionId, now: number): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    this.#connections.delete(id);
    if (this.#active === id) this.#replaceActive(connection, now);
    if (this.#connections.size === 0) this.#owner.emptied(connection, now);
  }

  /** Forgets all of them: nobody is told. */
  clear(): void {
    this.#connections.clear();
    this.#active = undefined;
  }

  /**
   * Whether a greeting is of the session that was matched and of the friend's present conversation; if
   * not, its connection is closed. Those of earlier conversations are closed by the first greeting of
   * a later one.
   */
  #isMeant({ connection: id, session, greeting }: Hello | Welcome, now: number): boolean {
    if (compareSessions(session, this.#session) !== 0) {
      this.#close(id, 'another session than matched', now);
      return false;
    }
    const { conversation = 0n } = greeting;
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

  #inUse(): LinkConnection | undefined {
    return this.#active === undefined ? undefined : this.#connections.get(this.#active);
  }

  #activate(id: ConnectionId, greeting: FriendGreeting | undefined, now: number): void {
    const before = this.#inUse();
    if (before !== undefined) before.expiresAt = now + GREETING_MS;
    this.#active = id;
    const connection = this.#connections.get(id);
    if (connection?.greeted === true) connection.expiresAt = undefined;
    this.#owner.activated(id, greeting);
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
    this.#owner.effect({ type: 'close', connection: id, reason });
    this.remove(id, now);
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
}
