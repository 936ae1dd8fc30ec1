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
  /** Of the session that was reached for last. */
  #memory: SessionMemory | undefined;
  /** While a goodbye is fresh; `passedOver`: a match came in that time. */
  #quiet: { readonly until: number; passedOver: boolean } | undefined;

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
      this.#quiet = { until: now + GOODBYE_QUIET_MS, passedOver: false };
      return this.#end(session, 'goodbye');
    }
    const effects = session.step(input, now);
    if (!session.hopeless(now)) return effects;
    const type = session.memory.announced ? 'disconnected' : 'unreachable';
    return [...effects, ...this.#end(session, 'the friend could not be reached'), { type }];
  }

  nextDeadline(): number | undefined {
    if (this.#session !== undefined) return this.#session.nextDeadline();
    return this.#quiet?.passedOver === true ? this.#quiet.until : undefined;
  }

  #withoutSession(input: LinkInput, now: number): LinkEffect[] {
    const quiet = this.#quiet;
    if (quiet !== undefined && now >= quiet.until) {
      this.#quiet = undefined;
      if (quiet.passedOver) return [{ type: 'ask-again' }];
    }
    if (!('connection' in input) || input.type === 'closed') return [];
    return [{ type: 'close', connection: input.connection, reason: 'no such session' }];
  }

  #take(match: Match, now: number): LinkEffect[] {
    const current = this.#session;
    if (current === undefined) return this.#takeFirst(match, now);
    if (compareBytes(current.match.key, match.key) === 0) {
      const order = compareSessions(match.session, current.match.session);
      if (order < 0) return [];
      if (order === 0) return current.merge(match);
    } else if (current.active !== undefined) {
      // Another key under the friend's name while we talk with the one proven: not our friend.
      return [];
    }
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
    const quiet = this.#quiet;
    if (order === 0 && quiet !== undefined && now < quiet.until) {
      // Most likely the servers' last word of the one that leaves. If not, it is still there later.
      quiet.passedOver = true;
      return [];
    }
    return this.#begin(match, now);
  }

  #begin(match: Match, now: number): LinkEffect[] {
    const last = this.#memory;
    const same =
      last !== undefined &&
      compareBytes(last.key, match.key) === 0 &&
      compareSessions(last.session, match.session) === 0;
    this.#quiet = undefined;
    this.#session = new LinkSession(match, {
      ownFingerprint: this.#ownFingerprint,
      memory: same ? last : undefined,
      now,
    });
    return [{ type: 'punch', match }];
  }

  #end(session: LinkSession, reason: string): LinkEffect[] {
    this.#memory = session.memory;
    this.#session = undefined;
    return [...session.end(reason), { type: 'stop-punching' }];
  }
}
