import { compareBytes } from '../base/identity.ts';
import type { MatchFound } from '../rpc/generated/chatty/v1/rendezvous.ts';
import type { Endpoint, SessionId } from '../rpc/generated/chatty/v1/common.ts';
import { compareSessions } from '../rpc/session-id.ts';

/** How long the side that was waiting lets the other dial first, from the first checked path. */
const DIAL_GRACE_MS = { lowerFingerprint: 150, higherFingerprint: 300 } as const;
/** Delay before another dial after one that failed. */
const REDIAL_MS = 500;
/** How long a friend that said goodbye is not looked for again under the same session. */
const GOODBYE_QUIET_MS = 2_000;
/** A session that could not be reached for this long is given up until it is matched anew. */
const GIVE_UP_MS = 30_000;

/** A match as this peer believes it, every field checked. */
export interface Match {
  readonly session: SessionId;
  /** The friend's fingerprint. */
  readonly key: Uint8Array;
  readonly endpoint: Endpoint;
  readonly friendWasWaiting: boolean;
}

/** One QUIC connection to the friend, by the number the shell gave it. */
export type ConnectionId = number;

export type LinkInput =
  | { readonly type: 'match'; readonly match: Match }
  /** A path to the friend's session is checked in both directions. */
  | { readonly type: 'path-ready' }
  /** None is any more. */
  | { readonly type: 'path-lost' }
  | { readonly type: 'dial-failed'; readonly reason: string }
  /** The handshake of a connection we dialled is complete and the friend's key proven. */
  | { readonly type: 'dialled'; readonly connection: ConnectionId }
  /** The friend's key is proven on a connection it dialled. */
  | { readonly type: 'accepted'; readonly connection: ConnectionId }
  /** The first frame of a connection the friend dialled. */
  | {
      readonly type: 'hello';
      readonly connection: ConnectionId;
      readonly session: SessionId;
      readonly generation: number;
      readonly receivedUpTo: bigint;
    }
  /** The first frame of a connection we dialled. */
  | {
      readonly type: 'welcome';
      readonly connection: ConnectionId;
      readonly generation: number;
      readonly receivedUpTo: bigint;
    }
  | { readonly type: 'closed'; readonly connection: ConnectionId; readonly reason: string }
  /** The friend, or the user here, said goodbye: the session is over. */
  | { readonly type: 'goodbye' }
  | { readonly type: 'tick' };

export type LinkEffect =
  /** Forget the paths of any earlier session and start checking this one's. */
  | { readonly type: 'punch'; readonly match: Match }
  /** The same session has further candidates. */
  | { readonly type: 'merge'; readonly endpoint: Endpoint }
  | { readonly type: 'stop-punching' }
  /** Start another round of checks. */
  | { readonly type: 'repunch' }
  | { readonly type: 'dial'; readonly key: Uint8Array }
  | { readonly type: 'send-hello'; readonly connection: ConnectionId; readonly generation: number }
  | {
      readonly type: 'send-welcome';
      readonly connection: ConnectionId;
      readonly generation: number;
    }
  | { readonly type: 'close'; readonly connection: ConnectionId; readonly reason: string }
  /** A key was proven: the first time for this pair of sessions, or after `reconnecting`. */
  | { readonly type: 'connected'; readonly connection: ConnectionId; readonly first: boolean }
  /** From now on, frames go over this connection. `receivedUpTo`: what the friend has had. */
  | {
      readonly type: 'activate';
      readonly connection: ConnectionId;
      readonly session: SessionId;
      readonly receivedUpTo: bigint | undefined;
    }
  | { readonly type: 'acknowledged'; readonly receivedUpTo: bigint }
  /** No path or no connection is left; the link goes on trying. */
  | { readonly type: 'reconnecting' }
  /** The connection that seemed lost goes on. */
  | { readonly type: 'restored' }
  /** A session that had been connected is given up until the servers match it again. */
  | { readonly type: 'disconnected' }
  /** So is one that never was. */
  | { readonly type: 'unreachable' };

