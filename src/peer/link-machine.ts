import { compareBytes } from '../base/identity.ts';
import { compareSessions } from '../rpc/session-id.ts';
import {
  type ConnectionId,
  isAttemptEffect,
  type LinkEffect,
  type LinkInput,
} from './link-events.ts';
import { LinkSession, type SessionMemory } from './link-session.ts';
import type { Match } from './match.ts';

/** How long a friend that said goodbye is not looked for again under the same session. */
const GOODBYE_QUIET_MS = 2_000;
/** Of so many of the friend's sessions it is remembered that they were reached. */
const MAX_MEMORIES = 4;

type SessionInput = Exclude<LinkInput, { type: 'match' | 'goodbye' | 'beside' }>;

/**
 * Decides when to dial a friend, which of several connections stays, what a lost one means, and which
 * of the friend's sessions is the one to reach. Pure: the shell (`friend-link.ts`) carries the effects
 * out.
 *
 * Servers tell of the friend's sessions; only the friend can prove one. So what servers say of another
 * session than the one that is being reached is tried beside it, and takes its place when the friend
 * has greeted in it over a connection that proves its key. Until then nothing changes for the user.
 */
export class LinkMachine {
  readonly #ownFingerprint: Uint8Array;
  /** The session that is being reached or has been. */
  #session: LinkSession | undefined;
  /** Another, of the same key, that is tried beside it. */
  #challenger: LinkSession | undefined;
  /**
   * Of sessions that were reached, the last ones. What a server says of one that never proves to be
   * there is forgotten with it.
   */
  #memories: readonly SessionMemory[] = [];
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

