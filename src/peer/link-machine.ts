import { compareBytes } from '../base/identity.ts';
import { compareSessions } from '../rpc/session-id.ts';
import type { ConnectionId, LinkEffect, LinkInput } from './link-events.ts';
import { LinkSession, type SessionMemory } from './link-session.ts';
import type { Match } from './match.ts';

/** How long a friend that said goodbye is not looked for again under the same session. */
const GOODBYE_QUIET_MS = 2_000;

/**
 * Decides when to dial a friend, which of several connections stays, what a lost one means, and which
 * of the friend's sessions is the one to reach. Pure: the shell (`friend-link.ts`) carries the effects
 * out.
 */
export class LinkMachine {
  readonly #ownFingerprint: Uint8Array;
  #session: LinkSession | undefined;
  /**
   * Of the session that was reached last. What a server says of a newer one that never proves to be
   * there is forgotten with it: else one dishonest server could keep the friend away for good.
   */
  #memory: SessionMemory | undefined;
  /** Until when a goodbye is fresh. */
  #quietUntil: number | undefined;

  constructor(ownFingerprint: Uint8Array) {
    this.#ownFingerprint = ownFingerprint;
  }

  /** The connection that carries our frames. */
  get active(): ConnectionId | undefined {
    return this.#session?.active;
  }

  /** The friend's session that is being reached or has been. */
  get match(): Match | undefined {
    return this.#session?.match;
  }

  /**
   * Whether frames that come over a connection belong to the conversation. While the two sides change
   * over from one connection to another, that holds for both.
   */
  carries(connection: ConnectionId): boolean {
    return this.#session?.carries(connection) === true;
  }

  step(input: LinkInput, now: number): LinkEffect[] {
    if (input.type === 'match') return this.#take(input.match, now);
    const session = this.#session;
    if (session === undefined) return this.#withoutSession(input, now);
    if (input.type === 'goodbye') {
      this.#quietUntil = now + GOODBYE_QUIET_MS;
      const effects = this.#end(session, 'goodbye');
      // If it comes back, that is a new beginning.
      if (this.#memory !== undefined) this.#memory = { ...this.#memory, announced: false };
      return effects;
    }
    const effects = session.step(input, now);
    if (!session.hopeless(now)) return effects;
    const type = session.memory.announced ? 'disconnected' : 'unreachable';
    return [...effects, ...this.#end(session, 'the friend could not be reached'), { type }];
  }

  nextDeadline(): number | undefined {
    if (this.#session !== undefined) return this.#session.nextDeadline();
    return this.#quietUntil;
  }

  #withoutSession(input: LinkInput, now: number): LinkEffect[] {
    const effects: LinkEffect[] = [];
    if (this.#quietUntil !== undefined && now >= this.#quietUntil) {
      this.#quietUntil = undefined;
      // Servers do not repeat what they take for known: a friend that went and came back at once.
      effects.push({ type: 'ask-again' });
    }
    if ('connection' in input && input.type !== 'closed') {
      effects.push({ type: 'close', connection: input.connection, reason: 'no such session' });
    }
    return effects;
  }

  #take(match: Match, now: number): LinkEffect[] {
    const current = this.#session;
    if (current === undefined) return this.#takeFirst(match, now);
    if (compareBytes(current.match.key, match.key) === 0) {
      const order = compareSessions(match.session, current.match.session);
      if (order < 0) return [];
      if (order === 0) return current.merge(match, now);
    } else if (current.active !== undefined) {
      // Another key under the friend's name while we talk with the one proven: not our friend.
      return [];
    }
    this.#remember(current);
    const effects = current.end('the friend has started anew');
    return [...effects, ...this.#begin(match, now)];
  }

  #takeFirst(match: Match, now: number): LinkEffect[] {
    const last = this.#memory;
    const order =
      last === undefined || compareBytes(last.key, match.key) !== 0
        ? 1
        : compareSessions(match.session, last.session);
    if (order < 0) return [];
    // Most likely the servers' last word of the one that leaves. If not, it is still there later.
    if (order === 0 && this.#quietUntil !== undefined && now < this.#quietUntil) return [];
    return this.#begin(match, now);
  }

  #begin(match: Match, now: number): LinkEffect[] {
    const last = this.#memory;
    const same =
      last !== undefined &&
      compareBytes(last.key, match.key) === 0 &&
      compareSessions(last.session, match.session) === 0;
    this.#quietUntil = undefined;
    this.#session = new LinkSession(match, {
      ownFingerprint: this.#ownFingerprint,
      memory: same ? last : undefined,
      now,
    });
    return [{ type: 'punch', match }];
  }

  #remember(session: LinkSession): void {
    const { memory } = session;
    if (memory.announced) this.#memory = memory;
  }

  #end(session: LinkSession, reason: string): LinkEffect[] {
    this.#remember(session);
    this.#session = undefined;
    return [...session.end(reason), { type: 'stop-punching' }];
  }
}
