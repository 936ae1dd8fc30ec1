import { compareBytes } from '../base/identity.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import { graceMs } from './dial-pace.ts';
import { DialSchedule } from './dial-schedule.ts';
import type { LinkConnection } from './link-connection.ts';
import { LinkConnections } from './link-connections.ts';
import type { ConnectionId, FriendGreeting, LinkEffect, LinkInput } from './link-events.ts';
import type { Match } from './match.ts';

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
 * Everything known about reaching one friend in one of its sessions: what the user is told of it, and
 * when it is hopeless. When it is dialled: `dial-schedule.ts`. Which of several connections stays:
 * `link-connections.ts`.
 */
export class LinkSession {
  readonly #weAreLower: boolean;
  readonly #begunAt: number;
  readonly #schedule: DialSchedule;
  readonly #connections: LinkConnections;
  #match: Match;
  #announced: boolean;
  #proven: boolean;
  /** While it is, connections are made and greeted on, and carry nothing: nobody is told of them. */
  #onTrial: boolean;
  /** Since when there is no path or no connection; undefined while there are both. */
  #apartSince: number | undefined;
  /** Of the step under way. */
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
    const { memory, now } = options;
    this.#match = match;
    this.#weAreLower = compareBytes(options.ownFingerprint, match.key) < 0;
    this.#onTrial = options.onTrial;
    this.#announced = memory?.announced ?? false;
    this.#proven = memory?.proven ?? false;
    this.#begunAt = now;
    this.#apartSince = now;
    this.#schedule = new DialSchedule(now);
    this.#connections = new LinkConnections(
      match.session,
      this.#weAreLower,
      memory ?? { generation: 0, conversation: 0n },
      {
        effect: (effect) => this.#effects.push(effect),
        added: (id) => this.#added(id),
        activated: (id, greeting) => {
          if (!this.#onTrial) this.#tellActive(id, greeting);
        },
        proven: (stays) => this.#prove(stays),
        emptied: (last, now) => this.#emptied(last, now),
      },
    );
  }

  get match(): Match {
    return this.#match;
  }

  get active(): ConnectionId | undefined {
    return this.#connections.active;
  }

  /** Whether the friend has yet to prove that it has this session. */
  get onTrial(): boolean {
    return this.#onTrial;
  }

  /** Whether frames go over a connection on which the friend has greeted in this session. */
  get isInUse(): boolean {
    return this.#connections.isInUse;
  }

  has(id: ConnectionId): boolean {
    return this.#connections.has(id);
  }

  get memory(): SessionMemory {
    const { session, key } = this.#match;
    const { generation, conversation } = this.#connections;
    return {
      ...{ session, key, generation, conversation },
      ...{ announced: this.#announced, proven: this.#proven },
    };
  }

  /** Whether frames that come over a connection belong to the conversation. */
  carries(id: ConnectionId): boolean {
    return this.#connections.carries(id);
  }

  /**
   * The servers match the same session again, maybe with further candidates. Of two that disagree on
   * who dials at once, the one that says we do is right: the other knew less of the friend.
   */
  merge(match: Match, now: number): LinkEffect[] {
    this.#effects = [];
    const friendWasWaiting = this.#match.friendWasWaiting || match.friendWasWaiting;
    const isNews = friendWasWaiting && !this.#match.friendWasWaiting;
    this.#match = { ...this.#match, endpoint: match.endpoint, friendWasWaiting };
    this.#effects.push({ type: 'merge', endpoint: match.endpoint });
    if (isNews && !this.#announced) this.#schedule.hurry(now);
    return this.#finish(now);
  }

  /** This session is the one in use from now on: what was kept quiet is told. */
  endTrial(): LinkEffect[] {
    this.#effects = [];
    this.#leaveTrial(true);
    return this.#effects;
  }

  /** Closes every connection. */
  end(reason: string): LinkEffect[] {
    const all = this.#connections.ids;
    this.#connections.clear();
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
    const deadline = Math.min(
      this.#connections.nextDeadline(),
      this.#schedule.nextDeadline(this.#connections.size > 0) ?? Infinity,
      this.#giveUpAt ?? Infinity,
    );
    return deadline === Infinity ? undefined : deadline;
  }

  step(
    input: Exclude<LinkInput, { type: 'match' | 'goodbye' | 'beside' }>,
    now: number,
  ): LinkEffect[] {
    this.#effects = [];
    switch (input.type) {
      case 'path-ready':
        this.#schedule.findPath(this.#graceMs(input.presumed), now);
        if (this.#connections.size > 0) this.#together();
        break;
      case 'path-lost':
        this.#schedule.losePath(now);
        this.#apart(now);
        break;
      case 'dial-failed':
        this.#schedule.failed(now);
        break;
      case 'dialled':
        this.#schedule.dialled();
        this.#connections.add(input.connection, true, now);
        break;
      case 'accepted':
        this.#connections.add(input.connection, false, now);
        break;
      case 'hello':
        this.#connections.takeHello(input, now);
        break;
      case 'welcome':
        this.#connections.takeWelcome(input, now);
        break;
      case 'closed':
        this.#connections.remove(input.connection, now);
        break;
      case 'tick':
        break;
    }
    return this.#finish(now);
  }

  /** Does what it is time for. */
  #finish(now: number): LinkEffect[] {
    if (this.hopeless(now)) return this.#effects;
    this.#connections.expire(now);
    const due = this.#schedule.due(this.#connections.size > 0, now);
    if (due === 'repunch') this.#effects.push({ type: 'repunch' });
    if (due === 'dial') this.#effects.push({ type: 'dial', key: this.#match.key });
    return this.#effects;
  }

  #graceMs(presumed = false): number {
    return graceMs({
      presumed,
      weAreLower: this.#weAreLower,
      wasConnected: this.#announced,
      friendWasWaiting: this.#match.friendWasWaiting,
    });
  }

  #added(id: ConnectionId): void {
    if (this.#connections.size > 1) {
      this.#together();
      return;
    }
    this.#apartSince = undefined;
    if (!this.#onTrial) this.#announce(id);
  }

  #emptied(last: LinkConnection, now: number): void {
    this.#schedule.ended(last, this.#graceMs(), now);
    this.#apart(now);
  }

  #announce(id: ConnectionId): void {
    this.#effects.push({ type: 'connected', connection: id, first: !this.#announced });
    this.#announced = true;
  }

  #prove(stays: boolean): void {
    this.#proven = true;
    this.#leaveTrial(stays);
  }

  #leaveTrial(stays: boolean): void {
    if (!this.#onTrial) return;
    this.#onTrial = false;
    const [first] = this.#connections.ids;
    if (first !== undefined) this.#announce(first);
    const { active } = this.#connections;
    // Frames go over the one that is in use at the end of the step: of another, nobody is told.
    if (active !== undefined && stays) this.#tellActive(active, undefined);
  }

  #tellActive(id: ConnectionId, greeting: FriendGreeting | undefined): void {
    const { session } = this.#match;
    this.#effects.push({ type: 'activate', connection: id, session, greeting });
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