  /** What the servers said of the session that a connection was made for. */
  matchOf(connection: ConnectionId): Match | undefined {
    return this.#challenger?.has(connection) === true ? this.#challenger.match : this.match;
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
    if (input.type === 'beside') return this.#stepChallenger(input.input, now);
    const session = this.#session;
    if (session === undefined) return this.#withoutSession(input, now);
    if (input.type === 'goodbye') {
      this.#quietUntil = now + GOODBYE_QUIET_MS;
      // If it comes back, that is a new beginning.
      this.#remember({ ...session.memory, announced: false });
      return [...this.#end(session, 'goodbye'), ...this.#promoteLast(now)];
    }
    if ('connection' in input && this.#challenger?.has(input.connection) === true) {
      return this.#stepChallenger(input, now);
    }
    const effects = this.#stepSession(session, input, now);
    if (input.type === 'tick') effects.push(...this.#stepChallenger(input, now));
    return [...effects, ...this.#dropIdle()];
  }

  nextDeadline(): number | undefined {
    if (this.#session === undefined) return this.#quietUntil;
    const deadlines = [this.#session.nextDeadline(), this.#challenger?.nextDeadline()];
    const set = deadlines.filter((at) => at !== undefined);
    return set.length === 0 ? undefined : Math.min(...set);
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

  #stepSession(session: LinkSession, input: SessionInput, now: number): LinkEffect[] {
    const effects = session.step(input, now);
    if (!session.hopeless(now)) return effects;
    const { memory } = session;
    if (memory.announced) this.#remember(memory);
    const type = memory.announced ? 'disconnected' : 'unreachable';
    effects.push(...this.#end(session, 'the friend could not be reached'), { type });
    return [...effects, ...this.#promoteLast(now)];
  }

  #stepChallenger(input: SessionInput, now: number): LinkEffect[] {
    const challenger = this.#challenger;
    if (challenger === undefined) {
      if (!('connection' in input) || input.type === 'closed') return [];
      return [{ type: 'close', connection: input.connection, reason: 'no such session' }];
    }
    const effects = challenger.step(input, now);
    if (!challenger.onTrial) return this.#replaceSession(challenger, effects);
    if (!challenger.hopeless(now)) return effects.map(beside);
    // What servers do not repeat may be told again: the friend may have another session by now.
    return [
      ...effects.map(beside),
      ...this.#dropChallenger('the friend could not be reached'),
      { type: 'ask-again' },
    ];
  }

  /** The challenger has proven to be there. */
  #replaceSession(challenger: LinkSession, effects: readonly LinkEffect[]): LinkEffect[] {
    const old = this.#session;
    this.#session = challenger;
    this.#challenger = undefined;
    if (old?.memory.announced === true) this.#remember(old.memory);
    if (old === undefined) return [{ type: 'promote' }, ...effects];
    const all = [
      ...old.end('the friend has started anew'),
      { type: 'promote' },
      ...effects,
    ] as const;
    // The newer one was not to be reached yet: if it is there, it is tried again beside the older.
    const isNewer = compareSessions(old.match.session, challenger.match.session) > 0;
    return isNewer ? [...all, { type: 'ask-again' }] : [...all];
  }

  /** The session is over: if another was tried beside it, that is the one to reach now. */
  #promoteLast(now: number): LinkEffect[] {
    const challenger = this.#challenger;
    if (challenger === undefined) return [];
    this.#session = challenger;
    this.#challenger = undefined;
    this.#quietUntil = undefined;
    const effects: LinkEffect[] = [{ type: 'promote' }, ...challenger.endTrial()];
    return [...effects, ...this.#stepSession(challenger, { type: 'tick' }, now)];
  }

  /** Drops what need not be tried any more now that the session it was tried beside is in use. */
  #dropIdle(): LinkEffect[] {
    const challenger = this.#challenger;
    if (challenger === undefined || !this.#isIdle(challenger.match)) return [];
    // It stood in the way of what else servers may have told.
    return [...this.#dropChallenger('another session is in use'), { type: 'ask-again' }];
  }

  /** Whether there is nothing to gain from trying this beside the session in use. */
  #isIdle({ session, endpoint }: Match): boolean {
    const current = this.#session;
    if (current === undefined) return false;
    const { match, isInUse, memory } = current;
    // One that is older than the one in use may well have outlived that, once it has ended.
    if (isInUse && compareSessions(session, match.session) < 0) return true;
    // Each session has credentials of its own: what claims to be another with these is none.
    return memory.proven && endpoint.ufrag === match.endpoint.ufrag;
  }

  #dropChallenger(reason: string): LinkEffect[] {
    const challenger = this.#challenger;
    if (challenger === undefined) return [];
    this.#challenger = undefined;
    return [...challenger.end(reason), beside({ type: 'stop-punching' })];
  }

  #take(match: Match, now: number): LinkEffect[] {
    const current = this.#session;
    if (current === undefined) return this.#takeFirst(match, now);
    if (compareBytes(current.match.key, match.key) !== 0) {
      // Another key under the friend's name while we talk with the one proven: not our friend.
      if (current.active !== undefined) return [];
      const dropped = this.#dropChallenger('another key was matched');
      const ended = current.end('another key was matched');
      if (current.memory.announced) this.#remember(current.memory);
      return [...dropped, ...ended, ...this.#begin(match, now)];
    }
    const order = compareSessions(match.session, current.match.session);
    if (order === 0) return current.merge(match, now);
    const rival = this.#challenger;
    const rank = rival === undefined ? 1 : compareSessions(match.session, rival.match.session);
    if (rival !== undefined && rank === 0) return rival.merge(match, now).map(beside);
    if (rank < 0 || this.#isIdle(match)) return [];
    const dropped = this.#dropChallenger('the friend has started anew');
    this.#challenger = this.#newSession(match, now, true);
    return [...dropped, beside({ type: 'punch', match })];
  }

  #takeFirst(match: Match, now: number): LinkEffect[] {
    const last = this.#memories.at(-1);
    const order =
      last === undefined || compareBytes(last.key, match.key) !== 0
        ? 1
        : compareSessions(match.session, last.session);
    // Most likely the servers' last word of one that leaves. If not, it is still there later.
    if (order <= 0 && this.#quietUntil !== undefined && now < this.#quietUntil) return [];
    return this.#begin(match, now);
  }

  #begin(match: Match, now: number): LinkEffect[] {
    this.#quietUntil = undefined;
    this.#session = this.#newSession(match, now, false);
    return [{ type: 'punch', match }];
  }

  #newSession(match: Match, now: number, onTrial: boolean): LinkSession {
    const memory = this.#memories.find((each) => isOf(each, match));
    return new LinkSession(match, { ownFingerprint: this.#ownFingerprint, memory, onTrial, now });
  }

  #remember(memory: SessionMemory): void {
    const others = this.#memories.filter((each) => !isOf(each, memory));
    this.#memories = [...others, memory].slice(-MAX_MEMORIES);
  }

  #end(session: LinkSession, reason: string): LinkEffect[] {
    this.#session = undefined;
    return [...session.end(reason), { type: 'stop-punching' }];
  }
}

function isOf(memory: SessionMemory, other: Pick<Match, 'key' | 'session'>): boolean {
  return (
    compareBytes(memory.key, other.key) === 0 &&
    compareSessions(memory.session, other.session) === 0
  );
}

/** What concerns paths and dials concerns those of the session that is tried beside the other. */
function beside(effect: LinkEffect): LinkEffect {
  return isAttemptEffect(effect) ? { type: 'beside', effect } : effect;
}