interface Connection {
  readonly dialledByUs: boolean;
  /** Both sides have said hello: the dialer has the welcome, the acceptor has sent it. */
  welcomed: boolean;
}

/**
 * Everything known about reaching one friend in one of its sessions.
 *
 * `generation` counts the settled connections between the two sessions that have ended. Two
 * connections of one generation come from both sides dialling at once, and the one dialled by the
 * lower fingerprint stays; one of a higher generation means that the friend knows ours to be dead.
 */
interface Session {
  match: Match;
  pathReady: boolean;
  dialAt: number | undefined;
  dialling: boolean;
  generation: number;
  connections: Map<ConnectionId, Connection>;
  active: ConnectionId | undefined;
  announced: boolean;
  /** Since when there is no connection; undefined while there is one. */
  apartSince: number | undefined;
  repunchAt: number | undefined;
}

/**
 * Decides when to dial a friend, which of several connections stays, and what a lost one means. Pure:
 * the shell (`friend-link.ts`) carries the effects out.
 */
export class LinkMachine {
  readonly #ownFingerprint: Uint8Array;
  #session: Session | undefined;
  #left: { session: SessionId; until: number } | undefined;

  constructor(ownFingerprint: Uint8Array) {
    this.#ownFingerprint = ownFingerprint;
  }

  /** The connection that carries frames. */
  get active(): ConnectionId | undefined {
    return this.#session?.active;
  }

  /** The friend's session that is being reached or has been. */
  get match(): Match | undefined {
    return this.#session?.match;
  }

