import type { Timer } from '../base/clock.ts';
import type { Member } from './member.ts';
import type { ReplicationEffect, ReplicationSession } from './replication.ts';

/** One stream to another server. */
export interface ReplicationLink {
  readonly session: ReplicationSession;
  /** Whom we called; undefined: we were called. */
  readonly wanted: Member | undefined;
  /** Closes the stream. */
  readonly hangUp: () => void;
  /** For the session's next deadline. */
  timer: Timer | undefined;
  over: boolean;
}

export interface ReplicationHandlers {
  /** What came over the stream with `owner`; never `close`. */
  effects(owner: string, effects: readonly ReplicationEffect[]): void;
  /** The stream with the member is gone, or there was none to be had. */
  unlinked(id: string, lastHeardAt: number | undefined, reason: string): void;
  /** `wanted` was called, and another member answered at its address. */
  displaced(wanted: Member): void;
}

/** The streams to the other servers: whose each is, and that each has one only. Without I/O. */
export class ReplicationLinks<Link extends ReplicationLink> {
  readonly #handlers: ReplicationHandlers;
  readonly #all = new Set<Link>();
  readonly #byMember = new Map<string, Link>();

  constructor(handlers: ReplicationHandlers) {
    this.#handlers = handlers;
  }

  /** All there are now, also those whose other side has not said yet who it is. */
  get all(): readonly Link[] {
    return [...this.#all];
  }

  /** That with a member who has said who it is. */
  with(id: string): Link | undefined {
    return this.#byMember.get(id);
  }

  add(link: Link): void {
    this.#all.add(link);
  }

  /** Does what came of a frame or a deadline. */
  apply(link: Link, effects: readonly ReplicationEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'close') {
        this.end(link, effect.reason);
        return;
      }
      if (effect.type === 'linked' && !this.#identify(link, effect.member)) return;
    }
    const owner = link.session.other?.id;
    if (owner !== undefined && effects.length > 0) this.#handlers.effects(owner, effects);
  }

  /** Idempotent. */
  end(link: Link, reason: string): void {
    if (link.over) return;
    link.over = true;
    link.timer?.cancel();
    this.#all.delete(link);
    link.hangUp();
    const { session, wanted } = link;
    const id = session.other?.id;
    if (id !== undefined && this.#byMember.get(id) === link) {
      this.#byMember.delete(id);
      this.#handlers.unlinked(id, session.lastHeardAt, reason);
    } else if (wanted !== undefined && !this.#byMember.has(wanted.id)) {
      this.#handlers.unlinked(wanted.id, undefined, reason);
    }
  }

  /** @returns whether the link goes on. */
  #identify(link: Link, member: Member): boolean {
    const { wanted } = link;
    if (wanted !== undefined && wanted.id !== member.id) {
      this.end(link, 'another server has its address');
      this.#handlers.displaced(wanted);
      return false;
    }
    // The other side opens a stream only when it has lost the one before.
    const before = this.#byMember.get(member.id);
    this.#byMember.set(member.id, link);
    if (before !== undefined) this.end(before, 'there is a newer one');
    return true;
  }
}