  step(input: LinkInput, now: number): LinkEffect[] {
    const effects: LinkEffect[] = [];
    if (input.type === 'match') this.#match(input.match, now, effects);
    else if (this.#session !== undefined) this.#inSession(this.#session, input, now, effects);
    else if ('connection' in input && input.type !== 'closed') {
      effects.push({ type: 'close', connection: input.connection, reason: 'no such session' });
    }
    return effects;
  }

  nextDeadline(): number | undefined {
    const session = this.#session;
    if (session === undefined) return undefined;
    const dialAt = this.#mayDial(session) ? session.dialAt : undefined;
    const giveUpAt = session.apartSince === undefined ? undefined : session.apartSince + GIVE_UP_MS;
    const all = [dialAt, giveUpAt, session.repunchAt].filter((at) => at !== undefined);
    return all.length === 0 ? undefined : Math.min(...all);
  }

  #match(match: Match, now: number, effects: LinkEffect[]): void {
    const left = this.#left;
    if (left !== undefined && now < left.until) {
      if (compareSessions(match.session, left.session) <= 0) return;
    }
    const current = this.#session;
    if (current !== undefined && compareBytes(current.match.key, match.key) === 0) {
      const order = compareSessions(match.session, current.match.session);
      if (order < 0) return;
      if (order === 0) {
        current.match = { ...current.match, endpoint: match.endpoint };
        effects.push({ type: 'merge', endpoint: match.endpoint });
        return;
      }
    } else if (current?.active !== undefined) {
      // Another key under the friend's name while we talk with the one proven: not our friend.
      return;
    }
    if (current !== undefined) this.#end(current, 'the friend has started anew', effects);
    this.#session = {
      match,
      pathReady: false,
      dialAt: undefined,
      dialling: false,
      generation: 0,
      connections: new Map(),
      active: undefined,
      announced: false,
      apartSince: now,
      repunchAt: undefined,
    };
    effects.push({ type: 'punch', match });
  }

  #inSession(session: Session, input: LinkInput, now: number, effects: LinkEffect[]): void {
    switch (input.type) {
      case 'match':
        return;
      case 'path-ready':
        session.pathReady = true;
        session.repunchAt = undefined;
        session.dialAt ??= now + this.#graceMs(session);
        if (session.connections.size > 0 && session.apartSince !== undefined) {
          session.apartSince = undefined;
          effects.push({ type: 'restored' });
        }
        break;
      case 'path-lost':
        session.pathReady = false;
        session.dialAt = undefined;
        session.repunchAt = now + REDIAL_MS;
        this.#apart(session, now, effects);
        break;
      case 'dial-failed':
        session.dialling = false;
        session.dialAt = now + REDIAL_MS;
        break;
      case 'dialled':
      case 'accepted':
        this.#established(session, input.connection, input.type === 'dialled', effects);
        break;
      case 'hello':
        this.#hello(session, input, effects);
        break;
      case 'welcome':
        this.#welcome(session, input, effects);
        break;
      case 'closed':
        this.#closed(session, input.connection, now, effects);
        break;
      case 'goodbye':
        this.#left = { session: session.match.session, until: now + GOODBYE_QUIET_MS };
        this.#end(session, 'goodbye', effects);
        effects.push({ type: 'stop-punching' });
        return;
      case 'tick':
        break;
    }
    this.#deadlines(session, now, effects);
  }

  #deadlines(session: Session, now: number, effects: LinkEffect[]): void {
    if (session.apartSince !== undefined && now >= session.apartSince + GIVE_UP_MS) {
      this.#end(session, 'the friend could not be reached', effects);
      effects.push({ type: 'stop-punching' });
      effects.push({ type: session.announced ? 'disconnected' : 'unreachable' });
      return;
    }
    if (session.repunchAt !== undefined && now >= session.repunchAt) {
      session.repunchAt = now + 5_000;
      effects.push({ type: 'repunch' });
    }
    if (session.dialAt !== undefined && now >= session.dialAt && this.#mayDial(session)) {
      session.dialling = true;
      effects.push({ type: 'dial', key: session.match.key });
    }
  }

  /** At most one connection of ours, and none while the friend's stands. */
  #mayDial(session: Session): boolean {
    return session.pathReady && !session.dialling && session.connections.size === 0;
  }

  #graceMs(session: Session): number {
    if (session.match.friendWasWaiting && !session.announced) return 0;
    const lower = compareBytes(this.#ownFingerprint, session.match.key) < 0;
    // After a loss both sides know of it at about the same time: the lower redials at once.
    if (session.announced) return lower ? 0 : DIAL_GRACE_MS.higherFingerprint;
    return lower ? DIAL_GRACE_MS.lowerFingerprint : DIAL_GRACE_MS.higherFingerprint;
  }

  #established(
    session: Session,
    connection: ConnectionId,
    dialledByUs: boolean,
    effects: LinkEffect[],
  ): void {
    if (dialledByUs) session.dialling = false;
    session.connections.set(connection, { dialledByUs, welcomed: false });
    session.apartSince = undefined;
    if (session.connections.size === 1) {
      effects.push({ type: 'connected', connection, first: !session.announced });
      session.announced = true;
    }
    if (!dialledByUs) return;
    effects.push({ type: 'send-hello', connection, generation: session.generation });
    // Messages flow at once; only an active connection that is certain to live is preferred.
    if (session.active === undefined) {
      this.#activate(session, connection, undefined, effects);
    }
  }

  #hello(
    session: Session,
    input: Extract<LinkInput, { type: 'hello' }>,
    effects: LinkEffect[],
  ): void {
    const connection = session.connections.get(input.connection);
    if (connection === undefined || connection.dialledByUs || connection.welcomed) {
      this.#close(session, input.connection, 'a hello out of place', effects);
      return;
    }
    const order = compareSessions(input.session, session.match.session);
    if (order !== 0) {
      this.#close(session, input.connection, 'another session than matched', effects);
      return;
    }
    const active = session.active;
    if (input.generation < session.generation && active !== undefined) {
      this.#close(session, input.connection, 'a newer connection stands', effects);
      return;
    }
    connection.welcomed = true;
    // A friend dials one connection at a time: a second one from it means that the first is dead.
    const replaces =
      input.generation > session.generation ||
      (active !== undefined && session.connections.get(active)?.dialledByUs === false);
    session.generation = Math.max(session.generation, input.generation);
    effects.push({
      type: 'send-welcome',
      connection: input.connection,
      generation: session.generation,
    });
    if (active === undefined || replaces || !this.#dialledByLower(session, active)) {
      this.#activate(session, input.connection, input.receivedUpTo, effects);
    }
    if (replaces) {
      for (const other of session.connections.keys()) {
        if (other !== input.connection) {
          this.#close(session, other, 'the friend has reconnected', effects);
        }
      }
    }
  }

  #welcome(
    session: Session,
    input: Extract<LinkInput, { type: 'welcome' }>,
    effects: LinkEffect[],
  ): void {
    const connection = session.connections.get(input.connection);
    if (connection?.dialledByUs !== true || connection.welcomed) {
      this.#close(session, input.connection, 'a welcome out of place', effects);
      return;
    }
    connection.welcomed = true;
    session.generation = Math.max(session.generation, input.generation);
    if (session.active === input.connection) {
      effects.push({ type: 'acknowledged', receivedUpTo: input.receivedUpTo });
    } else if (this.#dialledByLower(session, input.connection)) {
      this.#activate(session, input.connection, input.receivedUpTo, effects);
    }
    // The dialer of the one that stays closes the other, now that it has the welcome: until then
    // the friend may still be using it.
    if (this.#dialledByLower(session, input.connection)) {
      for (const other of session.connections.keys()) {
        if (other !== input.connection) {
          this.#close(session, other, 'both dialled: the other connection stays', effects);
        }
      }
    }
  }

  #closed(session: Session, id: ConnectionId, now: number, effects: LinkEffect[]): void {
    const connection = session.connections.get(id);
    if (connection === undefined) return;
    session.connections.delete(id);
    if (session.active === id) {
      session.active = undefined;
      const [other] = session.connections.keys();
      if (other !== undefined) {
        this.#activate(session, other, undefined, effects);
        return;
      }
      if (connection.welcomed) session.generation += 1;
    }
    if (session.connections.size > 0) return;
    session.dialAt = session.pathReady ? now + this.#graceMs(session) : undefined;
    session.repunchAt = session.pathReady ? undefined : now;
    this.#apart(session, now, effects);
  }

  #apart(session: Session, now: number, effects: LinkEffect[]): void {
    if (session.apartSince !== undefined) return;
    session.apartSince = now;
    if (session.announced) effects.push({ type: 'reconnecting' });
  }

  #activate(
    session: Session,
    connection: ConnectionId,
    receivedUpTo: bigint | undefined,
    effects: LinkEffect[],
  ): void {
    session.active = connection;
    effects.push({
      type: 'activate',
      connection,
      session: session.match.session,
      receivedUpTo,
    });
  }

  #dialledByLower(session: Session, id: ConnectionId): boolean {
    const weAreLower = compareBytes(this.#ownFingerprint, session.match.key) < 0;
    return session.connections.get(id)?.dialledByUs === weAreLower;
  }

  #close(session: Session, id: ConnectionId, reason: string, effects: LinkEffect[]): void {
    session.connections.delete(id);
    if (session.active === id) session.active = undefined;
    effects.push({ type: 'close', connection: id, reason });
  }

  #end(session: Session, reason: string, effects: LinkEffect[]): void {
    for (const id of session.connections.keys()) {
      effects.push({ type: 'close', connection: id, reason });
    }
    this.#session = undefined;
  }
}

/** Checks what a server says of a match. @returns undefined for what cannot be one. */
export function readMatch(found: MatchFound): Match | undefined {
  const { friendSession, friendEndpoint, friendKey } = found;
  if (friendSession?.nonce.length !== 16 || friendKey.length !== 32) return undefined;
  if (friendEndpoint === undefined) return undefined;
  return {
    session: friendSession,
    key: friendKey,
    endpoint: friendEndpoint,
    friendWasWaiting: found.friendWasWaiting,
  };
}
